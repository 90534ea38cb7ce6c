"""Keys, tokens, cookies, texts, names of sessions and users: in no log line, problem or process."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.process import Server, run_command, until
from tests.storms.limits import disk_full
from tests.upstream import Answer, Upstream

ADMIN_KEY = "administration-canary-0123456789abcdef"
TEXT, SESSION, USER = "plover-canary text", "godwit-canary/session", "plover-canary-user"


def problem_of(response: httpx2.Response) -> str:
    return response.text if response.status_code >= 400 else ""


def requests_of(server: Server, secret: str, **headers: str) -> list[httpx2.Response]:
    """What a client does with a credential, right and wrong."""
    body: dict[str, Any] = {"session_id": SESSION, "message": TEXT}
    with server.client(headers={**headers, "Authorization": f"Bearer {secret}"}) as client:
        return [
            client.get("/me"),
            client.post("/chat", json=body),
            client.post("/chat", json={**body, "temperature": "hot"}),
            client.get(f"/history/{SESSION}"),
            client.get("/search", params={"q": TEXT}),
            client.get("/keys"),
            client.post("/tokens", json={"user": USER, "models": 5}),
            client.get("/nothing"),
            client.get("/sessions", headers={"Authorization": f"Bearer {secret[:-1]}x"}),
            client.get("/sessions", headers={"Authorization": f"Basic {secret}"}),
            client.post("/login", json={"key": secret[:-1]}),
            client.delete(f"/users/{USER}-unknown"),
        ]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_and_no_name_is_anywhere_but_in_the_database(
    tmp_path: Path, upstream: Upstream, log_format: str
) -> None:
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_MODEL_RETRIES": "0",
        "CHATKEEP_LOG_LEVEL": "debug",
        "CHATKEEP_LOG_FORMAT": log_format,
        "CHATKEEP_ADMIN_KEY": ADMIN_KEY,
    }
    with Server(tmp_path / "data", env) as server:
        made = run_command(
            "keys", "create", "--user", USER, "a test", env=server.env, folder=server.folder
        )
        key = made.stdout.strip()
        with server.client() as client:
            client.post("/login", json={"key": key}).raise_for_status()
            [cookie] = client.cookies.jar
        token = _token(server, key)
        lock = (server.folder / "chatkeep.db.lock").read_text().split()[1]
        credentials = (key, token, str(cookie.value), ADMIN_KEY, lock)
        answers = [each for secret in credentials for each in requests_of(server, secret)]
        upstream.script = lambda _: Answer(status=400, body=b'{"error": {"message": "no"}}')
        answers += requests_of(server, key)
        answers += _while_the_disk_is_full(server, key)
        assert server.process is not None
        processes = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
        log = server.log.read_text()

    assert "model_call_failed" in log
    assert "database_failed" in log
    canaries = (*credentials, "plover-canary", *(secret[4:] for secret in credentials))
    for canary in (*canaries, "godwit-canary"):
        assert canary not in log
        # The problem of a turn tells its own caller the session.
        assert canary not in canaries or not [
            text for text in map(problem_of, answers) if canary in text
        ]
        assert not [line for line in processes if canary.encode() in line]


def _token(server: Server, key: str) -> str:
    with server.client(headers={"Authorization": f"Bearer {key}"}) as client:
        token: str = client.post("/tokens", json={"user": USER}).json()["token"]
        return token


def _while_the_disk_is_full(server: Server, key: str) -> list[httpx2.Response]:
    wal = (server.folder / "chatkeep.db-wal").stat().st_size
    assert server.log.stat().st_size < wal, "the log must still grow"
    with (
        disk_full(server, after_bytes=wal),
        server.client(headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        body = {"session_id": SESSION, "message": TEXT * 100}
        answers = [client.post("/chat", json=body), client.post("/login", json={"key": key})]
        until(lambda: "database_failed" in server.log.read_text())
    return answers
