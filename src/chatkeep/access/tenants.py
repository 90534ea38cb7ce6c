"""Tenants and their users: made, counted, and erased with everything that is theirs."""

import asyncio
from contextlib import suppress

from chatkeep import telemetry
from chatkeep.access.service import AccessService
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError, SessionNotFound, TenantNeeded
from chatkeep.domain.model import DEFAULT_TENANT, Caller
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.sessions.purge import TASKS, Purge
from chatkeep.sessions.service import SessionService
from chatkeep.store import tenants
from chatkeep.store.database import Store

logger = telemetry.logger("access")

BATCH_SESSIONS = 100
"""Sessions of an erased user that are looked up at a time."""

WAIT_SECONDS = 30
"""How long whoever erases somebody waits until it is done; it goes on after that."""

RETRY_SECONDS = 5
"""Pause before an erasure that failed is tried again."""


class TenantService:
    """Makes tenants, and erases tenants and users."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        sessions: SessionService,
        purge: Purge,
        notifications: Notifications,
        background: BackgroundTasks,
    ) -> None:
        """Take where tenants are stored, who lets them in, and what deletes their sessions."""
        self._store = store
        self._access = access
        self._sessions = sessions
        self._purge = purge
        self._notifications = notifications
        self._background = background

    async def create(self, caller: Caller, tenant: str) -> bool:
        """Make a tenant unless it is there. Returns whether it is new. Raises `TenantErased`."""
        return await self._store.write(tenants.create, tenant=tenant, actor=caller.actor, at=now())

    async def erase(self, caller: Caller, tenant: str) -> bool:
        """Erase a tenant with its users, or one user: sessions, keys, tokens, names.

        Returns whether no file holds any of it; else that follows in the background. It may be
        asked for again until it is done.

        Raises:
            TenantNotFound: There is no such tenant or user.
            TenantNeeded: It is the server's own tenant.

        """
        if tenant == DEFAULT_TENANT:
            raise TenantNeeded
        at = now()
        await self._store.write(tenants.mark_deleted, tenant=tenant, actor=caller.actor, at=at)
        self._access.look_up_again()
        # On its own: whoever asked for it may have erased the very key that was shown for it.
        erasing = self._background.spawn(TASKS, self.resume())
        await asyncio.wait({erasing}, timeout=WAIT_SECONDS)
        is_removed = erasing.done() and not erasing.cancelled() and erasing.result()
        return is_removed and self._store.erases_files

    async def resume(self) -> bool:
        """Go on with what was to be erased, also by an earlier process; returns as `erase`."""
        while True:
            try:
                return await self._erase_marked()
            except ChatError as error:
                logger.warning("not_erased", code=error.code)
                await asyncio.sleep(RETRY_SECONDS)

    async def _erase_marked(self) -> bool:
        erased = await self._store.read(tenants.erased)
        for tenant in erased:
            await self._delete_sessions(tenant)
            self._notifications.forget(tenant)
        if not erased:
            return True
        is_clean = await self._purge.run()
        # An import that was under way may keep one for a while.
        return is_clean and not await self._store.read(tenants.erased)

    async def _delete_sessions(self, tenant: str) -> None:
        has_more = True
        while has_more:
            has_more = False
            for session_id in await self._store.read(
                tenants.session_ids, tenant=tenant, limit=BATCH_SESSIONS
            ):
                # Somebody else may have deleted it in the meantime.
                with suppress(SessionNotFound):
                    await self._sessions.soft_delete(tenant, session_id, actor="erasure")
                    has_more = True
