"""The two lists: their shape, their order, their pages."""

import re
from typing import Any

from starlette.testclient import TestClient

from tests.upstream import Answer, Upstream, polite

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def pages(client: TestClient, path: str, rel: str) -> list[list[dict[str, Any]]]:
    listed = []
    while True:
        response = client.get(path)
        assert response.status_code == 200
        listed.append(response.json())
        link = response.headers.get("link")
        if link is None:
            return listed
        match = re.fullmatch(rf'<([^>]+)>; rel="{rel}"', link)
        assert match is not None
        path = str(response.url.join(match[1]))


def test_sessions_are_listed_newest_activity_first(client: TestClient) -> None:
    for name in ("one", "two", "three", "one"):
        client.post("/chat", json={"session_id": name, "message": "a b c"})

    sessions = client.get("/sessions").json()

    assert [session["session_id"] for session in sessions] == ["one", "three", "two"]
    assert [session["message_count"] for session in sessions] == [4, 2, 2]
    for session in sessions:
        assert set(session) >= {
            "session_id",
            "title",
            "title_source",
            "created_at",
            "updated_at",
            "message_count",
        }
        assert TIME.fullmatch(session["created_at"])
        assert TIME.fullmatch(session["updated_at"])


def test_pages_put_together_are_the_whole_list(client: TestClient) -> None:
    for number in range(9):
        client.post("/chat", json={"session_id": f"page {number}", "message": "a b c"})
    whole = client.get("/sessions").json()

    by_page = pages(client, "/sessions?limit=4", "next")

    assert [len(page) for page in by_page[:-1]] == [4] * (len(by_page) - 1)
    assert [session for page in by_page for session in page] == whole


def test_pages_of_a_history_lead_to_older_messages(client: TestClient) -> None:
    for number in range(4):
        client.post("/chat", json={"session_id": "a/ü?", "message": f"question {number}"})
    whole = client.get("/history/a%2F%C3%BC%3F").json()
    assert len(whole) == 8

    by_page = pages(client, "/history/a%2F%C3%BC%3F?limit=3", "prev")

    assert [len(page) for page in by_page] == [3, 3, 2]
    assert [message for page in reversed(by_page) for message in page] == whole
    assert [message["parent_id"] for message in whole] == [
        None,
        *(message["id"] for message in whole[:-1]),
    ]


def test_a_message_has_the_contracts_members(client: TestClient) -> None:
    answer = client.post("/chat", json={"session_id": "members", "message": "hello"}).json()

    user, assistant = client.get("/history/members").json()

    assert (user["role"], user["content"], user["status"]) == ("user", "hello", "completed")
    assert (assistant["role"], assistant["content"]) == ("assistant", answer["response"])
    assert user["id"] == answer["user_message_id"]
    assert assistant["id"] == answer["message_id"]
    assert user["created_at"] <= assistant["created_at"]
    assert TIME.fullmatch(user["created_at"])
    assert re.fullmatch(r"msg_[0-9a-f]{12}7[0-9a-f]{19}", user["id"])
    assert re.fullmatch(r"turn_[0-9a-f]{12}7[0-9a-f]{19}", user["turn_id"])


DETAILS = {"siblings", "turn"}


def test_details_are_in_the_answer_on_request_whole_or_in_pages(
    client: TestClient,
) -> None:
    for number in range(4):
        client.post("/chat", json={"session_id": "detailed", "message": f"question {number}"})
    plain = client.get("/history/detailed").json()
    assert client.get("/history/detailed?details=false").json() == plain

    whole = client.get("/history/detailed?details=true").json()
    by_page = pages(client, "/history/detailed?limit=3&details=true", "prev")

    assert [message for page in reversed(by_page) for message in page] == whole
    assert [{k: m[k] for k in m if k not in DETAILS} for m in whole] == plain
    assert all(not DETAILS & set(message) for message in plain)
    for message in whole:
        assert message["siblings"] == [message["id"]]
        turn = client.get(f"/turns/{message['turn_id']}").json()
        assert message["turn"].items() <= turn.items()
        assert set(turn) - set(message["turn"]) == {
            *("session_id", "user_message_id", "message_id", "messages")
        }


def test_a_question_tells_why_it_could_not_be_answered_again(
    client: TestClient, upstream: Upstream
) -> None:
    first = client.post("/chat", json={"session_id": "in vain", "message": "hello"}).json()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=401)
    again = {"session_id": "in vain", "regenerate": first["turn_id"]}
    failed = client.post("/chat", json=again).json()

    question, reply = client.get("/history/in vain?details=true").json()

    assert (question["status"], question["turn"]["status"]) == ("completed", "failed")
    assert question["turn"]["turn_id"] == failed["turn_id"]
    assert question["turn"]["error"] == {name: failed[name] for name in ("type", "title", "detail")}
    assert (reply["content"], reply["turn"]["turn_id"]) == (first["response"], first["turn_id"])
    assert reply["turn"]["usage"] == first["usage"]
    assert reply["siblings"] == [first["message_id"]]


def test_an_empty_list_is_an_empty_array(client: TestClient) -> None:
    assert client.get("/sessions?limit=5&after=WzAsIiJd").json() == []


def test_the_server_says_that_it_is_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
