"""What happens to a tenant's sessions, as it happens: the newest events, in memory.

A reader reads from a position, as in a turn's stream; but old events are dropped. A reader whose
position is not there any more, or is of another run of the server, gets `events.missed`, and reads
the list of sessions again.
"""

import asyncio
import uuid
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator

from chatkeep.domain.events import Event, EventsMissed, EventType, Payload

Numbered = tuple[int, Event]

MAX_IDLE_TENANTS = 1_000
"""Tenants whose events are kept though nobody reads them: a server may have many users."""


class _Feed:
    """The newest events of a tenant, and the readers that wait for more.

    Events are counted from `floor` on; those with this number or below may have been dropped.
    """

    def __init__(self, capacity: int, floor: int) -> None:
        self.events: deque[Numbered] = deque(maxlen=capacity)
        self.floor = self.count = floor
        self.waiters: set[asyncio.Future[bool]] = set()
        self.readers = 0

    def add(self, event_id: str, event: EventType, payload: Payload) -> None:
        if len(self.events) == self.events.maxlen:
            self.floor = self.events[0][0]
        self.count += 1
        self.events.append((self.count, Event(f"{event_id}-{self.count}", event, payload)))
        waiters, self.waiters = self.waiters, set()
        for waiter in waiters:
            _resolve(waiter, True)

    async def wait(self, seconds: float) -> bool:
        """Wait for news; false after `seconds` without."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self.waiters.add(waiter)
        timer = loop.call_later(seconds, _resolve, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            self.waiters.discard(waiter)


class Notifications:
    """The newest events of each tenant, and the readers that wait for more."""

    def __init__(self, *, capacity: int, idle_tenants: int = MAX_IDLE_TENANTS) -> None:
        """Make room for events.

        Args:
            capacity: Events that are kept of each tenant.
            idle_tenants: Tenants without a reader whose events are kept, those with the latest.

        """
        self._capacity = capacity
        self._idle_tenants = idle_tenants
        self._run_id = uuid.uuid4().hex[:12]
        self._read: dict[str, _Feed] = {}
        self._idle: OrderedDict[str, _Feed] = OrderedDict()
        self._forgotten = 0
        """The highest count of a tenant whose events were forgotten: new ones go on from there."""
        self._is_closed = False

    def publish(self, tenant: str, event: EventType, payload: Payload) -> None:
        """Add an event. Readers are not waited for: one that is too slow misses it."""
        feed = self._read.get(tenant) or self._idle.pop(tenant, None) or self._new_feed()
        feed.add(self._run_id, event, payload)
        if not feed.readers:
            self._leave_idle(tenant, feed)

    def forget(self, tenant: str) -> None:
        """Drop the events of a tenant that is erased, and of its users: they have titles in them.

        Whoever has that name afterwards learns that events are gone.
        """
        for name, feed in (*self._read.items(), *self._idle.items()):
            if name == tenant or name.startswith(f"{tenant}/"):
                feed.events.clear()
                feed.floor = feed.count
                self._forgotten = max(self._forgotten, feed.count)

    def close(self) -> None:
        """End every reader's stream once it has read what there is."""
        self._is_closed = True
        for feed in self._read.values():
            for waiter in feed.waiters:
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
        feed = self._read.get(tenant) or self._idle.pop(tenant, None) or self._new_feed()
        self._read[tenant] = feed
        feed.readers += 1
        try:
            number = feed.count if after is None else self._number(after, feed)
            if after is None:
                yield ""
            while True:
                if number is None or number < feed.floor:
                    number = feed.count
                    missed = EventsMissed("Some events are gone. Read the list of sessions again.")
                    yield Event(self._event_id(number), EventType.EVENTS_MISSED, missed)
                elif (following := _following(feed.events, number)) is not None:
                    number = following[0]
                    yield following[1]
                elif self._is_closed:
                    return
                elif not await feed.wait(idle_seconds):
                    yield ""
        finally:
            feed.readers -= 1
            if not feed.readers:
                del self._read[tenant]
                self._leave_idle(tenant, feed)

    def _new_feed(self) -> _Feed:
        return _Feed(self._capacity, self._forgotten)

    def _leave_idle(self, tenant: str, feed: _Feed) -> None:
        """Keep the events of a tenant that nobody reads, in place of the oldest such tenant's."""
        if not feed.events:
            self._forgotten = max(self._forgotten, feed.count)
            return
        self._idle[tenant] = feed
        self._idle.move_to_end(tenant)
        while len(self._idle) > self._idle_tenants:
            _, oldest = self._idle.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest.count)

    def _event_id(self, number: int) -> str:
        return f"{self._run_id}-{number}"

    def _number(self, event_id: str, feed: _Feed) -> int | None:
        """The number in an event's id; `None` if it is not one of this run of the server."""
        run_id, _, number = event_id.partition("-")
        is_ours = run_id == self._run_id and number.isdecimal() and len(number) < 16
        return int(number) if is_ours and int(number) <= feed.count else None


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
