"""What happens to a tenant's sessions, told to whoever reads along: a short log in memory.

It is read from a position, like a turn's; but it forgets. Who was away for too long, or since
before the server's start, is told so, and reads the list of sessions again.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from chatkeep.domain.events import Event

MISSED = "events.missed"


class Notifications:
    """The newest events of each tenant, and who waits for more."""

    def __init__(self, *, capacity: int) -> None:
        """Keep so many events of each tenant."""
        self._capacity = capacity
        self._start = uuid.uuid4().hex[:12]
        self._count = 0
        self._events: dict[str, deque[tuple[int, Event]]] = {}
        self._waiters: dict[str, set[asyncio.Future[bool]]] = {}
        self._closed = False

    def tell(self, tenant: str, name: str, data: Any) -> None:
        """Add an event. Who reads too slowly misses it; nobody is waited for."""
        self._count += 1
        kept = self._events.setdefault(tenant, deque(maxlen=self._capacity))
        kept.append((self._count, Event(self._id(self._count), name, data)))
        for waiter in self._waiters.pop(tenant, ()):
            _answer(waiter, True)

    def close(self) -> None:
        """Let every reader go."""
        self._closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                _answer(waiter, True)

    async def read(
        self, tenant: str, after: str | None, *, idle_seconds: float
    ) -> AsyncGenerator[Event | str, None]:
        """The events after the one with this id, or from now on; `""` when there are none."""
        at = self._count if after is None else self._place(after)
        if after is None:
            yield ""
        while True:
            kept = self._events.get(tenant, deque())
            if at is None or self._has_forgotten(kept, at):
                at = self._count
                words = "Some events are gone. Read the list of sessions again."
                yield Event(self._id(at), MISSED, {"detail": words})
            elif (event := _next(kept, at)) is not None:
                at = event[0]
                yield event[1]
            elif self._closed:
                return
            elif not await self._news(tenant, idle_seconds):
                yield ""

    def _id(self, number: int) -> str:
        return f"{self._start}-{number}"

    def _place(self, after: str) -> int | None:
        """The number in an event's id; `None` if it is not one of this server's life."""
        start, _, number = after.partition("-")
        known = start == self._start and number.isdecimal() and len(number) < 16
        return int(number) if known and int(number) <= self._count else None

    def _has_forgotten(self, kept: deque[tuple[int, Event]], at: int) -> bool:
        return len(kept) == self._capacity and at < kept[0][0] - 1 and at < kept[-1][0]

    async def _news(self, tenant: str, seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.setdefault(tenant, set()).add(waiter)
        alarm = loop.call_later(seconds, _answer, waiter, False)
        try:
            return await waiter
        finally:
            alarm.cancel()
            self._waiters.get(tenant, set()).discard(waiter)


def _next(kept: deque[tuple[int, Event]], at: int) -> tuple[int, Event] | None:
    """The oldest event after a number; they are looked through from the newest."""
    found = None
    for event in reversed(kept):
        if event[0] <= at:
            break
        found = event
    return found


def _answer(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)
