"""What happens to a tenant's sessions, as it happens: the newest events, in memory.

A reader reads from a position, as in a turn's stream; but old events are dropped. A reader whose
position is not there any more, or is of another run of the server, gets `events.missed`, and reads
the list of sessions again.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator

from chatkeep.domain.events import Event, EventsMissed, EventType, Payload

Numbered = tuple[int, Event]


class Notifications:
    """The newest events of each tenant, and the readers that wait for more."""

    def __init__(self, *, capacity: int) -> None:
        """Keep at most `capacity` events of each tenant."""
        self._capacity = capacity
        self._run_id = uuid.uuid4().hex[:12]
        self._count = 0
        self._events: dict[str, deque[Numbered]] = {}
        self._waiters: dict[str, set[asyncio.Future[bool]]] = {}
        self._is_closed = False

    def publish(self, tenant: str, event: EventType, payload: Payload) -> None:
        """Add an event. Readers are not waited for: one that is too slow misses it."""
        self._count += 1
        events = self._events.setdefault(tenant, deque(maxlen=self._capacity))
        events.append((self._count, Event(self._event_id(self._count), event, payload)))
        for waiter in self._waiters.pop(tenant, ()):
            _resolve(waiter, True)

    def close(self) -> None:
        """End every reader's stream once it has read what there is."""
        self._is_closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                _resolve(waiter, True)

    async def read(
        self, tenant: str, after: str | None, *, idle_seconds: float
    ) -> AsyncGenerator[Event | str, None]:
        """Yield a tenant's events as they come.

        Args:
            tenant: Whose events.
            after: The id of the last event that was read; `None` for events from now on.
            idle_seconds: After so many seconds without an event an empty `str` is yielded.

        """
        number = self._count if after is None else self._number(after)
        if after is None:
            yield ""
        while True:
            events = self._events.get(tenant, deque())
            if number is None or self._has_dropped(events, number):
                number = self._count
                missed = EventsMissed("Some events are gone. Read the list of sessions again.")
                yield Event(self._event_id(number), EventType.EVENTS_MISSED, missed)
            elif (following := _following(events, number)) is not None:
                number = following[0]
                yield following[1]
            elif self._is_closed:
                return
            elif not await self._wait(tenant, idle_seconds):
                yield ""

    def _event_id(self, number: int) -> str:
        return f"{self._run_id}-{number}"

    def _number(self, event_id: str) -> int | None:
        """The number in an event's id; `None` if it is not one of this run of the server."""
        run_id, _, number = event_id.partition("-")
        is_ours = run_id == self._run_id and number.isdecimal() and len(number) < 16
        return int(number) if is_ours and int(number) <= self._count else None

    def _has_dropped(self, events: deque[Numbered], number: int) -> bool:
        """Whether an event after `number` was dropped."""
        return (
            len(events) == self._capacity and number < events[0][0] - 1 and number < events[-1][0]
        )

    async def _wait(self, tenant: str, seconds: float) -> bool:
        """Wait for news; false after `seconds` without."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.setdefault(tenant, set()).add(waiter)
        timer = loop.call_later(seconds, _resolve, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiters.get(tenant, set()).discard(waiter)


def _following(events: deque[Numbered], number: int) -> Numbered | None:
    """The oldest event after a number; the newest are looked at first."""
    following = None
    for event in reversed(events):
        if event[0] <= number:
            break
        following = event
    return following


def _resolve(waiter: asyncio.Future[bool], value: bool) -> None:
    if not waiter.done():
        waiter.set_result(value)
