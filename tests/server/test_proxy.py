"""Behind nginx, as the documentation configures it: who is signed in, and below a path."""

import getpass
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import pytest

from tests.process import PATIENCE, Server, free_port, run_command
from tests.sse import STREAM, parse
from tests.upstream import Answer, Upstream, polite

DOCUMENTED = Path(__file__).parent.parent.parent / "docs" / "operations.md"
PEOPLE = {"alice": "wonderland", "bob": "builder"}


def documented_location() -> str:
    """The `location` of the configuration in the documentation."""
    match = re.search(
        r"^    location / \{.*?^    \}", DOCUMENTED.read_text(), re.DOTALL | re.MULTILINE
    )
    assert match is not None
    return match[0]


@pytest.fixture(scope="module")
def proxied(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[tuple[Server, str]]:
    """A server, and the address of the proxy in front of it."""
    folder = tmp_path_factory.mktemp("proxied")
    port = free_port()
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_TRUSTED_PROXIES": "127.0.0.2",
        "CHATKEEP_TRUSTED_USER_HEADER": "X-Forwarded-User",
    }
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with Server(folder / "data", env) as server:
        people = "".join(f"{name}:{{PLAIN}}{word}\n" for name, word in PEOPLE.items())
        (folder / "people").write_text(people)
        location = documented_location().replace("http://127.0.0.1:8000", server.url)
        below = location.replace("location / {", "location /below/ {")
        below = below.replace(f"{server.url};", f"{server.url}/;")
        (folder / "nginx.conf").write_text(f"""
            daemon off;
            user {getpass.getuser()};
            pid {folder}/nginx.pid;
            error_log {folder}/error.log;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {folder}/body;
                proxy_temp_path {folder}/proxied;
                fastcgi_temp_path {folder}/f;
                uwsgi_temp_path {folder}/u;
                scgi_temp_path {folder}/s;
                # As a machine of its own, which the server can tell from others.
                proxy_bind 127.0.0.2;
                server {{
                    listen 127.0.0.1:{port};
                    auth_basic "Chatkeep";
                    auth_basic_user_file {folder}/people;
                    {location}
                    {below}
                }}
            }}
        """)
        with subprocess.Popen(
            [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
        ) as run:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    httpx2.get(address)
                    break
                except httpx2.ConnectError:
                    assert run.poll() is None, (folder / "error.log").read_text()
                    time.sleep(0.02)
            yield server, address
            run.terminate()


@pytest.fixture(autouse=True)
def _polite(upstream: Upstream) -> None:
    """The model answers at once, unless a test says otherwise."""


def client(address: str, name: str, **headers: str) -> httpx2.Client:
    auth = (name, PEOPLE[name])
    return httpx2.Client(base_url=address, auth=auth, headers=headers, timeout=PATIENCE)


def test_the_proxy_signs_people_in_and_each_has_sessions_of_their_own(
    proxied: tuple[Server, str],
) -> None:
    _, address = proxied
    for name in PEOPLE:
        with client(address, name) as http:
            body = {"session_id": "mine", "message": f"hello from {name}"}
            assert (
                http.post("/chat", json=body).json()["response"] == f"Reply to: hello from {name}"
            )
            me = http.get("/me").json()
            assert (me["user"], me["scope"], me["is_signed_in"]) == (name, "chat", False)
            first, _ = http.get("/history/mine").json()
            assert first["content"] == f"hello from {name}"
    assert httpx2.get(f"{address}/sessions").status_code == 401


def test_a_header_that_somebody_else_sends_is_not_believed(proxied: tuple[Server, str]) -> None:
    server, address = proxied
    with client(address, "bob", **{"X-Forwarded-User": "alice"}) as http:
        assert http.get("/me").json()["user"] == "bob"
    with server.client(headers={"X-Forwarded-User": "alice"}) as http:
        assert http.get("/me").status_code == 401


def test_a_key_still_lets_applications_in_that_pass_the_proxy_by(
    proxied: tuple[Server, str],
) -> None:
    server, _ = proxied
    done = run_command("keys", "create", "app", env=server.env, folder=server.folder)
    with server.client(headers={"Authorization": f"Bearer {done.stdout.strip()}"}) as http:
        assert http.get("/me").json()["user"] is None


def test_below_a_path_links_lead_on_and_a_slash_stays(proxied: tuple[Server, str]) -> None:
    _, address = proxied
    with client(f"{address}/below", "alice") as http:
        for number in range(3):
            body = {"session_id": f"a/b:{number}", "message": "hello there you"}
            assert http.post("/chat", json=body).status_code == 200
        url, seen = f"{address}/below/sessions?limit=1", []
        while url:
            response = http.get(url)
            seen += [session["session_id"] for session in response.json()]
            link = response.links.get("next")
            url = urljoin(url, link["url"]) if link else ""
        assert {f"a/b:{number}" for number in range(3)} <= set(seen)
        history = http.get(f"{address}/below/history/a%2Fb:1?limit=1")
        older = urljoin(str(history.url), history.links["prev"]["url"])
        assert http.get(older).json()[0]["content"] == "hello there you"


def test_a_stream_passes_as_it_is_written(
    proxied: tuple[Server, str], upstream: Upstream, session: str
) -> None:
    _, address = proxied
    pace = threading.Semaphore(1)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["One", " two."], pace=pace)
    )
    with client(address, "alice", **STREAM) as http:
        body = {"session_id": session, "message": "count with me"}
        with http.stream("POST", "/chat", json=body) as response:
            events = parse(response.iter_lines())
            names = [next(events).name, next(events).name]
            # The second piece has not been written.
            assert names == ["turn.started", "message.delta"]
            pace.release(10)
            assert [event.name for event in events][-1] == "turn.completed"
