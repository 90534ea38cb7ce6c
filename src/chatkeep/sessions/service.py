"""What callers do with whole sessions: change one, and delete one for good."""

import asyncio
from collections.abc import Callable, Collection

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import Draining, TurnCancelled
from chatkeep.domain.events import EventType, SessionDeleted
from chatkeep.domain.model import Caller, Session, SessionRecord
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.sessions.purge import TASKS, Purge
from chatkeep.store import deletion, session_changes
from chatkeep.store.database import Store
from chatkeep.turns.finish import TurnFinisher
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_readers import RemoteReaders

logger = telemetry.logger("sessions")


class SessionService:
    """Changes and deletes sessions."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        registry: TurnRegistry,
        remote_readers: RemoteReaders,
        finisher: TurnFinisher,
        purge: Purge,
        notifications: Notifications,
        background: BackgroundTasks,
    ) -> None:
        """Take the parts of the server that a session's change needs."""
        self._store = store
        self._providers = providers
        self._registry = registry
        self._remote_readers = remote_readers
        self._finisher = finisher
        self._purge = purge
        self._notifications = notifications
        self._background = background

    async def change(
        self,
        caller: Caller,
        session_id: str,
        values: session_changes.SessionChanges,
        *,
        expected: Collection[str] | None,
        seen: Callable[[SessionRecord], SessionRecord],
    ) -> SessionRecord:
        """Change a session, all or nothing.

        Args:
            caller: Whose session.
            session_id: Which one.
            values: New values by the name of a field of `SessionChange`.
            expected: Revisions, one of which the session must have; `None` for any.
            seen: Makes of a session what the caller sees of it, whose revisions these are.

        Raises:
            InvalidRequest: The model is not on offer.
            ChatError: As `store.session_changes.change`.

        """
        if (model := values.get("model")) is not None:
            self._providers.check(model)
        changed = await self._store.write(
            session_changes.change,
            tenant=caller.tenant,
            session_id=session_id,
            values=values,
            expected=expected,
            seen=seen,
            at=now(),
        )
        # As it is listed: a system prompt may be long, and many events are kept in memory.
        listed = Session(**{name: getattr(changed, name) for name in Session.__dataclass_fields__})
        self._notifications.publish(caller.tenant, EventType.SESSION_UPDATED, listed)
        return changed

    async def delete(self, caller: Caller, session_id: str) -> bool:
        """Delete a session with all that belongs to it, and cancel its turns.

        Returns whether no file holds any of it. If another program reads from the database, that
        follows in the background.

        Raises:
            SessionNotFound: There is no such session.
            Draining: It is deleted; the rest follows at the next start.

        """
        # Shielded: a client that goes away in the middle has asked for it nevertheless.
        task = self._background.spawn(TASKS, self._delete(caller, session_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise Draining(
                "The session is deleted. Its last traces on disk are removed at the next start."
            ) from None

    async def soft_delete(
        self, tenant: str, session_id: str, *, actor: str, before: int | None = None
    ) -> None:
        """Hide a session from every query, and end its turns; purging its rows is the next step.

        Args:
            tenant: Whose session.
            session_id: Which one.
            actor: Who deletes it, for the audit log.
            before: Only if it has had no activity since then (microseconds since 1970), and has no
                active turn.

        Raises:
            SessionNotFound: There is none, or `before` does not hold.

        """
        removed = await self._store.write_once(
            deletion.soft_delete,
            deletion.is_deleted,
            tenant=tenant,
            session_id=session_id,
            actor=actor,
            at=now(),
            before=before,
        )
        for turn_id in removed.running:
            stream = self._registry.get(turn_id)
            if stream is not None and self._remote_readers.is_running(turn_id):
                stream.stop(TurnCancelled(deletion.CANCELLED_DETAIL))
        for turn_id in removed.queued:
            reason = TurnCancelled(deletion.CANCELLED_DETAIL)
            self._finisher.finish_queued(tenant, turn_id, session_id, reason)
        await self._remote_readers.signal_others(*removed.running, *removed.queued)
        self._notifications.publish(tenant, EventType.SESSION_DELETED, SessionDeleted(session_id))
        logger.info("session_deleted", turns=len(removed.running + removed.queued))

    async def _delete(self, caller: Caller, session_id: str) -> bool:
        await self.soft_delete(caller.tenant, session_id, actor=caller.actor)
        is_removed = await self._purge.run()
        return is_removed and self._store.erases_files
