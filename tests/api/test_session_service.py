"""What happens around sessions and messages that no turn makes: events, titles, the archive."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from chatkeep.api.dependencies import Services
from chatkeep.domain.blocks import Blocks
from chatkeep.domain.errors import InvalidRequest, MessageNotLast, TooLarge
from chatkeep.domain.events import Event
from chatkeep.domain.model import Caller, MessageContent, Role
from chatkeep.sessions.service import MAX_APPENDED
from tests.turn_requests import turn_request
from tests.upstream import Upstream

CALLER = Caller()
LIMIT_SECONDS = 30


def user(text: str, blocks: Blocks | None = None) -> MessageContent:
    return MessageContent(Role.USER, text, blocks)


def assistant(text: str) -> MessageContent:
    return MessageContent(Role.ASSISTANT, text)


def services(client: TestClient) -> Services:
    return cast("Services", cast("FastAPI", client.app).state.services)


def in_app(client: TestClient, work: Callable[[Services], Awaitable[Any]]) -> Any:
    """Run a function on the loop of the application."""
    assert client.portal is not None
    return client.portal.call(work, services(client))


@contextmanager
def events_of(
    client: TestClient, session_id: str
) -> Iterator[Callable[[int], list[tuple[str, Any]]]]:
    """Collect what is published of a session: the function waits until there are so many."""
    assert client.portal is not None
    seen: list[tuple[str, Any]] = []

    async def first(count: int) -> list[tuple[str, Any]]:
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(seen) < count:
                event = await anext(feed)
                if isinstance(event, Event):
                    # As it is on the wire, whichever process has published it.
                    payload = orjson.loads(orjson.dumps(event.payload))
                    if payload["session_id"] == session_id:
                        seen.append((event.type.value, payload))
        return seen

    async def begin() -> None:
        assert await anext(feed) == ""

    feed = services(client).notifications.read("default", None, idle_seconds=LIMIT_SECONDS)
    client.portal.call(begin)
    portal = client.portal
    try:
        yield lambda count: portal.call(first, count)
    finally:
        portal.call(feed.aclose)


def titled(client: TestClient, name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", client.get(f"/sessions/{name}").json())


def test_a_created_session_is_announced_and_titled_from_what_its_user_wrote(
    client: TestClient, upstream: Upstream
) -> None:
    with events_of(client, "created") as events:
        made = in_app(
            client,
            lambda it: it.sessions.create(
                CALLER,
                "created",
                metadata={"topic": "demo"},
                messages=(assistant("How can I help?"), user("Plan a trip to Oslo")),
            ),
        )
        assert made.is_new
        assert made.session.title
        assert made.session.title != "New chat"
        (created, announced), (name, model_title) = events(2)
        assert (created, name) == ("session.created", "session.titled")
        assert announced["message_count"] == 2
        assert model_title["title"] == "Plan a trip"
    assert titled(client, "created")["title_source"] == "model"
    assert titled(client, "created")["metadata"] == {"topic": "demo"}
    assert len(upstream.titles) == 1
    assert [message["content"] for message in client.get("/history/created").json()] == [
        "How can I help?",
        "Plan a trip to Oslo",
    ]


def test_a_session_that_is_there_is_not_announced_again(client: TestClient) -> None:
    async def twice(it: Services) -> tuple[bool, bool]:
        first = await it.sessions.create(CALLER, "twice")
        again = await it.sessions.create(CALLER, "twice", messages=(user("hello"),))
        return first.is_new, again.is_new

    with events_of(client, "twice") as events:
        assert in_app(client, twice) == (True, False)
        client.patch("/sessions/twice", json={"pinned": True})
        assert [name for name, _ in events(2)] == ["session.created", "session.updated"]


def test_an_empty_session_is_titled_once_it_has_a_message_of_its_user(
    client: TestClient, upstream: Upstream
) -> None:
    async def fill(it: Services) -> None:
        made = await it.sessions.create(CALLER, "empty")
        assert made.session.title.startswith("Chat, ")
        await it.sessions.append(CALLER, "empty", (assistant("Hello!"),))
        await it.sessions.append(CALLER, "empty", (user("Plan a trip"),))

    with events_of(client, "empty") as events:
        in_app(client, fill)
        seen = events(4)
    assert [name for name, _ in seen] == [
        *("session.created", "session.updated", "session.updated", "session.titled"),
    ]
    assert seen[1][1]["title"].startswith("Chat, ")
    assert not seen[2][1]["title"].startswith("Chat, ")
    assert seen[2][1]["message_count"] == 2
    assert len(upstream.titles) == 1


def test_the_model_reads_what_was_added_before_its_turn(
    client: TestClient, upstream: Upstream
) -> None:
    in_app(
        client,
        lambda it: it.sessions.create(
            CALLER, "read", messages=(user("My name is Ada."), assistant("Hello, Ada."))
        ),
    )
    in_app(client, lambda it: it.sessions.append(CALLER, "read", (user("I like whales."),)))
    answer = client.post("/chat", json={"session_id": "read", "message": "What do I like?"})
    assert answer.status_code == 200
    (call,) = upstream.replies
    assert [text for role, text in call.messages if role != "system"] == [
        "My name is Ada.",
        "Hello, Ada.",
        "I like whales.",
        "What do I like?",
    ]


def test_the_last_message_goes_and_the_session_is_announced(client: TestClient) -> None:
    with events_of(client, "popped") as events:
        client.post("/chat", json={"session_id": "popped", "message": "Hello there"})
        question, reply = client.get("/history/popped").json()
        record = in_app(client, lambda it: it.sessions.remove_last(CALLER, "popped", reply["id"]))
        assert (record.head, record.message_count) == (question["id"], 1)
        updates = [session for name, session in events(5) if name == "session.updated"]
    assert [session["message_count"] for session in updates] == [1]
    with pytest.raises(MessageNotLast):
        in_app(client, remove_first_of_two)
    assert client.get("/history/popped").json() == [question]


async def remove_first_of_two(it: Services) -> None:
    added = await it.sessions.append(CALLER, "popped", (assistant("One"), assistant("Two")))
    try:
        await it.sessions.remove_last(CALLER, "popped", added[0].id)
    finally:
        for message in reversed(added):
            await it.sessions.remove_last(CALLER, "popped", message.id)


def test_what_is_not_allowed_is_refused_and_nothing_is_stored(client: TestClient) -> None:
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("", {}, "#/session_id"),
        ("bad\n", {}, "#/session_id"),
        ("refused", {"metadata": {"a": "x" * 20_000}}, "#/metadata"),
        ("refused", {"messages": (user("m"),) * (MAX_APPENDED + 1)}, "#/items"),
        ("refused", {"messages": (user("m"), assistant(""))}, "#/items/1"),
    ]
    for name, values, pointer in refused:
        with pytest.raises(InvalidRequest) as error:
            in_app(client, lambda it, n=name, v=values: it.sessions.create(CALLER, n, **v))
        assert error.value.errors[0]["pointer"] == pointer
    long = user("x" * 10_000_000)
    with pytest.raises(TooLarge):
        in_app(client, lambda it: it.sessions.create(CALLER, "refused", messages=(long,)))
    assert client.get("/sessions/refused").status_code == 404


def test_a_detached_turns_session_is_listed_and_titled_once_it_goes_on(
    client: TestClient, upstream: Upstream
) -> None:
    async def detached(it: Services) -> None:
        request = turn_request("bare", b"digest", "Plan a trip to Oslo", is_detached=True)
        submitted = await it.turns.submit_turn(CALLER, request)
        await submitted.stream.result(title=True)

    def listed(*, archived: bool) -> list[str]:
        sessions = client.get("/sessions", params={"archived": archived}).json()
        return [session["session_id"] for session in sessions]

    with events_of(client, "bare") as events:
        in_app(client, detached)
        assert upstream.titles == []
        assert "bare" in listed(archived=True)
        assert "bare" not in listed(archived=False)
        assert titled(client, "bare")["title_source"] == "provisional"
        client.post("/chat", json={"session_id": "bare", "message": "And to Bergen?"})
        seen = events(7)
    changes = [(name, payload) for name, payload in seen if name.startswith("session.")]
    assert [name for name, _ in changes] == [
        "session.created",
        "session.updated",
        "session.titled",
    ]
    assert (changes[0][1]["archived"], changes[1][1]["archived"]) == (True, False)
    assert changes[2][1]["title"] == "Plan a trip"
    assert "bare" in listed(archived=False)


def test_a_branch_is_read_in_pages_and_its_inputs_are_known(client: TestClient) -> None:
    client.post("/chat", json={"session_id": "paged", "message": "Hello there"})

    async def read(it: Services) -> Any:
        page = await it.sessions.branch(CALLER, "paged", limit=1, oldest_first=True)
        rest = await it.sessions.branch(
            CALLER, "paged", limit=5, after=page.next_cursor, oldest_first=True
        )
        inputs = await it.sessions.last_inputs(CALLER, [*page.items, *rest.items])
        return [*page.items, *rest.items], inputs, rest.next_cursor

    (question, reply), inputs, cursor = in_app(client, read)
    assert (question.role, reply.role, cursor) == (Role.USER, Role.ASSISTANT, None)
    assert inputs == {question.turn_id: question.id}


def test_what_is_left_after_removals_can_be_carried_away_and_brought_back(
    client: TestClient,
) -> None:
    def post(message: str | None, **more: Any) -> dict[str, Any]:
        body = {"session_id": "moved", "message": message, **more}
        if message is None:
            del body["message"]
        response = client.post("/chat", json=body)
        assert response.status_code == 200, response.text
        return cast("dict[str, Any]", response.json())

    def remove_last(count: int) -> None:
        for _ in range(count):
            in_app(client, remove_head)

    async def remove_head(it: Services) -> None:
        page = await it.sessions.branch(CALLER, "moved", limit=1)
        await it.sessions.remove_last(CALLER, "moved", page.items[0].id)

    in_app(client, lambda it: it.sessions.create(CALLER, "moved", messages=(user("one"),)))
    first = post("two")
    second = post("three")
    post(None, regenerate=second["turn_id"])
    remove_last(1)
    post("four", parent_id=first["message_id"])
    remove_last(3)
    post("five")
    remove_last(1)
    in_app(client, lambda it: it.sessions.append(CALLER, "moved", (assistant("six"),)))
    history = client.get("/history/moved").json()
    assert [message["content"] for message in history] == ["one", "two", "five", "six"]
    exported = client.get("/export", params={"session_id": "moved"}).content

    assert client.delete("/sessions/moved").is_success
    report = client.post("/import", content=exported).json()

    assert (report["imported"], report["skipped"]) == (1, [])
    assert client.get("/history/moved").json() == history
    assert client.get("/export", params={"session_id": "moved"}).content == exported
