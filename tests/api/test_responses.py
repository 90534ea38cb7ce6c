"""What holds of every response: HEAD, the headers that say how to treat it, the methods."""

import pytest
from starlette.testclient import TestClient

from tests.api.test_inputs import problem

READABLE = [
    "/healthz", "/readyz", "/sessions", "/sessions?limit=1", "/sessions/here", "/history/here",
    "/search?q=hello", "/export", "/usage", "/models", "/openapi.json", "/", "/nothing",
    "/sessions/nobody", "/sessions?limit=0",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _session(running_client: TestClient) -> None:
    running_client.post("/chat", json={"session_id": "here", "message": "hello"})


@pytest.mark.parametrize("path", READABLE)
def test_head_answers_what_get_does_without_its_content(client: TestClient, path: str) -> None:
    expected = client.get(path)
    response = client.head(path)

    assert (response.status_code, response.content) == (expected.status_code, b"")
    assert response.headers == expected.headers


def test_head_is_refused_where_get_is(client: TestClient) -> None:
    for path in ("/chat", "/import"):
        response = client.head(path)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", [path for path in READABLE if path != "/"])
def test_no_cache_keeps_an_answer_and_no_browser_guesses_what_it_is(
    client: TestClient, path: str
) -> None:
    headers = client.get(path).headers

    assert headers.get_list("cache-control") == ["no-store"]
    assert headers.get_list("x-content-type-options") == ["nosniff"]


@pytest.mark.parametrize("accept", ["application/json", "text/plain", "text/event-stream"])
def test_an_answer_of_a_model_is_stored_by_no_cache(client: TestClient, accept: str) -> None:
    body = {"session_id": "here", "message": "hello"}
    headers = client.post("/chat", json=body, headers={"accept": accept}).headers

    assert headers["content-type"].startswith(accept)
    assert headers.get_list("cache-control") == ["no-store"]
    assert headers.get_list("x-content-type-options") == ["nosniff"]


def test_what_is_refused_before_it_is_parsed_is_stored_by_no_cache(client: TestClient) -> None:
    response = client.get("/sessions", headers={"host": "evil.example"})

    assert problem(response) == (403, "foreign-host")
    assert response.headers.get_list("cache-control") == ["no-store"]
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]


def test_the_page_is_cached_and_revalidated(client: TestClient) -> None:
    headers = client.get("/").headers

    assert headers.get_list("cache-control") == ["no-cache"]
    assert headers.get_list("x-content-type-options") == ["nosniff"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/sessions/here", "GET, HEAD, PATCH, DELETE"),
        ("DELETE", "/sessions", "GET, HEAD"),
        ("GET", "/chat", "POST"),
        ("POST", "/turns/turn_1", "GET, HEAD"),
        ("GET", "/turns/turn_1/cancel", "POST"),
    ],
)
def test_the_answer_to_a_wrong_method_names_the_right_ones(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)

    assert problem(response) == (405, "method-not-allowed")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("name", ["host", "origin", "content-type", "authorization"])
def test_a_header_with_two_meanings_is_refused(client: TestClient, name: str) -> None:
    value = {"host": "localhost", "origin": "http://localhost"}.get(name, "application/json")
    lines = [(name, value), (name, value)]
    if name != "host":
        lines.append(("host", "localhost"))

    response = client.get("/sessions", headers=lines)

    assert problem(response) == (400, "malformed-request")
    assert name in response.json()["detail"].lower()


def test_an_idempotency_key_is_there_once(client: TestClient) -> None:
    headers = [("idempotency-key", "one"), ("idempotency-key", "two")]
    response = client.post("/chat", json={"session_id": "s", "message": "m"}, headers=headers)

    assert problem(response) == (422, "invalid-request")
    assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"


def test_an_accept_header_may_take_several_lines(client: TestClient) -> None:
    headers = [("accept", "application/json;q=0.1"), ("accept", "text/plain")]
    response = client.post("/chat", json={"session_id": "here", "message": "m"}, headers=headers)

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
