"""What callers do with whole sessions: change one, and delete one for good."""

import asyncio
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import Draining, InvalidRequest, TooLarge, TurnCancelled
from chatkeep.domain.events import EventType, SessionDeleted
from chatkeep.domain.ids import message_id as new_message_id
from chatkeep.domain.model import (
    Caller,
    FileContent,
    Message,
    MessageContent,
    Role,
    Session,
    SessionRecord,
)
from chatkeep.domain.times import now
from chatkeep.domain.validation import validate_metadata, validate_session_id
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.sessions.purge import TASKS, Purge
from chatkeep.store import deletion, session_changes, session_messages
from chatkeep.store.database import Store
from chatkeep.store.page import Page
from chatkeep.store.session_messages import CreatedSession
from chatkeep.titles import provisional_title
from chatkeep.titles.calls import TitleCalls
from chatkeep.turns.finish import TurnFinisher
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_readers import RemoteReaders

logger = telemetry.logger("sessions")

MAX_APPENDED = 20
"""Messages that are added to a session at once."""


class SessionService:
    """Changes and deletes sessions."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        titles: TitleCalls,
        registry: TurnRegistry,
        remote_readers: RemoteReaders,
        finisher: TurnFinisher,
        purge: Purge,
        notifications: Notifications,
        background: BackgroundTasks,
        *,
        max_message_chars: int,
    ) -> None:
        """Take the parts of the server that a session's change needs."""
        self._store = store
        self._providers = providers
        self._titles = titles
        self._registry = registry
        self._remote_readers = remote_readers
        self._finisher = finisher
        self._purge = purge
        self._notifications = notifications
        self._background = background
        self._max_message_chars = max_message_chars

    async def create(
        self,
        caller: Caller,
        session_id: str,
        *,
        metadata: Mapping[str, object] | None = None,
        messages: Sequence[MessageContent] = (),
        files: Sequence[FileContent] = (),
    ) -> CreatedSession:
        """Create a session without a turn. One that is there is returned as it is.

        Args:
            caller: Whose session.
            session_id: Its id.
            metadata: The client's own.
            messages: Its messages, at most `MAX_APPENDED`, which belong to no turn.
            files: What the blocks of the messages refer to.

        Raises:
            InvalidRequest: The id, the metadata or a message is not allowed.
            TooLarge: A message is too long.
            ChatError: As `store.session_messages.create`.

        """
        metadata = dict(metadata or {})
        with _invalid_at("#/session_id"):
            validate_session_id(session_id)
        with _invalid_at("#/metadata"):
            validate_metadata(metadata)
        created = await self._store.write_once(
            session_messages.create,
            session_messages.is_created,
            tenant=caller.tenant,
            session_id=session_id,
            metadata=metadata,
            contents=self._new_messages(messages),
            contained=files,
            owner=self._titles.owner,
            make_title=provisional_title,
            at=now(),
        )
        if created.is_new:
            self._notifications.publish(
                caller.tenant, EventType.SESSION_CREATED, _listed(created.session)
            )
            self._start_title(created.untitled)
        return created

    async def append(
        self,
        caller: Caller,
        session_id: str,
        messages: Sequence[MessageContent],
        files: Sequence[FileContent] = (),
    ) -> list[Message]:
        """Add messages that belong to no turn after the last one of the active branch.

        Args:
            caller: Whose session.
            session_id: Which one.
            messages: At most `MAX_APPENDED`; their ids are new ones.
            files: What the blocks of the messages refer to.

        Raises:
            InvalidRequest: There are too many, or one of them is not allowed.
            TooLarge: One is too long.
            ChatError: As `store.session_messages.append`.

        """
        appended = await self._store.write_once(
            session_messages.append,
            session_messages.is_appended,
            tenant=caller.tenant,
            session_id=session_id,
            contents=self._new_messages(messages),
            contained=files,
            owner=self._titles.owner,
            make_title=provisional_title,
            at=now(),
        )
        self._notifications.publish(caller.tenant, EventType.SESSION_UPDATED, appended.session)
        self._start_title(appended.untitled)
        return appended.messages

    async def remove_last(self, caller: Caller, session_id: str, message_id: str) -> SessionRecord:
        """Delete the last message of the active branch, and return the session as it is now.

        Raises:
            ChatError: As `store.session_messages.remove_last`.

        """
        record = await self._store.write_once(
            session_messages.remove_last,
            functools.partial(
                session_messages.is_removed, tenant=caller.tenant, message_id=message_id
            ),
            tenant=caller.tenant,
            session_id=session_id,
            message_id=message_id,
            at=now(),
        )
        self._notifications.publish(caller.tenant, EventType.SESSION_UPDATED, _listed(record))
        return record

    async def remove_turn(self, caller: Caller, turn_id: str) -> session_messages.RemovedTurn:
        """Delete a turn that nothing follows, and return its session as it is now.

        Raises:
            ChatError: As `store.session_messages.remove_turn`.

        """
        removed = await self._store.write_once(
            session_messages.remove_turn,
            functools.partial(session_messages.is_turn_removed, turn_id=turn_id),
            tenant=caller.tenant,
            turn_id=turn_id,
            at=now(),
        )
        listed = _listed(removed.session)
        self._notifications.publish(caller.tenant, EventType.SESSION_UPDATED, listed)
        return removed

    async def branch(
        self,
        caller: Caller,
        session_id: str,
        *,
        limit: int,
        after: str | None = None,
        oldest_first: bool = False,
    ) -> Page[Message, str]:
        """A page of the active branch: see `store.session_messages.branch`."""
        return await self._store.read(
            session_messages.branch,
            tenant=caller.tenant,
            session_id=session_id,
            limit=limit,
            after=after,
            oldest_first=oldest_first,
        )

    async def last_inputs(self, caller: Caller, messages: Sequence[Message]) -> dict[str, str]:
        """The last message that each of the turns of these messages has taken in, by its id."""
        turn_ids = {message.turn_id for message in messages if message.turn_id is not None}
        if not turn_ids:
            return {}
        return await self._store.read(
            session_messages.last_inputs, tenant=caller.tenant, turn_ids=sorted(turn_ids)
        )

    def _new_messages(self, messages: Sequence[MessageContent]) -> tuple[MessageContent, ...]:
        """Check messages that are to be stored, and give them ids."""
        if len(messages) > MAX_APPENDED:
            raise _invalid("#/items", f"must not be more than {MAX_APPENDED}")
        checked: list[MessageContent] = []
        for number, message in enumerate(messages):
            if len(message.text) > self._max_message_chars:
                raise TooLarge(f"A message is longer than {self._max_message_chars} characters.")
            if message.role is Role.ASSISTANT and not message.text:
                raise _invalid(f"#/items/{number}", "must not be empty")
            checked.append(message._replace(id=new_message_id()))
        return tuple(checked)

    def _start_title(self, untitled: session_changes.Untitled | None) -> None:
        if untitled is not None:
            self._titles.start(untitled.tenant, untitled.pk, untitled.first_message)

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
        self._notifications.publish(caller.tenant, EventType.SESSION_UPDATED, _listed(changed))
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


def _listed(record: SessionRecord) -> Session:
    """As it is listed: a system prompt may be long, and many events stay in memory."""
    return Session(**{name: getattr(record, name) for name in Session.__dataclass_fields__})


def _invalid(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{pointer}: {detail}", errors=[{"pointer": pointer, "detail": detail}])


@contextmanager
def _invalid_at(pointer: str) -> Iterator[None]:
    """Raise `InvalidRequest` about a value whose validator refuses it."""
    try:
        yield
    except ValueError as error:
        raise _invalid(pointer, str(error)) from None
