"""Branches that are read without being chosen: what is in them, and that nothing changes."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.api.test_lists import pages


@pytest.fixture
def tree(client: TestClient, session: str) -> dict[str, Any]:
    """A session with two branches below its first answer; the second is the active one."""

    def say(message: str, **more: Any) -> dict[str, Any]:
        answer = client.post("/chat", json={"session_id": session, "message": message, **more})
        assert answer.status_code == 200
        return dict(answer.json())

    first = say("one")
    left = say("left")
    say("further left")
    right = say("right", parent_id=first["message_id"])
    return {"session": session, "first": first, "left": left, "right": right}


def questions(client: TestClient, path: str) -> list[str]:
    response = client.get(path)
    assert response.status_code == 200
    return [message["content"] for message in response.json() if message["role"] == "user"]


def test_another_branch_is_read_to_its_newest_message_and_the_active_one_stays(
    client: TestClient, tree: dict[str, Any]
) -> None:
    name = tree["session"]
    before = client.get(f"/sessions/{name}")

    for message in (tree["left"]["user_message_id"], tree["left"]["message_id"]):
        path = f"/history/{name}?head={message}"
        assert questions(client, path) == ["one", "left", "further left"]

    # At a fork the newest message leads on, as where a branch is chosen.
    through_both = f"/history/{name}?head={tree['first']['message_id']}"
    assert questions(client, through_both) == ["one", "right"]
    assert questions(client, f"/history/{name}") == ["one", "right"]
    after = client.get(f"/sessions/{name}")
    assert after.json() == before.json()
    assert after.headers["etag"] == before.headers["etag"]


def test_what_is_read_is_what_choosing_the_branch_would_show(
    client: TestClient, tree: dict[str, Any]
) -> None:
    name, head = tree["session"], tree["left"]["message_id"]
    for more in ("", "&details=true"):
        read = client.get(f"/history/{name}?head={head}{more}").json()
        client.patch(f"/sessions/{name}", json={"head": head})
        assert client.get(f"/history/{name}?{more.lstrip('&')}").json() == read
        client.patch(f"/sessions/{name}", json={"head": tree["right"]["message_id"]})


def test_pages_of_another_branch_lead_to_its_older_messages(
    client: TestClient, tree: dict[str, Any]
) -> None:
    path = f"/history/{tree['session']}?head={tree['left']['message_id']}"
    whole = client.get(path).json()
    assert len(whole) == 6

    by_page = pages(client, f"{path}&limit=4", "prev")

    assert [len(page) for page in by_page] == [4, 2]
    assert [message for page in reversed(by_page) for message in page] == whole


def test_a_branch_through_no_message_of_the_session_is_not_found(
    client: TestClient, tree: dict[str, Any]
) -> None:
    name, known = tree["session"], tree["left"]["message_id"]
    client.post("/chat", json={"session_id": f"{name} too", "message": "elsewhere"})
    other_id = client.get(f"/history/{name} too").json()[0]["id"]
    for query in (
        "head=msg_none",
        "head=",
        f"head={other_id}",
        f"head=msg_none&before={known}",
        f"head={known}&before={other_id}",
    ):
        response = client.get(f"/history/{name}?{query}&limit=1")
        assert response.status_code == 404, query
        assert response.json()["type"] == "/problems/message-not-found"
    assert client.get(f"/history/nobody?head={known}").status_code == 404
