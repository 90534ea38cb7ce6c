"""Who may call: names and pages that are not the server's own are refused."""

import pytest
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("chat.example", 200),
        ("chat.example:443", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8000", 403),
        ("", 403),
    ],
)
def test_the_server_answers_to_its_own_names_alone(
    client: TestClient, host: str, status: int
) -> None:
    assert client.get("/sessions", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", 200),
        ("https://page.example", 200),
        ("http://page.example", 403),
        ("http://localhost:3000", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://localhost:8000.evil.example", 403),
    ],
)
def test_pages_elsewhere_cannot_call(client: TestClient, origin: str, status: int) -> None:
    response = client.get("/sessions", headers={"origin": origin})

    assert response.status_code == status
    if status == 403:
        assert response.json()["type"] == "/problems/foreign-origin"


def test_an_allowed_page_may_read_the_answer(client: TestClient) -> None:
    preflight = {"origin": "https://page.example", "access-control-request-method": "POST"}

    before = client.options("/chat", headers=preflight)
    answer = client.get("/sessions", headers={"origin": "https://page.example"})

    assert before.status_code == 200
    for response in (before, answer):
        assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert "Content-Location" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("path", "site", "more", "status"),
    [
        ("/sessions", "cross-site", {}, 403),
        ("/sessions", "same-site", {}, 403),
        ("/search?q=guess", "cross-site", {"sec-fetch-mode": "no-cors"}, 403),
        ("/export", "cross-site", {"sec-fetch-dest": "document"}, 403),
        ("/assets/app.js", "cross-site", {"sec-fetch-dest": "script"}, 403),
        ("/", "cross-site", {"sec-fetch-dest": "iframe"}, 403),
        ("/", "cross-site", {"sec-fetch-dest": "document"}, 200),
        ("/sessions", "cross-site", {"origin": "https://page.example"}, 200),
        ("/sessions", "cross-site", {"origin": "https://evil.example"}, 403),
        ("/sessions", "same-origin", {}, 200),
        ("/sessions", "none", {}, 200),
    ],
)
def test_a_page_elsewhere_can_make_the_server_tell_nothing(
    client: TestClient, path: str, site: str, more: dict[str, str], status: int
) -> None:
    """Also by a request that has no `Origin`, whose time it could take."""
    response = client.get(path, headers={"sec-fetch-site": site, **more})
    assert response.status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_may_call_the_server_by_any_name(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"host": "10.0.0.17:8000"}).status_code == 200
