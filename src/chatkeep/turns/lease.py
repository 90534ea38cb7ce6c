"""Who runs which turns: this process by its lease, and those of a process that has died.

A lease is a count in the database that its owner moves while turns run. Who watches it gives it
up when it has not moved for a while by the watcher's own clock, which only goes forward: what the
time of day is, on this machine or another, changes nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import uuid_utils

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError
from chatkeep.store import Store, leases
from chatkeep.store.leases import OrphanedTurn

log = telemetry.logger("lease")

LOOKS_PER_LEASE = 3
"""Times that a lease is moved, and others are looked at, before it counts as given up."""

TakeUp = Callable[[list[OrphanedTurn]], Awaitable[None]]


class Lease:
    """This process's lease, and its watch over the others'."""

    def __init__(self, store: Store, *, seconds: float) -> None:
        """Take how long a lease may stand still."""
        self.owner = uuid_utils.uuid7().hex
        self._store = store
        self._seconds = seconds
        self._seen: dict[leases.Lease, float] = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self, take_up: TakeUp, is_busy: Callable[[], bool]) -> None:
        """Begin the lease, take up what nobody runs, and from then on watch.

        `take_up` gets the turns that become ours; `is_busy` says whether the lease must move.
        """
        await self._store.write(leases.claim, owner=self.owner)
        if self._store.is_exclusive:
            await take_up(await self._store.write(leases.take_all, owner=self.owner))
        self._watching = asyncio.create_task(self._watch(take_up, is_busy))

    async def close(self) -> None:
        """Stop watching. What still runs may be taken over at once."""
        if self._watching is None:
            return
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        try:
            await self._store.write(leases.release, owner=self.owner)
        except ChatError as error:
            log.warning("lease_not_released", code=error.code)

    async def look(self) -> list[OrphanedTurn]:
        """Take over the turns of every lease that has stood still for too long."""
        now = time.monotonic()
        others = await self._store.read(leases.others, owner=self.owner)
        self._seen = {lease: self._seen.get(lease, now) for lease in others}
        taken = []
        for lease, since in self._seen.items():
            if lease.beat < 0 or now - since >= self._seconds:
                log.warning("lease_taken_over", owner=lease.owner)
                taken += await self._store.write(leases.take_over, owner=self.owner, dead=lease)
        return taken

    async def beat(self) -> None:
        """Move the lease. Whoever thought us dead has taken our turns: then we begin anew."""
        if not await self._store.write(leases.beat, owner=self.owner):
            log.warning("lease_lost", owner=self.owner)
            self.owner = uuid_utils.uuid7().hex
            await self._store.write(leases.claim, owner=self.owner)

    async def _watch(self, take_up: TakeUp, is_busy: Callable[[], bool]) -> None:
        while True:
            await asyncio.sleep(self._seconds / LOOKS_PER_LEASE)
            try:
                if is_busy():
                    await self.beat()
                if taken := await self.look():
                    await take_up(taken)
            except ChatError as error:
                log.warning("lease_not_moved", code=error.code)
            except Exception:
                log.exception("lease_watch_failed")
