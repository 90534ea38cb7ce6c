"""What a turn can ask for: a branch, another reply, its receipt, the same answer once more."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.process import Server
from tests.upstream import Answer, Upstream, polite


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with server.client() as opened:
        yield opened


def test_editing_an_earlier_message_makes_a_branch_and_the_old_one_can_be_chosen_again(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    one = server.chat(session, "one").json()
    two = server.chat(session, "two").json()
    edited = server.chat(session, "two, edited", parent_id=one["message_id"]).json()

    sent = [m for m in upstream.replies[-1].messages if m[0] != "system"]
    assert sent == [
        ("user", "one"),
        ("assistant", "Reply to: one"),
        ("user", "two, edited"),
    ]
    assert server.contents(session)[2:] == ["two, edited", "Reply to: two, edited"]
    listed = client.get(f"/messages/{edited['user_message_id']}/siblings").json()
    assert [message["content"] for message in listed] == ["two", "two, edited"]
    assert {message["parent_id"] for message in listed} == {one["message_id"]}

    path = f"/sessions/{httpx2.URL('/' + session).raw_path.decode()[1:]}"
    chosen = client.patch(path, json={"head": two["user_message_id"]})
    assert chosen.status_code == 200, chosen.text
    assert server.contents(session)[2:] == ["two", "Reply to: two"]
    assert client.patch(path, json={"head": "msg_none"}).status_code == 404
    assert client.patch("/sessions/none", json={"head": "msg_none"}).status_code == 404
    for wrong in (b'{"heads": "x"}', b'{"head": "\\ud800"}', b'{"head": null}', b"{}"):
        headers = {"Content-Type": "application/json"}
        assert client.patch(path, content=wrong, headers=headers).status_code == 422

    fresh = server.chat(session, "from the start", parent_id=None).json()
    assert server.contents(session) == ["from the start", "Reply to: from the start"]
    roots = client.get(f"/messages/{fresh['user_message_id']}/siblings").json()
    assert [message["content"] for message in roots] == ["one", "from the start"]
    missing = server.chat(session, "x", parent_id="msg_none")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/message-not-found")
    assert client.get("/messages/msg_none/siblings").status_code == 404


def test_a_failed_turn_is_tried_again_without_sending_the_message_twice(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=401)
    failed = server.chat(session, "what went wrong?", temperature=0.5)
    assert failed.status_code == 502
    assert failed.headers["x-should-retry"] == "false"
    assert failed.json()["events"] == f"/turns/{failed.json()['turn_id']}/events"
    upstream.script = polite

    body = {"session_id": session, "regenerate": failed.json()["turn_id"]}
    again = client.post("/chat", json=body)

    assert again.json()["response"] == "Reply to: what went wrong?"
    assert upstream.replies[-1].body["temperature"] == 0.5
    history = server.history(session)
    assert [m["content"] for m in history] == ["what went wrong?", "Reply to: what went wrong?"]
    assert {m["status"] for m in history} == {"completed"}
    other = client.post("/chat", json={**body, "session_id": "elsewhere " + session})
    assert (other.status_code, other.json()["type"]) == (404, "/problems/turn-not-found")


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({}, "#/message"),
        ({"message": None}, "#/message"),
        ({"message": "x", "regenerate": "turn_1"}, "#/message"),
        ({"regenerate": "turn_1", "parent_id": None}, "#/parent_id"),
        ({"message": "x", "on_busy": "wait"}, "#/on_busy"),
        ({"message": "x", "parent_id": 5}, "#/parent_id"),
        ({"message": "x", "parent_id": "\ud800"}, "#/parent_id"),
        ({"regenerate": "x" * 256}, "#/regenerate"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    client: httpx2.Client, session: str, more: dict[str, Any], pointer: str
) -> None:
    body = json.dumps({"session_id": session, **more}).encode()
    answer = client.post("/chat", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("model", ["openai:scripted", "anthropic:scripted", "ollama:scripted"])
def test_the_receipt_is_what_the_model_was_sent(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, model: str
) -> None:
    env = {"CHATKEEP_MODEL": model, "CHATKEEP_CONTEXT_MESSAGES": "3"}
    with Server(tmp_path_factory.mktemp("data"), upstream.env | env) as server:
        for number in range(4):
            answer = server.chat("s", f"q{number}", system_prompt=f"Prompt {number}.")
        receipt = server.get(f"/turns/{answer.json()['turn_id']}/context")
        sent = [("system", receipt["system_prompt"])]
        sent += [(m["role"], m["content"]) for m in receipt["messages"]]
        assert sent == upstream.replies[-1].messages
        history = server.history("s")
        ids = [m["message_id"] for m in receipt["messages"] if m["message_id"]]
        assert ids == [m["id"] for m in history[3:-1]]
        (left,) = receipt["left_out"]
        assert left["rule"] == "context_messages"
        assert left["message_ids"] == [m["id"] for m in history[2::-1]]
        assert left["count"] == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\tbed", "é"])
def test_an_idempotency_key_that_is_none_is_refused(
    client: httpx2.Client, session: str, key: str
) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = client.post("/chat", json={"session_id": session, "message": "x"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"


def test_a_replay_gives_the_same_answer_also_of_a_failure(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    key = f"key-{session}".replace(" ", "-")

    def post(message: str) -> httpx2.Response:
        body = {"session_id": session, "message": message}
        return client.post("/chat", json=body, headers={"Idempotency-Key": f"{key}-{message}"})

    first, second = post("one"), post("one")
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.json() == second.json()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=401)
    failed, again = post("two"), post("two")
    assert again.headers["idempotent-replayed"] == "true"
    assert (failed.status_code, failed.json()) == (again.status_code, again.json())
    assert len(upstream.replies) == 2
