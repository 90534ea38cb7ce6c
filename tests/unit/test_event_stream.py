"""The response with a stream's events: whose fault an end is."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from chatkeep.api.sse import EventStream, encoded
from chatkeep.domain.events import Event, EventType, MessageDelta

Send = Callable[[Any], Awaitable[None]]

HELLO = Event("1-5", EventType.MESSAGE_DELTA, MessageDelta("Hello"))


async def never() -> dict[str, str]:
    """What a connected client sends while it only reads."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def respond(
    events: AsyncGenerator[Event | str, None],
    *,
    receive: Callable[[], Awaitable[Any]] = never,
    send: Send | None = None,
    reader_seconds: float = 60,
) -> list[bytes]:
    """Send the events to a client; the bodies that it has received."""
    bodies: list[bytes] = []

    async def collect(message: dict[str, Any]) -> None:
        bodies.append(message.get("body", b""))

    response = EventStream(events, encoded, reader_seconds=reader_seconds, headers={})
    await response({}, receive, send or collect)
    return bodies


def test_events_are_sent_with_their_id_type_and_payload() -> None:
    async def events() -> AsyncGenerator[Event | str, None]:
        yield HELLO
        yield "a comment"

    bodies = asyncio.run(respond(events()))
    assert bodies == [
        b"",
        b'id: 1-5\nevent: message.delta\ndata: {"text":"Hello"}\n\n',
        b": a comment\n\n",
        b"",
    ]


def test_a_timeout_of_the_source_is_a_fault_and_no_reader_that_has_gone() -> None:
    async def events() -> AsyncGenerator[Event | str, None]:
        yield HELLO
        raise TimeoutError("the database took too long")

    with pytest.raises(TimeoutError, match="the database took too long"):
        asyncio.run(respond(events()))


def test_a_reader_that_has_gone_ends_the_source() -> None:
    ended = []

    async def events() -> AsyncGenerator[Event | str, None]:
        try:
            yield HELLO
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def disconnect() -> dict[str, str]:
        return {"type": "http.disconnect"}

    bodies = asyncio.run(respond(events(), receive=disconnect))
    assert ended == [True]
    assert bodies[-1] != b""


def test_a_reader_that_takes_nothing_is_disconnected() -> None:
    async def events() -> AsyncGenerator[Event | str, None]:
        yield HELLO

    sent = []

    async def stuck(message: dict[str, Any]) -> None:
        if message.get("body"):
            sent.append(message["body"])
            await asyncio.Event().wait()

    asyncio.run(respond(events(), send=stuck, reader_seconds=0.01))
    assert len(sent) == 1
