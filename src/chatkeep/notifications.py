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

MISSED = "Some events are gone. Read the list of sessions again."

MAX_IDLE_TENANTS = 1_000
"""Tenants whose events are kept though nobody reads them: a server may have many users."""


class Feed:
    """The newest events of a tenant, and the readers that wait for more.

    Events are counted from `floor` on; those with this number or below may have been dropped. An
    event's id is `run_id`, which names the count, and its number.
    """

    def __init__(self, capacity: int, run_id: str, floor: int) -> None:
        """Begin a count after so many events."""
        self.run_id = run_id
        self.events: deque[Numbered] = deque(maxlen=capacity)
        self.floor = self.count = floor
        self.waiters: set[asyncio.Future[bool]] = set()
        self.readers = 0

    def add(self, event: EventType, payload: Payload) -> None:
        """Add the next event, and wake the readers."""
        if len(self.events) == self.events.maxlen:
            self.floor = self.events[0][0]
        self.count += 1
        self.events.append((self.count, Event(self.event_id(self.count), event, payload)))
        self.wake()

    def skip(self) -> None:
        """Count an event that is not sent."""
        self.count += 1

    def restart(self, run_id: str, floor: int) -> None:
        """Begin another count: whoever reads the one before has missed events."""
        self.run_id = run_id
        self.events.clear()
        self.floor = self.count = floor
        self.wake()

    def event_id(self, number: int) -> str:
        """The id of the event with this number."""
        return f"{self.run_id}-{number}"

    def number(self, event_id: str) -> int | None:
        """The number in an event's id; `None` if it is not one of this count."""
        run_id, _, number = event_id.partition("-")
        is_ours = run_id == self.run_id and number.isdecimal() and len(number) < 16
        return int(number) if is_ours and int(number) <= self.count else None

    def wake(self) -> None:
        """Let the readers look again."""
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
        self.capacity = capacity
        self._idle_tenants = idle_tenants
        self._run_id = uuid.uuid4().hex[:12]
        self.read_feeds: dict[str, Feed] = {}
        self._idle: OrderedDict[str, Feed] = OrderedDict()
        self._forgotten = 0
        """The highest count of a tenant whose events were forgotten: new ones go on from there."""
        self._is_closed = False

    def start(self) -> None:
        """Begin what runs in the background: nothing, for events in memory."""

    async def miss(self) -> None:
        """Let readers know of another process's death, which events in memory have no part in."""

    def publish(self, tenant: str, event: EventType, payload: Payload) -> None:
        """Add an event. Readers are not waited for: one that is too slow misses it."""
        feed = self._feed(tenant)
        feed.add(event, payload)
        if not feed.readers:
            self.leave_idle(tenant, feed)

    def forget(self, tenant: str) -> None:
        """Drop the events of a tenant that is erased, and of its users: they have titles in them.

        Whoever has that name afterwards learns that events are gone.
        """
        for name, feed in (*self.read_feeds.items(), *self._idle.items()):
            if name == tenant or name.startswith(f"{tenant}/"):
                feed.events.clear()
                feed.floor = feed.count
                self._forgotten = max(self._forgotten, feed.count)

    async def close(self) -> None:
        """End every reader's stream once it has read what there is."""
        self._is_closed = True
        for feed in self.read_feeds.values():
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
        feed = await self.open_feed(tenant)
        self.read_feeds[tenant] = feed
        feed.readers += 1
        try:
            run_id = feed.run_id
            number = feed.count if after is None else feed.number(after)
            if after is None:
                yield ""
            while True:
                if number is None or number < feed.floor or run_id != feed.run_id:
                    run_id, number = feed.run_id, feed.count
                    missed = EventsMissed(MISSED)
                    yield Event(feed.event_id(number), EventType.EVENTS_MISSED, missed)
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
                del self.read_feeds[tenant]
                self.leave_idle(tenant, feed)

    async def open_feed(self, tenant: str) -> Feed:
        """The feed of a tenant that somebody is about to read."""
        return self._feed(tenant)

    def _feed(self, tenant: str) -> Feed:
        return (
            self.read_feeds.get(tenant)
            or self._idle.pop(tenant, None)
            or Feed(self.capacity, self._run_id, self._forgotten)
        )

    def leave_idle(self, tenant: str, feed: Feed) -> None:
        """Keep the events of a tenant that nobody reads, in place of the oldest such tenant's."""
        if not feed.events:
            self._forgotten = max(self._forgotten, feed.count)
            return
        self._idle[tenant] = feed
        self._idle.move_to_end(tenant)
        while len(self._idle) > self._idle_tenants:
            _, oldest = self._idle.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest.count)


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
