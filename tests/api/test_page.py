"""The page: its files as they were built, the headers that bind it, and nothing beside it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from chatkeep.app import create_app
from chatkeep.settings import Settings

INDEX = """<!doctype html>
<meta name="image-hosts" content="" />
<script type="module" src="./assets/app.js"></script>
"""
SCRIPT = "console.log('hello');\n" * 100
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "vary": "Accept-Encoding",
    "x-content-type-options": "nosniff",
}
PLAIN = {"accept-encoding": "identity"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "assets" / "app.js").write_text(SCRIPT)
    (folder / "assets" / "tiny.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("not for you")
    return folder


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as open_clients:

        def client(folder: Path, **settings: Any) -> TestClient:
            made = Settings(data_dir=tmp_path / "data", model="openai:any", **settings)
            app = create_app(made, answers=False, page_folder=folder)
            return open_clients.enter_context(TestClient(app, base_url="http://localhost:8000"))

        yield client


@pytest.fixture
def page(serve: Serve, built: Path) -> TestClient:
    return serve(built)


def test_the_page_and_what_it_loads_are_the_files_that_were_built(page: TestClient) -> None:
    index, script, image = (page.get(path) for path in ("/", "/assets/app.js", "/assets/tiny.svg"))

    assert (index.text, index.headers["content-type"]) == (INDEX, "text/html; charset=utf-8")
    assert (script.text, script.headers["content-type"]) == (
        SCRIPT,
        "text/javascript; charset=utf-8",
    )
    assert (image.text, image.headers["content-type"]) == ("<svg/>", "image/svg+xml")


def test_every_file_says_what_the_page_may_do(page: TestClient) -> None:
    for path in ("/", "/assets/app.js", "/assets/tiny.svg"):
        sent = page.get(path).headers
        assert {name: sent.get(name) for name in HEADERS} == HEADERS
    assert "content-security-policy" not in page.get("/sessions").headers


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1.0, GZIP;q=0.2", "gzip"),
        ("*", "gzip"),
        ("identity", None),
        ("br", None),
        ("gzip;q=0", None),
        ("*, gzip;q=0.0", None),
        ("", None),
    ],
)
def test_a_file_is_compressed_for_whom_that_suits(
    page: TestClient, accepted: str, coding: str | None
) -> None:
    answer = page.get("/assets/app.js", headers={"accept-encoding": accepted})

    assert answer.headers.get("content-encoding") == coding
    assert answer.text == SCRIPT
    assert (int(answer.headers["content-length"]) < len(SCRIPT)) == (coding == "gzip")


def test_what_would_not_get_smaller_is_not_compressed_and_neither_is_the_api(
    page: TestClient,
) -> None:
    for path in ("/assets/tiny.svg", "/sessions", "/openapi.json", "/healthz"):
        answer = page.get(path, headers={"accept-encoding": "gzip"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/assets/app.js"])
def test_a_file_that_is_there_already_is_not_sent_again(page: TestClient, path: str) -> None:
    plain = page.get(path, headers=PLAIN)
    packed = page.get(path, headers={"accept-encoding": "gzip"})
    tag = plain.headers["etag"]
    assert tag.startswith('"')
    assert (tag == packed.headers["etag"]) == ("content-encoding" not in packed.headers)

    for known in (tag, f'"other", W/{tag}', "*"):
        same = page.get(path, headers={**PLAIN, "if-none-match": known})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == tag
        assert {name: same.headers.get(name) for name in HEADERS} == HEADERS
        assert "content-encoding" not in same.headers

    other = page.get(path, headers={**PLAIN, "if-none-match": '"other"'})
    assert other.content == plain.content


def test_another_coding_is_another_version(page: TestClient) -> None:
    packed = page.get("/assets/app.js", headers={"accept-encoding": "gzip"})
    known = {"if-none-match": packed.headers["etag"]}

    assert page.get("/assets/app.js", headers={**PLAIN, **known}).status_code == 200
    again = page.get("/assets/app.js", headers={"accept-encoding": "gzip", **known})
    assert again.status_code == 304


def test_a_head_has_the_headers_alone(page: TestClient) -> None:
    for path in ("/", "/assets/app.js"):
        got, head = page.get(path), page.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == got.headers


def test_images_come_from_the_hosts_of_the_setting(serve: Serve, built: Path) -> None:
    client = serve(built, image_hosts="images.example.com, *.Example.org:8443")
    answer = client.get("/")

    policy = answer.headers["content-security-policy"]
    hosts = "https://images.example.com https://*.example.org:8443"
    assert policy == POLICY.replace("blob:;", f"blob: {hosts};")
    meta = '<meta name="image-hosts" content="images.example.com *.example.org:8443" />'
    assert meta in answer.text
    assert client.get("/assets/app.js").text == SCRIPT


def test_images_may_come_from_everywhere_if_that_is_said(serve: Serve, built: Path) -> None:
    answer = serve(built, image_hosts="*").get("/")

    assert "img-src 'self' data: blob: https:;" in answer.headers["content-security-policy"]
    assert 'content="*"' in answer.text


def test_an_index_that_does_not_ask_for_the_hosts_is_left_as_it_is(
    serve: Serve, built: Path
) -> None:
    (built / "index.html").write_text("<!doctype html>")

    assert serve(built, image_hosts="images.example.com").get("/").text == "<!doctype html>"


@pytest.mark.parametrize(
    "hosts",
    [
        "images.example.com; script-src *",
        "images.example.com script-src",
        "'unsafe-inline'",
        '"><script>',
        "https://images.example.com",
        "images.example.com/path",
        "images.*.com",
        "*.*.example.com",
        "**",
        "*:443",
        "data:",
        "images.example.com:",
        "images.example.com:0",
        "images.example.com:https",
        "-images.example.com",
        "images..example.com",
        ".example.com",
        "images.example.com\r\nx: y",
        "images.example.com\n",
        "bücher.example",
        "[::1]",
        "user@example.com",
    ],
)
def test_what_is_no_host_is_refused(hosts: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a host|control characters"):
        Settings(image_hosts=(hosts,))  # as an array of the file has it: nothing is cut off


def test_nothing_beside_the_built_files_can_be_had(page: TestClient, built: Path) -> None:
    (built / "notes.txt").write_text("not for you")
    for path in (
        *("/assets/../index.html", "/assets/../../secret.txt", "/assets/..%2f..%2fsecret.txt"),
        *("/assets/%2e%2e/%2e%2e/secret.txt", "/assets/..%5c..%5csecret.txt", "/assets//app.js"),
        *("/assets/%2fetc/passwd", "/assets/app.js%00", "/assets/app.js/", "/assets/", "/assets"),
        *("/index.html", "/notes.txt", "/page/index.html", "/assets/none.js", "/favicon.ico"),
    ):
        answer = page.get(path)
        assert (answer.status_code, path) == (404, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize("path", ["/", "/assets/app.js"])
def test_a_file_is_only_read(page: TestClient, path: str) -> None:
    answer = page.post(path)
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")


def test_another_name_for_this_server_does_not_get_the_page(page: TestClient) -> None:
    answer = page.get("/", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/foreign-host")


def test_a_server_without_the_page_says_so_and_does_everything_else(
    serve: Serve, tmp_path: Path
) -> None:
    client = serve(tmp_path / "nothing")

    answer = client.get("/")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/page-missing")
    assert client.get("/assets/app.js").json()["type"] == "/problems/not-found"
    assert client.get("/sessions").json() == []


def test_the_page_is_no_part_of_the_apis_description(page: TestClient) -> None:
    assert not {"/", "/assets/{name}"} & set(page.get("/openapi.json").json()["paths"])
