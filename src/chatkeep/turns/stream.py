"""What is happening right now: each turn in hand is a log that is read from a position.

A turn here belongs to the server: who reads it may go away. What a model is, is not known.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from chatkeep.domain.errors import ChatError, error_from_code
from chatkeep.domain.events import Event, Failure, Position
from chatkeep.domain.model import Reply, Turn
from chatkeep.domain.validation import is_blank
from chatkeep.idle_timer import IdleTimer
from chatkeep.turns.text_buffer import TextBuffer

MAX_DELTA_CHARS = 16_384
"""Text in one event at most: a reader who is far behind catches up in bounded steps."""


class TurnStream:
    """A turn's text as it grows, its session's title, its end. Anyone may read, from anywhere."""

    __slots__ = (
        "__weakref__", "_abandoned", "_awaits_title", "_blank", "_end", "_is_left", "_limit",
        "_text", "_title", "_waiters", "remark", "stopped", "tenant", "turn",
    )  # fmt: skip

    def __init__(self, turn: Turn, tenant: str) -> None:
        """Take the turn as it was accepted, and whose it is."""
        self.turn = turn
        self.tenant = tenant
        self.remark = ""
        self.stopped: ChatError | None = None
        self._text = TextBuffer()
        self._blank: list[str] = []
        self._title: str | None = None
        self._awaits_title = False
        self._end: Reply | Failure | None = None
        self._abandoned: ChatError | None = None
        self._is_left = False
        self._limit: asyncio.Timeout | None = None
        self._waiters: set[asyncio.Future[bool]] = set()

    @property
    def text(self) -> str:
        """The reply so far. White space and other invisible characters alone are no reply."""
        return str(self._text)

    @property
    def attempt(self) -> int:
        """Which attempt the text is of; a turn that waits has its first one before it."""
        return max(1, self.turn.attempt)

    @property
    def has_ended(self) -> bool:
        """Whether the turn's end is stored."""
        return self._end is not None

    @property
    def is_closed(self) -> bool:
        """Whether nothing will be added: the turn has ended, and its title is not waited for."""
        return self._end is not None and not self._awaits_title

    def begin(self, turn: Turn) -> None:
        """Take the turn as it runs from now on."""
        self.turn = turn

    def append(self, piece: str) -> None:
        """Add to the reply what the model has just written."""
        if not self._text.length:
            # Held back: a reply of which nothing is seen is not stored, so nobody may read it.
            self._blank.append(piece)
            if is_blank(piece):
                return
            piece = "".join(self._blank)
            self._blank.clear()
        self._text.append(piece)
        self._wake()

    def await_title(self) -> None:
        """Keep the log open after the turn's end until `settle_title`."""
        self._awaits_title = True

    def settle_title(self, title: str | None) -> None:
        """Tell of the session's new title; `None`: there is none, and no more waiting for it."""
        if not self.is_closed:
            self._title = title
        self._awaits_title = False
        self._wake()

    def end(self, end: Reply | Failure) -> None:
        """Tell how the turn ended, which is on disk by now."""
        self._end = end
        self._wake()

    def abandon(self, error: ChatError, *, streams: bool) -> None:
        """Let who waits for the result go with an error, and `streams` too, though without an end.

        The turn has none yet that this process could tell; a stream can be read again later.
        """
        self._abandoned = error
        self._is_left = streams
        self._wake()

    def note(self, remark: str) -> None:
        """Say something to whoever reads the stream that is no event."""
        self.remark = remark
        self._wake()

    def stop(self, reason: ChatError) -> None:
        """End the time of the turn now."""
        self.stopped = self.stopped or reason
        if self._limit is not None:
            with contextlib.suppress(RuntimeError):  # its time is over already
                self._limit.reschedule(asyncio.get_running_loop().time())

    def limited(self, seconds: float) -> asyncio.Timeout:
        """Give what runs inside so many seconds. Raises `TimeoutError`, also when stopped."""
        self._limit = asyncio.timeout(0 if self.stopped else seconds)
        return self._limit

    async def result(self, *, title: bool) -> Reply:
        """Wait for the reply, or raise the error that it ended with; with its `title` if wanted."""
        while not (self.is_closed if title else self.has_ended) and self._abandoned is None:
            await self._news()
        if isinstance(self._end, Reply):
            return replace(self._end, title=self._title) if self._title else self._end
        error = self._end.error if isinstance(self._end, Failure) else self._abandoned
        if error is None:
            raise AssertionError("neither ended nor abandoned")
        # A new one: many readers may raise it at the same time.
        raise error_from_code(
            error.code, error.detail, retry_after=error.retry_after, **error.extra
        )

    def has_been_read(self, at: Position) -> bool:
        """Whether this position is after the last event."""
        return at.is_end and at.attempt == self.attempt

    async def closed(self, seconds: float) -> None:
        """Wait so long until nothing will be added."""
        await self._until(lambda: self.is_closed, seconds)

    async def ended(self, seconds: float) -> None:
        """Wait so long until the turn's end is stored."""
        await self._until(lambda: self.has_ended or self._abandoned is not None, seconds)

    async def read(
        self, after: Position | None, *, idle_seconds: float
    ) -> AsyncGenerator[Event | str, None]:
        """The events after a position, as they come, to the last; a remark when there are none.

        Without a position all events are told. One that this log cannot know (of an attempt
        that was given up) is told that its text is void.
        """
        at, told = after, ""
        waiter = self._waiter()
        silence = IdleTimer(idle_seconds, lambda: _answer(waiter, False))
        try:
            while True:
                step = self._next(at)
                if step is not None:
                    event, at = step
                    yield event
                    if at.is_end:
                        return
                elif self._is_left or (at is not None and at.is_end):
                    return
                elif self.remark != told:
                    told = self.remark
                    yield told
                else:
                    waiter = self._waiter()
                    if await waiter:
                        continue
                    yield ""
                silence.heard()
        finally:
            silence.stop()
            self._waiters.discard(waiter)

    def _opening(self, at: Position | None) -> tuple[Event, Position]:
        start = Position(self.attempt, is_titled=at is not None and at.is_titled)
        turn = self.turn
        if at is not None:
            again = {"turn_id": turn.turn_id, "attempt": self.attempt}
            return Event(str(start), "turn.restarted", again), start
        return Event(str(start), "turn.started", turn.start()), start

    def _next(self, at: Position | None) -> tuple[Event, Position] | None:
        """The event that follows a position, and the one after it; `None` while there is none."""
        length, attempt = self._text.length, self.attempt
        if at is None or at.attempt != attempt or at.offset > length:
            return self._opening(at)
        if self._title is not None and not at.is_titled:
            there = replace(at, is_titled=True)
            data = {"session_id": self.turn.session_id, "title": self._title}
            return Event(str(there), "session.titled", data), there
        if at.offset < length:
            text = self._text.since(at.offset, MAX_DELTA_CHARS)
            there = Position(attempt, at.offset + len(text), at.is_titled)
            return Event(str(there), "message.delta", {"text": text}), there
        if not self.is_closed or self._end is None or at.is_end:
            return None
        end = self._end
        if isinstance(end, Reply) and self._title:
            end = replace(end, title=self._title)
        there = replace(at, is_end=True)
        return Event(str(there), self._last_name(), end), there

    def _last_name(self) -> str:
        if isinstance(self._end, Failure):
            kinds = {"turn-cancelled": "cancelled", "turn-interrupted": "interrupted"}
            return f"turn.{kinds.get(self._end.error.code, 'failed')}"
        return "turn.completed"

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        if is_so():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not is_so():
                    await self._news()

    async def _news(self) -> None:
        """Wait until something changes."""
        waiter = self._waiter()
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _waiter(self) -> asyncio.Future[bool]:
        """What is answered with `True` when something changes."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        return waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            _answer(waiter, True)


def _answer(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)


def finished(
    turn: Turn, tenant: str, *, text: str, end: Reply | Failure, title: str | None
) -> TurnStream:
    """The log of a turn that has ended, made of what is kept of it."""
    log = TurnStream(turn, tenant)
    if text:
        log.append(text)
    log.settle_title(title)
    log.end(end)
    return log
