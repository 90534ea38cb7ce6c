"""Deletes sessions that have had no activity for as long as their tenant keeps them."""

import asyncio
from collections.abc import Mapping

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError, SessionNotFound
from chatkeep.domain.times import now
from chatkeep.leases import LeaseKeeper
from chatkeep.sessions.purge import TASKS, Purge
from chatkeep.sessions.service import SessionService
from chatkeep.store import deletion
from chatkeep.store.database import Store

logger = telemetry.logger("sessions")

BATCH_SESSIONS = 1_000
"""Sessions that expire before the purge that follows."""

DAY_MICROSECONDS = 24 * 3_600 * 1_000_000

RetentionDays = Mapping[str | None, int]
"""Days without activity after which the sessions of a tenant and its users expire; `None` is every
other tenant."""


class Retention:
    """Looks for sessions that have expired, again and again."""

    def __init__(
        self,
        store: Store,
        sessions: SessionService,
        purge: Purge,
        leases: LeaseKeeper,
        background: BackgroundTasks,
        *,
        days: RetentionDays,
        check_seconds: float,
    ) -> None:
        """Take the parts of the server that expiry needs.

        Args:
            store: Where sessions are.
            sessions: Deletes them.
            purge: Removes what is deleted.
            leases: Says which of several processes does it.
            background: Where this runs.
            days: By tenant.
            check_seconds: Pause between looks.

        """
        self._store = store
        self._sessions = sessions
        self._purge = purge
        self._leases = leases
        self._background = background
        self._days = days
        self._check_seconds = check_seconds

    def start(self) -> None:
        """Look from now on, if any tenant's sessions expire."""
        if self._days:
            self._background.spawn(TASKS, self._run())

    async def _run(self) -> None:
        while True:
            try:
                if await self._leases.is_eldest():
                    for tenant, days in self._days.items():
                        await self._expire(tenant, days)
            except ChatError as error:
                logger.warning("not_expired", code=error.code)
            await asyncio.sleep(self._check_seconds)

    async def _expire(self, tenant: str | None, days: int) -> None:
        before = now() - days * DAY_MICROSECONDS
        # What is said of every tenant does not hold for those that have days of their own.
        others = [other for other in self._days if other is not None] if tenant is None else []
        while sessions := await self._store.read(
            deletion.expired, tenant=tenant, others=others, before=before, limit=BATCH_SESSIONS
        ):
            for session in sessions:
                try:
                    await self._sessions.soft_delete(
                        session.tenant_id, session.session_id, actor="retention", before=before
                    )
                except SessionNotFound:
                    continue  # deleted by somebody, or used again
            await self._purge.run()
            logger.info("sessions_expired", count=len(sessions))
