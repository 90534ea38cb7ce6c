"""Notifications of all processes at one PostgreSQL, in one order with the same ids in each."""

import asyncio
import functools
import itertools
import uuid
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError
from chatkeep.domain.events import EventType, Payload
from chatkeep.notifications import Feed, Notifications
from chatkeep.store import events, exchange
from chatkeep.store.database import Store
from chatkeep.store.events import Count, NewEvent, StoredEvent
from chatkeep.store.signals import Channel

logger = telemetry.logger("events")

TASKS = "events"

POLL_SECONDS = 1
"""How long a signal is waited for before the database is read without one."""

PACE_SECONDS = 0.01
"""Pause between two writes or reads at least: what comes meanwhile is handled together."""

RETRY_SECONDS = 1
"""Pause after the database has failed."""

BATCH = 200
"""Events that one transaction writes."""

FLUSH_SECONDS = 5
"""How long a server that stops waits until its events are written."""

MAX_WAITING = 10_000
"""Events that may wait to be written, while the database is away; then the oldest are dropped."""


_NAMES = {event.value: event for event in EventType}


class _Waiting(NamedTuple):
    tenant: str
    event: NewEvent
    erases_session: bool


class SharedNotifications(Notifications):
    """Writes this process's events to the database, and reads those of all from there."""

    def __init__(self, store: Store, background: BackgroundTasks, *, capacity: int) -> None:
        """Take where events are stored, and how many of each tenant stay."""
        super().__init__(capacity=capacity, idle_tenants=0)
        self._store = store
        self._background = background
        self._waiting: deque[_Waiting] = deque()
        self._missed: set[str] = set()
        self._forgotten_tenants: set[str] = set()
        self._is_closing = False
        self._has_waiting = asyncio.Event()
        self._subscription = store.signals.subscribe(Channel.EVENTS)

    def start(self) -> None:
        """Write and read from now on."""
        self._background.spawn(TASKS, self._write_all())
        self._background.spawn(TASKS, self._read_all())

    def publish(self, tenant: str, event: EventType, payload: Payload) -> None:
        """Add an event, which is written in a moment. See `Notifications.publish`."""
        if len(self._waiting) >= MAX_WAITING:
            self._missed.add(self._waiting.popleft().tenant)
        session_id = getattr(payload, "session_id", "")
        new = NewEvent(event.value, session_id, orjson.dumps(payload).decode())
        self._waiting.append(_Waiting(tenant, new, event is EventType.SESSION_DELETED))
        self._has_waiting.set()

    def forget(self, tenant: str) -> None:
        """Delete the events of a tenant that is erased. See `Notifications.forget`."""
        super().forget(tenant)
        others = (w for w in self._waiting if not f"{w.tenant}/".startswith(f"{tenant}/"))
        self._waiting = deque(others)
        self._forgotten_tenants.add(tenant)
        self._has_waiting.set()

    async def miss(self) -> None:
        """Let the readers of every tenant know that events may be gone: a process has died."""
        await self._store.exchange(events.restart, run_id=_new_run_id())
        await self._store.exchange(exchange.signal_channel, channel=Channel.EVENTS.value)

    async def close(self) -> None:
        """Write what waits, and end every reader's stream. See `Notifications.close`."""
        self._is_closing = True
        self._has_waiting.set()
        self._subscription.wake()
        # Not cancelled: a transaction under way would be committed nevertheless.
        await self._background.drain(TASKS, FLUSH_SECONDS)
        await self._background.cancel(TASKS)
        await super().close()

    async def open_feed(self, tenant: str) -> Feed:
        """The feed of a tenant, with its newest events."""
        if (feed := self.read_feeds.get(tenant)) is not None:
            return feed
        count, newest = await self._store.exchange(
            events.newest, tenant=tenant, run_id=_new_run_id(), limit=self.capacity
        )
        if (feed := self.read_feeds.get(tenant)) is None:
            feed = Feed(self.capacity, count.run_id, count.last - len(newest))
            _extend(feed, count, newest)
        return feed

    def leave_idle(self, tenant: str, feed: Feed) -> None:
        """Keep nothing: the database has it."""

    async def _write_all(self) -> None:
        while not self._is_closing or self._waiting:
            await self._has_waiting.wait()
            try:
                await self._write()
            except ChatError as error:
                logger.warning("events_not_written", code=error.code)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("events_failed")
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(PACE_SECONDS)

    async def _write(self) -> None:
        """Write what waits, as far as one transaction does; what could not be written waits on."""
        for tenant in list(self._forgotten_tenants):
            await self._store.exchange(events.forget, tenant=tenant)
            self._forgotten_tenants.discard(tenant)
        if missed := set(self._missed):
            await self._store.exchange(events.restart, run_id=_new_run_id(), tenants=missed)
            self._missed -= missed
        batch = list(itertools.islice(self._waiting, BATCH))
        if batch:
            by_tenant, run_id = _by_tenant(batch), _new_run_id()
            await self._store.exchange_once(
                events.add,
                functools.partial(events.is_added, events=by_tenant, run_id=run_id),
                events=by_tenant,
                erased=_erased(batch),
                run_id=run_id,
                kept=self.capacity,
            )
        for written in batch:
            # Others may have been dropped while the database took its time.
            if self._waiting and self._waiting[0] is written:
                self._waiting.popleft()
        if not self._waiting and not self._missed and not self._forgotten_tenants:
            self._has_waiting.clear()
        if batch or missed:
            await self._store.exchange(exchange.signal_channel, channel=Channel.EVENTS.value)

    async def _read_all(self) -> None:
        while not self._is_closing or self._waiting:
            await self._subscription.wait(POLL_SECONDS, at_least=PACE_SECONDS)
            try:
                await self._read()
            except ChatError as error:
                logger.warning("events_not_read", code=error.code)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("events_failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> None:
        feeds = dict(self.read_feeds)
        if not feeds:
            return
        seqs = {tenant: feed.count for tenant, feed in feeds.items()}
        for tenant, (count, new) in (await self._store.exchange(events.since, seqs=seqs)).items():
            feed = feeds[tenant]
            if count.run_id != feed.run_id or count.last < feed.count:
                # After a crash of the database, another count has begun.
                feed.restart(count.run_id, count.last)
            else:
                _extend(feed, count, new)


def _erased(batch: Sequence[_Waiting]) -> dict[str, list[str]]:
    """The sessions that are deleted in a batch, by their tenant."""
    erased: dict[str, list[str]] = {}
    for tenant, event, erases_session in batch:
        if erases_session:
            erased.setdefault(tenant, []).append(event.session_id)
    return erased


def _by_tenant(batch: Sequence[_Waiting]) -> dict[str, list[NewEvent]]:
    """The events of a batch, but those of a session that is deleted in it later."""
    events_: dict[str, list[NewEvent]] = {}
    for tenant, event, erases_session in batch:
        before = events_.setdefault(tenant, [])
        if erases_session:
            before[:] = [each for each in before if each.session_id != event.session_id]
        before.append(event)
    return events_


def _extend(feed: Feed, count: Count, new: Sequence[StoredEvent]) -> None:
    """Add stored events to a feed, as far as they follow its own without a gap."""
    for event in new:
        if event.seq != feed.count + 1:
            feed.restart(count.run_id, event.seq - 1)
        if (name := _NAMES.get(event.name)) is not None:
            feed.add(name, orjson.Fragment(event.data))
        else:
            # Erased, or one of a newer program.
            feed.skip()


def _new_run_id() -> str:
    return uuid.uuid4().hex[:12]
