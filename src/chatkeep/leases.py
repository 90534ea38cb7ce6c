"""Which processes are alive: each renews a lease, and ends those that the dead have left.

A lease is a counter in the database that its owner increments. One that stands still is judged by
the looks of whoever watches, each of which has read the database: so no clock plays a part, and
neither an outage of the database nor a pause of the watcher makes the living look dead.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import uuid_utils

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain import times
from chatkeep.domain.errors import ChatError
from chatkeep.store import exchange, leases
from chatkeep.store.database import Store
from chatkeep.store.leases import Lease
from chatkeep.store.signals import Channel

logger = telemetry.logger("lease")

LOOKS = 4
"""After how many looks in a row at which it stood still a lease is ended."""

CLOCK_TOLERANCE = 500_000
"""Microseconds by which the clock of this machine may differ from the database's."""

TASKS = "leases"

Recover = Callable[[], Awaitable[None]]
Inherit = Callable[[bool], Awaitable[None]]


class Gone(NamedTuple):
    """Whether another process is gone, and whether it was this one that has ended its lease."""

    is_any: bool = False
    is_ended_here: bool = False


class LeaseKeeper:
    """This process's lease, and its watch over the others'."""

    def __init__(self, store: Store, background: BackgroundTasks, *, seconds: float) -> None:
        """Take where leases are, and for how many `seconds` one may stand still."""
        self.owner = uuid_utils.uuid7().hex
        self._store = store
        self._background = background
        self._pause = seconds / LOOKS
        self._seen: dict[Lease, int] = {}
        # What was seen since it was last recovered, and whether there was a look since.
        self._gone = Gone()
        self._has_looked = asyncio.Event()
        self._is_open = False

    async def start(self, recover: Recover, inherit: Inherit) -> None:
        """Begin the lease, recover what nobody runs, and go on so while others may be there.

        Args:
            recover: Takes over the turns of no lease, as far as this process does that; it is
                called at every look.
            inherit: Begins what else a dead process may have left; it is called when one is gone,
                with true if this process has ended its lease, which one of all does.

        """
        store = self._store
        await self._set_clock()
        await store.write(leases.claim, owner=self.owner, is_alone=store.is_exclusive)
        self._is_open = True
        if not store.is_exclusive:
            store.signals.open(self.owner)
            # At once, and on its own: whatever else takes long, it must not look dead meanwhile.
            self._background.spawn(TASKS, self._watch())
        await recover()
        await inherit(False)
        if not store.is_exclusive:
            self._background.spawn(TASKS, self._recover_on(recover, inherit))

    async def is_eldest(self) -> bool:
        """Whether this process does what one of all must do from time to time."""
        if self._store.is_exclusive:
            return True
        return await self._store.renew(leases.is_eldest, owner=self.owner)

    async def close(self, *, is_released: bool = True) -> None:
        """Stop watching, and end the lease: what still runs may be taken over at once.

        Args:
            is_released: False leaves the lease to be ended by others, as that of a process that has
                died: something of it still works, and must not be done twice at the same time.

        """
        if not self._is_open:
            return
        await self._background.cancel(TASKS)
        self._store.signals.close()
        if not is_released:
            return
        try:
            await self._store.write(leases.release, owner=self.owner)
        except ChatError as error:
            logger.warning("lease_not_released", code=error.code)

    async def renew(self) -> None:
        """Renew the lease. If another process has ended it, begin a new one."""
        if not await self._store.renew(leases.beat, owner=self.owner):
            logger.warning("lease_lost", owner=self.owner)
            owner = uuid_utils.uuid7().hex
            await self._store.renew(leases.claim, owner=owner, is_alone=False)
            self.owner = owner
            self._store.signals.open(owner)

    async def look(self) -> Gone:
        """Look at the other leases, and end those that have stood still for too long."""
        try:
            others = await self._store.renew(leases.others, owner=self.owner)
        except ChatError:
            # Nothing is known of the meantime: their owners may have been as blind.
            self._seen.clear()
            raise
        before = {lease.owner for lease in self._seen}
        self._seen = {lease: self._seen.get(lease, -1) + 1 for lease in others}
        is_gone = bool(before - {lease.owner for lease in others})
        is_ended_here = False
        for lease, looks in list(self._seen.items()):
            if looks >= LOOKS and await self._store.renew(leases.end, lease=lease):
                logger.warning("lease_ended", owner=lease.owner)
                is_ended_here = True
                del self._seen[lease]
        return Gone(is_gone or is_ended_here, is_ended_here)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self.renew()
                await self._set_clock()
                gone = await self.look()
                before = self._gone
                self._gone = Gone(*(one or other for one, other in zip(before, gone, strict=True)))
            except ChatError as error:
                logger.warning("lease_not_moved", code=error.code)
            except Exception:
                logger.exception("lease_watch_failed")
            self._has_looked.set()

    async def _recover_on(self, recover: Recover, inherit: Inherit) -> None:
        while True:
            await self._has_looked.wait()
            self._has_looked.clear()
            try:
                await self._test_signals()
                await recover()
                gone, self._gone = self._gone, Gone()
                if gone.is_any:
                    await inherit(gone.is_ended_here)
            except ChatError as error:
                logger.warning("not_recovered", code=error.code)
            except Exception:
                logger.exception("recovery_failed")

    async def _set_clock(self) -> None:
        """Take the database's time, so that all processes at it have the same."""
        moment = await self._store.renew(leases.read_clock)
        if moment is not None:
            times.set_clock(moment, tolerance=CLOCK_TOLERANCE)

    async def _test_signals(self) -> None:
        """Signal this process itself: one that does not receive that receives none."""
        self._store.signals.expect()
        await self._store.exchange(
            exchange.signal_channel, channel=Channel.TURNS.name_for(self.owner)
        )
