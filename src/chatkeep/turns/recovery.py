"""Which process runs which turns: leases, and the turns that a dead process has left.

A lease is a counter in the database that its owner increments while turns run. An observer takes
it for abandoned when it has not changed for a while by the observer's own monotonic clock: wall
clocks, of this machine or another, play no part.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import uuid_utils

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError
from chatkeep.store import leases
from chatkeep.store.database import Store
from chatkeep.store.leases import OrphanedTurn

logger = telemetry.logger("lease")

CHECKS_PER_LEASE = 3
"""How often a lease is renewed, and others are checked, within the time that it is valid."""

TASKS = "leases"

Recover = Callable[[list[OrphanedTurn]], Awaitable[None]]


class LeaseKeeper:
    """This process's lease, and its watch over the others'."""

    def __init__(self, store: Store, background: BackgroundTasks, *, seconds: float) -> None:
        """Take where leases are, and for how many `seconds` one may stand still."""
        self.owner = uuid_utils.uuid7().hex
        self._store = store
        self._background = background
        self._seconds = seconds
        self._seen: dict[leases.Lease, float] = {}
        self._is_open = False

    async def start(self, recover: Recover, is_busy: Callable[[], bool]) -> None:
        """Begin the lease, recover what nobody runs, and from then on watch.

        Args:
            recover: Gets the turns that become this process's.
            is_busy: Whether turns are active, so that the lease must be renewed.

        """
        await self._store.write(leases.claim, owner=self.owner)
        if self._store.is_exclusive:
            await recover(await self._store.write(leases.take_all, owner=self.owner))
        self._is_open = True
        self._background.spawn(TASKS, self._watch(recover, is_busy))

    async def close(self) -> None:
        """Stop watching, and end the lease: what still runs may be taken over at once."""
        if not self._is_open:
            return
        await self._background.cancel(TASKS)
        try:
            await self._store.write(leases.release, owner=self.owner)
        except ChatError as error:
            logger.warning("lease_not_released", code=error.code)

    async def take_over_abandoned(self) -> list[OrphanedTurn]:
        """Take over the turns of every lease that has stood still for too long."""
        now = time.monotonic()
        others = await self._store.read(leases.others, owner=self.owner)
        self._seen = {lease: self._seen.get(lease, now) for lease in others}
        orphans = []
        for lease, since in self._seen.items():
            if lease.beat < 0 or now - since >= self._seconds:
                logger.warning("lease_taken_over", owner=lease.owner)
                orphans += await self._store.write(leases.take_over, owner=self.owner, dead=lease)
        return orphans

    async def renew(self) -> None:
        """Renew the lease. If another process has taken our turns, begin a new lease."""
        if not await self._store.write(leases.beat, owner=self.owner):
            logger.warning("lease_lost", owner=self.owner)
            self.owner = uuid_utils.uuid7().hex
            await self._store.write(leases.claim, owner=self.owner)

    async def _watch(self, recover: Recover, is_busy: Callable[[], bool]) -> None:
        while True:
            await asyncio.sleep(self._seconds / CHECKS_PER_LEASE)
            try:
                if is_busy():
                    await self.renew()
                if orphans := await self.take_over_abandoned():
                    await recover(orphans)
            except ChatError as error:
                logger.warning("lease_not_moved", code=error.code)
            except Exception:
                logger.exception("lease_watch_failed")
