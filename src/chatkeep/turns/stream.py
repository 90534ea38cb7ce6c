"""A turn's events, as a stream that anyone may read from any position while the turn goes on.

The stream belongs to the server: readers may go away and come back. It knows nothing of models.
"""

import asyncio
import contextlib
import copy
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from chatkeep.domain.blocks import Segment, segments
from chatkeep.domain.errors import ChatError
from chatkeep.domain.events import (
    END_EVENTS,
    Event,
    EventType,
    Failure,
    MessageDelta,
    Payload,
    Position,
    ReasoningDelta,
    SessionTitled,
    TurnRestarted,
    TurnStarted,
    end_status,
)
from chatkeep.domain.model import Message, Reply, Role, Turn, Usage
from chatkeep.domain.validation import is_blank
from chatkeep.idle_timer import IdleTimer
from chatkeep.turns.text_buffer import MessageBuffer

MAX_DELTA_CHARS = 16_384
"""Text in one event at most: a reader who is far behind catches up in bounded steps."""


class _Step(NamedTuple):
    """A whole message on the way to the reply, and what was streamed of it."""

    buffer: MessageBuffer
    message: Message


class Piece(NamedTuple):
    """A part of what a turn has written, as one process sends it to another.

    `start` counts the characters before it, and the whole messages as one each; `step` is the
    message that is whole now, or else there is a segment of the one under way.
    """

    start: int
    segment: Segment
    step: Message | None

    @property
    def end(self) -> int:
        """Where the next piece starts."""
        return self.start + (len(self.segment.text) if self.step is None else 1)


class TurnStream:
    """What one turn writes, as it grows: its steps and its reply, a new title, and its end."""

    __slots__ = (
        "__weakref__", "_awaits_title", "_blank", "_comment", "_detached", "_detaches_streams",
        "_end", "_has_text", "_is_lost", "_message", "_steps", "_stop_reason", "_time_limit",
        "_title", "_waiters", "counted", "ended_at", "tenant", "turn",
    )  # fmt: skip

    def __init__(self, turn: Turn, tenant: str) -> None:
        """Begin the stream of a turn that `tenant` has submitted."""
        self.turn = turn
        self.tenant = tenant
        self._comment = ""
        self._stop_reason: ChatError | None = None
        self._is_lost = False
        self._steps: list[_Step] = []
        self._message = MessageBuffer()
        self._has_text = False
        self._blank: list[str] = []
        self._title: str | None = None
        self._awaits_title = False
        self._end: Reply | Failure | None = None
        self.ended_at: int | None = None
        self.counted: Usage | None = None
        self._detached: ChatError | None = None
        self._detaches_streams = False
        self._time_limit: asyncio.Timeout | None = None
        self._waiters: set[asyncio.Future[bool]] = set()

    @property
    def text(self) -> str:
        """The reply so far; empty while it consists of invisible characters only."""
        return self._message.text

    @property
    def is_plain(self) -> bool:
        """Whether the reply so far is nothing but one text, without reasoning."""
        return self._message.is_plain

    @property
    def segments(self) -> list[Segment]:
        """The reply so far, with its reasoning, piece by piece."""
        return self._message.segments()

    @property
    def steps(self) -> tuple[Message, ...]:
        """The whole messages before the reply."""
        return tuple([step.message for step in self._steps])

    @property
    def attempt(self) -> int:
        """Which run of the turn the text is of, from 1; also for a turn that is still queued."""
        return max(1, self.turn.attempt)

    @property
    def ended(self) -> Reply | Failure | None:
        """What the turn ended with; `None` while it has not."""
        return self._end

    @property
    def has_ended(self) -> bool:
        """Whether the turn's end is stored."""
        return self._end is not None

    @property
    def has_failed(self) -> bool:
        """Whether the turn has ended without a whole reply."""
        return isinstance(self._end, Failure)

    @property
    def is_closed(self) -> bool:
        """Whether no event will follow: the turn has ended, and no title is awaited."""
        return self._end is not None and not self._awaits_title

    @property
    def stop_reason(self) -> ChatError | None:
        """Why the run was stopped from outside; `None` if it was not."""
        return self._stop_reason

    @property
    def reached(self) -> tuple[int, int]:
        """The attempt, and how much of it is there: see `Piece.start`."""
        return self.attempt, sum(step.buffer.length + 1 for step in self._steps) + (
            self._message.length
        )

    @property
    def is_read(self) -> bool:
        """Whether somebody waits for what comes next."""
        return bool(self._waiters)

    @property
    def is_lost(self) -> bool:
        """Whether the run was stopped because another process runs the turn, or nobody."""
        return self._is_lost

    def set_running(self, turn: Turn) -> None:
        """Replace the turn by the same turn with another attempt: the text of the last is void."""
        if max(1, turn.attempt) != self.attempt:
            self._steps.clear()
            self._begin_message()
        self._is_lost = False
        self.turn = turn
        self._wake()

    def pieces_since(self, start: int) -> Iterator[Piece]:
        """What was written from a position on that a `Piece` has as its `start`."""
        begin = 0
        for buffer, step in [*self._steps, (self._message, None)]:
            while start - begin < buffer.length:
                segment = buffer.since(start - begin, buffer.length)
                yield Piece(start, segment, None)
                start += len(segment.text)
            begin += buffer.length + 1
            if step is not None and start < begin:
                yield Piece(start, Segment(False, ""), step)
                start = begin

    def add_piece(self, piece: Piece) -> None:
        """Add what follows of a piece that another process has written, if it fits."""
        _, reached = self.reached
        if not piece.start <= reached < piece.end:
            return
        if piece.step is not None:
            self.complete_step(piece.step)
            return
        is_reasoning, text = piece.segment
        self._add(text[reached - piece.start :], is_reasoning=is_reasoning)

    def add_rest(self, steps: Sequence[Message], segments: Iterable[Segment]) -> None:
        """Add what the stored messages of the turn have beyond what is there already.

        Args:
            steps: The whole messages before the reply.
            segments: The reply.

        """
        for step in steps[len(self._steps) :]:
            self._fill(message_segments(step))
            self.complete_step(step)
        self._fill(segments)

    def _fill(self, segments: Iterable[Segment]) -> None:
        skip = self._message.length
        for is_reasoning, text in segments:
            if len(text) > skip:
                self._add(text[skip:], is_reasoning=is_reasoning)
            skip = max(0, skip - len(text))

    def append(self, text: str) -> None:
        """Add a piece of the message under way, as the model has just sent it."""
        if not self._has_text:
            # Held back: a blank reply is not stored, so nobody may read it.
            self._blank.append(text)
            if is_blank(text):
                return
            text = "".join(self._blank)
            self._blank.clear()
            self._has_text = True
        self._message.append(text)
        self._wake()

    def append_reasoning(self, text: str, is_new: bool = False) -> None:
        """Add a piece of the model's reasoning, as it has just sent it.

        Args:
            text: The piece.
            is_new: Whether it begins another reasoning than the pieces before.

        """
        self._message.append(text, is_reasoning=True, is_new=is_new)
        self._wake()

    def complete_step(self, step: Message) -> None:
        """End the message under way, which is a step: what comes now belongs to the next one."""
        self._steps.append(_Step(self._message, step))
        self._begin_message()
        self._wake()

    def _add(self, text: str, *, is_reasoning: bool) -> None:
        if is_reasoning:
            self.append_reasoning(text)
        else:
            self.append(text)

    def _begin_message(self) -> None:
        self._message = MessageBuffer()
        self._has_text = False
        self._blank.clear()

    def await_title(self) -> None:
        """Keep the stream open after the turn's end until `settle_title` is called."""
        self._awaits_title = True

    def settle_title(self, title: str | None) -> None:
        """Announce the session's new title, or with `None` stop waiting for one."""
        if not self.is_closed:
            self._title = title
        self._awaits_title = False
        self._wake()

    def end(
        self, result: Reply | Failure, *, at: int | None = None, counted: Usage | None = None
    ) -> None:
        """Announce the turn's end, which must be stored by now.

        Args:
            result: What it ended with.
            at: When, in microseconds since 1970; `None` if that is not known.
            counted: The tokens of its calls as they are counted, estimates included.

        """
        self._end, self.ended_at, self.counted = result, at, counted
        self._wake()

    def detach(self, error: ChatError, *, streams: bool) -> None:
        """Stop waiting for this turn in this process. The stored turn is unchanged.

        Args:
            error: What `result` raises from now on.
            streams: True to end open event streams too, without a terminal event, so that their
                clients reconnect.

        """
        self._detached = error
        self._detaches_streams = streams
        self._wake()

    def comment(self, text: str) -> None:
        """Send all readers a comment, which is no event."""
        self._comment = text
        self._wake()

    def stop(self, reason: ChatError) -> None:
        """Stop the run. The first reason counts; the turn ends once the runner has stored it."""
        self._stop_reason = self._stop_reason or reason
        self._stop_run()

    def lose(self) -> None:
        """Stop the run, because the turn is not this process's any more."""
        self._is_lost = True
        self._stop_run()

    def _stop_run(self) -> None:
        if self._time_limit is not None:
            with contextlib.suppress(RuntimeError):  # the run has just ended
                self._time_limit.reschedule(asyncio.get_running_loop().time())

    def time_limit(self, seconds: float) -> asyncio.Timeout:
        """A context for the run, which raises `TimeoutError` after `seconds` or on `stop`."""
        self._time_limit = asyncio.timeout(0 if self._stop_reason or self._is_lost else seconds)
        return self._time_limit

    async def result(self, *, title: bool) -> Reply:
        """Wait for the reply.

        Args:
            title: True to wait for the session's new title too.

        Raises:
            ChatError: What the turn ended with, or what it was detached with.

        """
        while not (self.is_closed if title else self.has_ended) and self._detached is None:
            await self._change()
        if isinstance(self._end, Reply):
            return replace(self._end, title=self._title) if self._title else self._end
        error = self._end.error if isinstance(self._end, Failure) else self._detached
        if error is None:
            raise AssertionError("neither ended nor detached")
        # A copy: many readers may raise it at the same time, each with its own traceback.
        raise copy.copy(error)

    def is_past_end(self, position: Position) -> bool:
        """Whether a reader at this position has read the last event."""
        return position.is_end and position.attempt == self.attempt

    async def wait_closed(self, seconds: float) -> None:
        """Wait at most `seconds` until no event will follow."""
        await self._wait(lambda: self.is_closed, seconds)

    async def wait_ended(self, seconds: float) -> None:
        """Wait at most `seconds` until the turn's end is stored, or the stream is detached."""
        await self._wait(lambda: self.has_ended or self._detached is not None, seconds)

    async def read(
        self, after: Position | None, *, idle_seconds: float, waits_for_title: bool = True
    ) -> AsyncGenerator[Event | str, None]:
        """Yield the events after a position, as they come, up to the last one.

        A position of another attempt, or beyond the text, gets `turn.restarted` first: what its
        reader has read is void.

        Args:
            after: Position to read on from; `None` for the first event.
            idle_seconds: After so many seconds without an event a comment is yielded, a `str`
                that may be empty, to keep the connection alive.
            waits_for_title: Whether the last event waits for the session's new title.

        """
        position, comment = after, ""
        waiter = self._waiter()
        idle = IdleTimer(idle_seconds, lambda: _resolve(waiter, False))
        try:
            while True:
                step = self._next(position, waits_for_title=waits_for_title)
                if step is not None:
                    event, position = step
                    yield event
                    if position.is_end:
                        return
                elif self._detaches_streams or (position is not None and position.is_end):
                    return
                elif self._comment != comment:
                    comment = self._comment
                    yield comment
                else:
                    waiter = self._waiter()
                    if await waiter:
                        continue
                    yield ""
                idle.reset()
        finally:
            idle.stop()
            self._waiters.discard(waiter)

    def _next(
        self, position: Position | None, *, waits_for_title: bool
    ) -> tuple[Event, Position] | None:
        """The event that follows a position, and its own; `None` while there is none."""
        attempt, buffer, step = self.attempt, self._message, None
        if position is None or position.attempt != attempt or position.steps > len(self._steps):
            return self._first(position)
        if position.steps < len(self._steps):
            buffer, step = self._steps[position.steps]
        if position.offset > buffer.length:
            return self._first(position)
        if self._title is not None and not position.is_titled:
            titled = SessionTitled(self.turn.session_id, self._title)
            return _event(position._replace(is_titled=True), EventType.SESSION_TITLED, titled)
        if position.offset < buffer.length:
            return _delta(position, buffer.since(position.offset, MAX_DELTA_CHARS))
        if step is not None:
            following = position._replace(steps=position.steps + 1, offset=0)
            return _event(following, EventType.MESSAGE_COMPLETED, step)
        if self._end is None or position.is_end or (waits_for_title and self._awaits_title):
            return None
        end = self._end
        if isinstance(end, Reply) and self._title:
            end = replace(end, title=self._title)
        error = end.error if isinstance(end, Failure) else None
        return _event(position._replace(is_end=True), END_EVENTS[end_status(error)], end)

    def _first(self, position: Position | None) -> tuple[Event, Position]:
        turn = self.turn
        start = Position(self.attempt, is_titled=position is not None and position.is_titled)
        if position is not None:
            restarted = TurnRestarted(turn.turn_id, self.attempt)
            return _event(start, EventType.TURN_RESTARTED, restarted)
        return _event(start, EventType.TURN_STARTED, started_event(turn))

    async def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        if condition():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await self._change()

    async def _change(self) -> None:
        """Wait until something changes."""
        waiter = self._waiter()
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _waiter(self) -> asyncio.Future[bool]:
        """A future that becomes `True` when something changes."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        return waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            _resolve(waiter, True)


def started_event(turn: Turn) -> TurnStarted:
    """The payload of `turn.started`."""
    return TurnStarted(
        turn_id=turn.turn_id,
        session_id=turn.session_id,
        user_message_id=turn.user_message_id,
        message_id=turn.message_id,
        model=turn.model,
    )


def stored_stream(
    turn: Turn,
    tenant: str,
    *,
    steps: Sequence[Message],
    reply: Iterable[Segment],
    end: Reply | Failure,
    ended_at: int | None,
    counted: Usage | None,
    title: str | None,
) -> TurnStream:
    """The stream of a turn that has ended, from its rows.

    Args:
        turn: As it is stored.
        tenant: Whose turn it is.
        steps: The stored messages on the way to the reply.
        reply: The stored reply, which may be incomplete or empty.
        end: How the turn ended.
        ended_at: When, in microseconds since 1970.
        counted: See `TurnStream.end`.
        title: The session's title if the model made it for this turn.

    """
    stream = TurnStream(turn, tenant)
    stream.add_rest(steps, reply)
    stream.settle_title(title)
    stream.end(end, at=ended_at, counted=counted)
    return stream


def message_segments(message: Message) -> Iterable[Segment]:
    """What was streamed of a step: nothing of a result, which no model has written."""
    return segments(message.content, message.blocks) if message.role is Role.ASSISTANT else ()


def _delta(position: Position, segment: Segment) -> tuple[Event, Position]:
    attempt, offset, is_titled, _, steps = position
    following = Position(attempt, offset + len(segment.text), is_titled, False, steps)
    if segment.is_reasoning:
        return _event(following, EventType.REASONING_DELTA, ReasoningDelta(segment.text))
    return _event(following, EventType.MESSAGE_DELTA, MessageDelta(segment.text))


def _event(position: Position, event: EventType, payload: Payload) -> tuple[Event, Position]:
    return Event(str(position), event, payload), position


def _resolve(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)
