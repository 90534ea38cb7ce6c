"""The sessions of an import, one after the other: each complete or not at all, and a report."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from chatkeep.domain.events import EventType
from chatkeep.domain.records import EndLine, FileLine, Line, MessageLine, SessionLine
from chatkeep.domain.times import now, rfc3339
from chatkeep.leases import LeaseKeeper
from chatkeep.notifications import Notifications
from chatkeep.sessions.purge import Purge
from chatkeep.store import imports
from chatkeep.store.database import Store
from chatkeep.store.imports import CannotImport
from chatkeep.transfer.new_ids import NewIds
from chatkeep.transfer.parsing import (
    InvalidLine,
    ParsedConversation,
    UnreadableConversation,
    validate_messages,
)

MAX_REPORTED = 1_000
"""Skipped sessions that the report lists, and notes; the others are only counted."""

CLOCK_SKEW_MICROSECONDS = 300 * 1_000_000
"""How far the clock of another machine may be ahead of ours: what Kerberos allows (RFC 4120)."""

LineT = TypeVar("LineT", bound=BaseModel)

_TIMES = ("created_at", "updated_at", "started_at", "ended_at")


@dataclass(slots=True)
class ImportReport:
    """What became of an import. `skipped` and `notes` say of which session, and why."""

    imported: int = 0
    messages: int = 0
    skipped_count: int = 0
    skipped: list[dict[str, object]] = field(default_factory=list)
    notes: list[dict[str, object]] = field(default_factory=list)

    def skip(self, session_id: str | None, reason: str, line: int | None = None) -> None:
        """Add a session that was not imported.

        Args:
            session_id: Its id, if it has one.
            reason: Why, in words.
            line: Number of the line of the file, from 1, if it has lines.

        """
        self.skipped_count += 1
        if len(self.skipped) < MAX_REPORTED:
            where = {} if line is None else {"line": line}
            self.skipped.append({"session_id": session_id, "reason": reason, **where})

    def note(self, session_id: str, left_out: tuple[str, ...]) -> None:
        """Add an imported session of which something was left out, unless nothing was."""
        if left_out and len(self.notes) < MAX_REPORTED:
            self.notes.append({"session_id": session_id, "left_out": list(left_out)})


@dataclass(slots=True)
class _Session:
    """A session that is being imported.

    Of its times, `adjusted` were later than `latest`, and are that now.
    """

    line: SessionLine
    pk: int
    latest: str
    adjusted: int
    left_out: tuple[str, ...] = ()
    messages: int = 0

    def adjust(self, line: LineT) -> LineT:
        """The line without times in the future; it is counted, and so are these."""
        future = _future_times(line, self.latest)
        self.adjusted += len(future)
        self.messages += isinstance(line, MessageLine)
        return line.model_copy(update=future) if future else line

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        if not self.adjusted:
            return self.left_out
        times = "time" if self.adjusted == 1 else "times"
        return (*self.left_out, f"{self.adjusted:,} {times} in the future")


class SessionImporter:
    """Imports sessions from their lines, and skips those that cannot be imported."""

    def __init__(
        self,
        store: Store,
        purge: Purge,
        notifications: Notifications,
        tenant: str,
        report: ImportReport,
        *,
        leases: LeaseKeeper,
        max_message_chars: int,
        check: Callable[[], None],
        new_ids: NewIds | None = None,
    ) -> None:
        """Make an importer.

        Args:
            store: Where sessions are stored.
            purge: Removes the rows of sessions that were not imported completely.
            notifications: Where each imported session is announced.
            tenant: Whose sessions they become.
            report: What is added to.
            leases: Whose this process is: with its lease ends what it has not imported wholly.
            max_message_chars: Characters that a message may have.
            check: Called before each write; raises an error when nothing more may be written.
            new_ids: Replaces the ids of turns and messages; `None` keeps them.

        """
        self._store = store
        self._purge = purge
        self._notifications = notifications
        self._tenant = tenant
        self._report = report
        self._leases = leases
        self._max_message_chars = max_message_chars
        self._check = check
        self._new_ids = new_ids
        self._session: _Session | None = None
        # Whether the lines up to the next session belong to one that is reported already.
        self._is_skipping = False
        self._lines: list[Line] = []
        self._discarded = 0

    @property
    def has_reported(self) -> bool:
        """True if a session was imported or skipped."""
        return self._report.imported + self._report.skipped_count > 0

    def report_unreadable(self, reason: str) -> None:
        """Report that the rest of the file cannot be read."""
        self._report.skip(None, reason)

    async def add_line(self, line: Line | InvalidLine, number: int | None = None) -> None:
        """Add the next line; a session is stored with its last.

        Args:
            line: The line. An invalid one has its session skipped.
            number: Its number in the file, for the report.

        """
        if isinstance(line, SessionLine):
            await self._skip("it is cut off before the next one begins", number)
            await self._begin(line, number)
        elif self._session is None:
            if isinstance(line, InvalidLine) and not self._is_skipping:
                self._report.skip(None, line.reason, number)
                self._is_skipping = True
            elif isinstance(line, EndLine):
                self._is_skipping = False
        elif isinstance(line, InvalidLine):
            await self._skip(line.reason, number)
        elif isinstance(line, EndLine):
            await self._finish(line, number)
        elif isinstance(line, MessageLine) and len(line.content) > self._max_message_chars:
            await self._skip(
                f"a message is longer than {self._max_message_chars} characters, the most that "
                "CHATKEEP_MAX_REPLY_CHARS allows",
                number,
            )
        else:
            if isinstance(line, FileLine):
                # Each may be large: a transaction has one of them at most.
                await self.flush()
                if self._session is None:
                    return
            line = self._session.adjust(line)
            self._lines.append(self._new_ids.replace(line) if self._new_ids else line)

    async def add_conversation(self, item: ParsedConversation | UnreadableConversation) -> None:
        """Import a conversation of another product."""
        if isinstance(item, UnreadableConversation):
            self._report.skip(item.name, item.reason)
            return
        await self.add_line(item.session)
        if self._session is None:
            return
        self._session.left_out = item.notes
        for batch in item.batches():
            for line in await asyncio.to_thread(validate_messages, batch):
                await self.add_line(line)
            await self.flush()
        await self.add_line(EndLine(session_id=item.session.session_id))

    async def flush(self) -> None:
        """Write the lines that were added since the last call."""
        if self._session is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        self._check()
        try:
            await self._store.write(
                imports.add, tenant=self._tenant, pk=self._session.pk, lines=lines
            )
        except CannotImport as error:
            await self._skip(str(error), None)

    async def close(self) -> int:
        """Discard a session that is not complete. Returns how many sessions are to be purged."""
        await self._discard("it is cut off", None)
        return self._discarded

    async def _begin(self, line: SessionLine, number: int | None) -> None:
        self._check()
        latest = rfc3339(now() + CLOCK_SKEW_MICROSECONDS)
        future = _future_times(line, latest)
        line = line.model_copy(update=future)
        try:
            pk = await self._store.write(
                imports.begin, tenant=self._tenant, line=line, owner=self._leases.owner
            )
        except CannotImport as error:
            self._report.skip(line.session_id, str(error), number)
            self._is_skipping = True
        else:
            self._session = _Session(line, pk, latest, len(future))

    async def _finish(self, end: EndLine, number: int | None) -> None:
        await self.flush()
        session = self._session
        if session is None:
            return
        if end.session_id != session.line.session_id:
            await self._skip("its last line is another session's", number)
            return
        try:
            created = await self._store.write(
                imports.finish, tenant=self._tenant, pk=session.pk, line=session.line
            )
        except CannotImport as error:
            await self._skip(str(error), number)
            return
        self._session = None
        self._is_skipping = False
        self._report.imported += 1
        self._report.messages += session.messages
        self._report.note(session.line.session_id, session.notes)
        self._notifications.publish(self._tenant, EventType.SESSION_CREATED, created)

    async def _skip(self, reason: str, number: int | None) -> None:
        """Discard the session, if there is one, so that it can come again in the same file."""
        if await self._discard(reason, number):
            await self._purge.purge_rows()

    async def _discard(self, reason: str, number: int | None) -> bool:
        """Report the session, and mark its rows for the purge. False if there is none."""
        session, self._session, self._lines = self._session, None, []
        if session is None:
            return False
        self._is_skipping = True
        self._discarded += 1
        self._report.skip(session.line.session_id, reason, number)
        await self._store.write(imports.discard, tenant=self._tenant, pk=session.pk)
        return True


def _future_times(line: BaseModel, latest: str) -> dict[str, str]:
    """`latest` by the name of each of the line's times that is later.

    A session from a machine whose clock is ahead would stay the newest for as long. Times that
    never went backwards still do not.
    """
    # All have the same form, so that their order is that of the strings.
    return {name: latest for name in _TIMES if (getattr(line, name, None) or "") > latest}
