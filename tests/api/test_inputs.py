"""Whatever is sent, the answer is the contract's: a problem with the right status, or success."""

from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

JSON = {"content-type": "application/json"}


def problem(response: Any) -> tuple[int, str]:
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert set(body) >= {"type", "title", "status", "detail"}
    assert body["status"] == response.status_code
    return response.status_code, body["type"].removeprefix("/problems/")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"not json", 400),
        (b'{"session_id": "s", "message": "\xff"}', 400),
        (b'{"session_id": "s", "message": "m", "temperature": NaN}', 400),
        (b'{"session_id": "s", "message": "m", "temperature": Infinity}', 400),
        (b'{"session_id": "s", "message": "m", "message": "n"}', 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000, 400),
        (b'{"session_id": "s", "message": "m", "max_tokens": ' + b"9" * 5_000 + b"}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b"{}", 422),
        (b'{"session_id": "s"}', 422),
        (b'{"session_id": "s", "message": 5}', 422),
        (b'{"session_id": 5, "message": "m"}', 422),
        (b'{"session_id": "s", "message": null}', 422),
        (b'{"session_id": "s", "message": "m", "mesage": "n"}', 422),
        (b'{"session_id": "s", "message": "m", "temperature": 1e999}', 422),
        (b'{"session_id": "s", "message": "m", "temperature": "hot"}', 422),
        (b'{"session_id": "s", "message": "m", "max_tokens": 0}', 422),
        (b'{"session_id": "s", "message": "m", "model": "openai:other"}', 422),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused(
    client: TestClient, body: bytes, status: int
) -> None:
    code = {400: "malformed-body", 422: "invalid-request"}[status]
    assert problem(client.post("/chat", content=body, headers=JSON)) == (status, code)


@pytest.mark.parametrize("session_id", ["", " a", "a\n", "\t", "a\0b", "a\x1fb", "\x7f", ".", ".."])
def test_a_session_id_that_could_not_be_named_again_is_refused(
    client: TestClient, session_id: str
) -> None:
    response = client.post("/chat", json={"session_id": session_id, "message": "m"})

    assert problem(response) == (422, "invalid-request")
    assert response.json()["errors"][0]["pointer"] == "#/session_id"


@pytest.mark.parametrize("message", ["", " \n\t ", "\u3000", "\u200b\ufeff", "a\0b"])
def test_a_message_that_says_nothing_or_cannot_be_stored_is_refused(
    client: TestClient, message: str
) -> None:
    response = client.post("/chat", json={"session_id": "s", "message": message})

    assert problem(response) == (422, "invalid-request")
    assert response.json()["errors"][0]["pointer"] == "#/message"


@pytest.mark.parametrize(
    "name", ["session_id", "message", "model", "system_prompt", "parent_id", "on_busy"]
)
def test_half_a_character_is_refused(client: TestClient, name: str) -> None:
    body = {"session_id": '"s"', "message": '"m"'} | {name: '"a\\ud800"'}
    content = "{" + ", ".join(f'"{key}": {value}' for key, value in body.items()) + "}"

    response = client.post("/chat", content=content, headers=JSON)

    assert problem(response) == (422, "invalid-request")


@pytest.mark.parametrize(
    "session_id",
    [
        "plain",
        "with space",
        "a/b",
        "/",
        "//",
        "a/",
        "/a",
        "a/../b",
        "...",
        "?x=1&y=2",
        "#fragment",
        "%2F",
        "100%",
        "ünï",
        "日本語",
        "😀",
        "e\u0301",
        "\u00e9",
        "'; DROP TABLE sessions; --",
        "a\\b",
        'a"b',
        "\u200d",
        "x" * 255,
        "😀" * 255,
        "limit",
        "history",
    ],
)
def test_every_session_id_that_is_accepted_can_be_read_and_listed(
    client: TestClient, session_id: str
) -> None:
    assert client.post("/chat", json={"session_id": session_id, "message": "m"}).status_code == 200

    history = client.get(f"/history/{quote(session_id, safe='')}").json()
    listed = [s["session_id"] for s in client.get("/sessions").json()]

    assert [message["content"] for message in history] == ["m", "Reply to: m"]
    assert listed.count(session_id) == 1


def test_a_message_is_stored_exactly_as_sent(client: TestClient) -> None:
    message = " \r\n e\u0301 \u202e😀 \ufeff \x07 end \n"

    client.post("/chat", json={"session_id": "exact", "message": message})

    assert client.get("/history/exact").json()[0]["content"] == message


def test_a_body_is_json_and_says_so(client: TestClient) -> None:
    body = b'{"session_id": "s", "message": "m"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        response = client.post("/chat", content=body, headers={"content-type": kind})
        assert problem(response) == (415, "unsupported-media-type")
    for kind in ("application/json; charset=utf-8", "application/merge+json"):
        response = client.post("/chat", content=body, headers={"content-type": kind})
        assert response.status_code == 200


def test_a_huge_body_is_refused_by_its_length_and_by_what_arrives(client: TestClient) -> None:
    huge = b'{"session_id": "s", "message": "' + b"x" * 20_000_000 + b'"}'
    assert problem(client.post("/chat", content=huge, headers=JSON)) == (413, "too-large")

    chunks = (huge[start : start + 65_536] for start in range(0, len(huge), 65_536))
    assert problem(client.post("/chat", content=chunks, headers=JSON)) == (413, "too-large")


def test_a_message_may_have_100000_characters_and_no_more(client: TestClient) -> None:
    def post(length: int) -> Any:
        return client.post("/chat", json={"session_id": "long", "message": "ä" * length})

    assert post(100_000).status_code == 200
    assert problem(post(100_001)) == (413, "too-large")


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/sessions?limit=0", "limit"),
        ("/sessions?limit=1001", "limit"),
        ("/sessions?limit=many", "limit"),
        ("/history/plain?limit=-1", "limit"),
        ("/history/plain?before=" + "x" * 256, "before"),
    ],
)
def test_a_wrong_parameter_is_named(client: TestClient, path: str, parameter: str) -> None:
    response = client.get(path)

    assert problem(response) == (422, "invalid-request")
    assert response.json()["errors"][0]["parameter"] == parameter


def test_what_is_not_there_is_404(client: TestClient) -> None:
    client.post("/chat", json={"session_id": "there", "message": "m"})

    assert problem(client.get("/history/nobody")) == (404, "session-not-found")
    assert problem(client.get("/history/THERE")) == (404, "session-not-found")
    assert problem(client.get("/history/there?before=msg_0&limit=5")) == (404, "message-not-found")
    assert problem(client.get("/nothing")) == (404, "not-found")
    assert problem(client.get("/chat")) == (405, "method-not-allowed")


def test_a_cursor_of_the_list_that_was_never_issued_is_refused(client: TestClient) -> None:
    for after in ("x", "WzFd", "bnVsbA", "%00", "ä", "WzkyMjMzNzIwMzY4NTQ3NzU4MDgsImEiXQ"):
        assert problem(client.get(f"/sessions?after={after}"))[0] == 422


def test_an_error_shows_nothing_of_the_inside(client: TestClient) -> None:
    secret = "do-not-repeat-me"
    body = f'{{"session_id": "s", "message": "m", "temperature": "{secret}"}}'

    response = client.post("/chat", content=body, headers=JSON)

    assert secret not in response.text
    assert "Traceback" not in response.text
