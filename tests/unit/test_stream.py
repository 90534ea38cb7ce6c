"""A turn's stream: read from any position, by any number of readers, whatever they have missed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from chatkeep.domain.blocks import Segment
from chatkeep.domain.errors import Draining, ModelFailed, TurnCancelled, TurnInterrupted
from chatkeep.domain.events import (
    Event,
    EventType,
    Failure,
    MessageDelta,
    Position,
    SessionTitled,
)
from chatkeep.domain.model import Completion, Reply, Status, Turn, TurnOptions
from chatkeep.turns.stream import MAX_DELTA_CHARS, TurnStream, stored_stream

TURN = Turn("turn_1", "s", Status.RUNNING, 1, "m", "msg_1", "msg_2", TurnOptions())


def reply(text: str, title: str = "Provisional") -> Reply:
    return Reply.to(TURN, text=text, blocks=None, title=title, completion=Completion())


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def events(stream: TurnStream, after: str | None = None) -> list[Event]:
    position = Position.parse(after) if after else None
    read = stream.read(position, idle_seconds=60)
    return [event async for event in read if isinstance(event, Event)]


async def limited(stream: TurnStream) -> None:
    async with stream.time_limit(60):
        await asyncio.sleep(60)


def names(of: list[Event]) -> list[str]:
    return [event.type.value for event in of]


def text_of(of: list[Event]) -> str:
    return "".join(event.payload.text for event in of if isinstance(event.payload, MessageDelta))


def test_whoever_reads_from_any_event_on_gets_the_rest_and_nothing_twice() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        for piece in ("Grüße", " 🎈", "!"):
            stream.append(piece)
        stream.end(reply("Grüße 🎈!"))
        everything = await events(stream)
        assert names(everything) == ["turn.started", "message.delta", "turn.completed"]
        for number, event in enumerate(everything[:-1]):
            assert await events(stream, event.id) == everything[number + 1 :]
        assert await events(stream, "1-3") != everything
        assert text_of(await events(stream, "1-3")) == "ße 🎈!"

    run(work())


def test_a_reader_far_behind_catches_up_in_bounded_steps() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        text = "x" * (2 * MAX_DELTA_CHARS + 1)
        stream.append(text)
        stream.end(reply(text))
        pieces = [
            e.payload.text for e in await events(stream) if isinstance(e.payload, MessageDelta)
        ]
        assert [len(piece) for piece in pieces] == [MAX_DELTA_CHARS, MAX_DELTA_CHARS, 1]

    run(work())


@pytest.mark.parametrize("after", ["2-0", "1-99"])
def test_a_position_that_the_stream_cannot_know_is_void(after: str) -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        stream.append("Hello")
        stream.end(reply("Hello"))
        read = await events(stream, after)
        assert names(read) == ["turn.restarted", "message.delta", "turn.completed"]
        assert text_of(read) == "Hello"

    run(work())


def test_a_reply_that_is_blank_so_far_is_held_back_and_complete_afterwards() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        for piece in (" ", "\n", "\u200b"):
            stream.append(piece)
        assert stream.text == ""
        stream.append("x")
        stream.end(reply(" \n\u200bx"))
        assert text_of(await events(stream)) == " \n\u200bx"

    run(work())


def test_a_title_that_is_awaited_comes_before_the_end_even_after_it() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        stream.await_title()
        stream.append("Hello")
        stream.end(reply("Hello"))
        assert stream.has_ended
        assert not stream.is_closed
        assert (await stream.result(title=False)).title == "Provisional"
        waiting = asyncio.ensure_future(stream.result(title=True))
        reading = asyncio.ensure_future(events(stream))
        await asyncio.sleep(0)
        assert not waiting.done()
        stream.settle_title("Made by a model")
        assert (await waiting).title == "Made by a model"
        read = await reading
        assert names(read)[-2:] == ["session.titled", "turn.completed"]
        assert read[-2].payload == SessionTitled("s", "Made by a model")

    run(work())


def test_a_reader_who_wants_no_title_gets_the_end_at_once() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        stream.await_title()
        stream.append("Hello")
        stream.end(reply("Hello"))
        read = stream.read(None, idle_seconds=60, waits_for_title=False)
        last = [event async for event in read if isinstance(event, Event)][-1]
        assert last.type is EventType.TURN_COMPLETED

    run(work())


def test_a_title_that_never_comes_does_not_keep_the_end() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        stream.await_title()
        stream.end(reply(""))
        stream.settle_title(None)
        assert names(await events(stream)) == ["turn.started", "turn.completed"]
        stream.settle_title("Too late")
        assert (await stream.result(title=True)).title == "Provisional"

    run(work())


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ModelFailed(), "turn.failed"),
        (TurnCancelled(), "turn.cancelled"),
        (TurnInterrupted(), "turn.interrupted"),
    ],
)
def test_each_way_to_end_has_its_event_and_its_error(error: Any, name: str) -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        stream.append("Half a sen")
        stream.end(Failure(error, "Half a sen"))
        assert names(await events(stream))[-1] == name
        raised = []
        for _ in range(2):
            with pytest.raises(type(error)) as failure:
                await stream.result(title=True)
            raised.append(failure.value)
        # Each reader gets an exception of its own: they are raised at the same time.
        assert raised[0] is not raised[1]
        assert raised[0].detail == raised[1].detail == error.detail

    run(work())


def test_a_detached_stream_ends_without_an_end_so_that_its_readers_come_back() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        stream.append("Hel")
        reading = asyncio.ensure_future(events(stream))
        waiting = asyncio.ensure_future(stream.result(title=False))
        await asyncio.sleep(0)
        stream.detach(Draining("Later."), streams=True)
        assert names(await reading) == ["turn.started", "message.delta"]
        with pytest.raises(Draining, match="Later"):
            await waiting

    run(work())


def test_clients_may_be_detached_while_streams_go_on() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        reading = asyncio.ensure_future(events(stream))
        await asyncio.sleep(0)
        stream.detach(Draining("Later."), streams=False)
        with pytest.raises(Draining):
            await stream.result(title=False)
        stream.append("Hello")
        stream.end(reply("Hello"))
        assert names(await reading) == ["turn.started", "message.delta", "turn.completed"]

    run(work())


def test_a_silent_stream_sends_comments_and_what_the_server_has_to_say() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        read = stream.read(None, idle_seconds=0.001)
        assert isinstance(await anext(read), Event)
        assert await anext(read) == ""
        stream.comment("The server is stopping.")
        while (comment := await anext(read)) == "":
            pass
        assert comment == "The server is stopping."
        assert await anext(read) == ""
        await read.aclose()

    run(work())


def test_a_run_is_stopped_for_the_first_reason_also_before_it_has_begun() -> None:
    async def work() -> None:
        stream = TurnStream(TURN, "default")
        first, second = TurnCancelled("one"), TurnCancelled("two")
        stream.stop(first)
        stream.stop(second)
        assert stream.stop_reason is first
        with pytest.raises(TimeoutError):
            await limited(stream)

        running = TurnStream(TURN, "default")
        run_ = asyncio.ensure_future(limited(running))
        await asyncio.sleep(0)
        running.stop(first)
        with pytest.raises(TimeoutError):
            await run_
        running.stop(second)  # after the run: without effect

    run(work())


def test_a_stored_turn_is_read_by_the_same_rule() -> None:
    async def work() -> None:
        stream = stored_stream(
            TURN,
            "default",
            steps=(),
            reply=[Segment(False, "Hello")],
            end=reply("Hello"),
            ended_at=None,
            counted=None,
            title="Titled",
        )
        read = await events(stream)
        assert names(read) == [
            "turn.started", "session.titled", "message.delta", "turn.completed",
        ]  # fmt: skip
        assert stream.is_past_end(Position.parse(read[-1].id))
        assert not stream.is_past_end(Position.parse(read[-2].id))

    run(work())
