"""Tenants and their users: made, counted, and erased with everything that is theirs."""

from contextlib import suppress

from chatkeep.access.service import AccessService
from chatkeep.domain.errors import SessionNotFound, TenantNeeded
from chatkeep.domain.model import DEFAULT_TENANT, Caller
from chatkeep.domain.times import now
from chatkeep.sessions.purge import Purge
from chatkeep.sessions.service import SessionService
from chatkeep.store import tenants
from chatkeep.store.database import Store

BATCH_SESSIONS = 100
"""Sessions of an erased user that are looked up at a time."""


class TenantService:
    """Makes tenants, and erases tenants and users."""

    def __init__(
        self, store: Store, access: AccessService, sessions: SessionService, purge: Purge
    ) -> None:
        """Take where tenants are stored, who lets them in, and what deletes their sessions."""
        self._store = store
        self._access = access
        self._sessions = sessions
        self._purge = purge

    async def create(self, caller: Caller, tenant: str) -> bool:
        """Make a tenant unless it is there. Returns whether it is new. Raises `TenantErased`."""
        return await self._store.write(tenants.create, tenant=tenant, actor=caller.actor, at=now())

    async def erase(self, caller: Caller, tenant: str) -> bool:
        """Erase a tenant with its users, or one user: sessions, keys, tokens, names.

        Returns whether no file holds any of it; else that follows in the background.

        Raises:
            TenantNotFound: There is no such tenant or user.
            TenantNeeded: It is the server's own tenant.

        """
        if tenant == DEFAULT_TENANT:
            raise TenantNeeded
        at = now()
        await self._store.write(tenants.mark_deleted, tenant=tenant, actor=caller.actor, at=at)
        self._access.look_up_again()
        return await self.resume()

    async def resume(self) -> bool:
        """Go on with what was to be erased, also by an earlier process; returns as `erase`."""
        erased = await self._store.read(tenants.erased)
        for tenant in erased:
            await self._delete_sessions(tenant)
        return await self._purge.run() if erased else True

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
