"""The sessions of an import, one after the other: whole or not at all, and what is told of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from chatkeep.domain.events import EventType
from chatkeep.domain.records import EndLine, Line, MessageLine, SessionLine
from chatkeep.domain.times import now, rfc3339
from chatkeep.notifications import Notifications
from chatkeep.sessions.purge import Purge
from chatkeep.store import Store, imports
from chatkeep.store.imports import CannotImport
from chatkeep.transfer.conversion import Incoming, Unreadable, as_lines

REPORTED = 1_000
"""Sessions that were skipped, and notes, of which the report tells each; the others it counts."""


CLOCKS_APART_MICROSECONDS = 300 * 1_000_000
"""How much later than here it may be where an export was made: what Kerberos allows (RFC 4120)."""

LineT = TypeVar("LineT", bound=BaseModel)

_TIMES = ("created_at", "updated_at", "started_at", "ended_at")


@dataclass(slots=True)
class ImportReport:
    """What became of an import. `skipped` and `notes` say of which session, and why."""

    imported: int = 0
    messages: int = 0
    skipped_count: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def skip(self, session_id: str | None, reason: str, line: int | None = None) -> None:
        """Note that a session was not imported."""
        self.skipped_count += 1
        if len(self.skipped) < REPORTED:
            where = {} if line is None else {"line": line}
            self.skipped.append({"session_id": session_id, "reason": reason, **where})

    def note(self, session_id: str, words: tuple[str, ...]) -> None:
        """Note that parts of a session were left out."""
        if words and len(self.notes) < REPORTED:
            self.notes.append({"session_id": session_id, "left_out": list(words)})


@dataclass(slots=True)
class _Session:
    """A session that comes in. Of its times, `changed` were after `latest`, and are that now."""

    line: SessionLine
    pk: int
    latest: str
    changed: int
    left_out: tuple[str, ...] = ()
    messages: int = 0

    def add(self, line: Line) -> Line:
        """Count the line, and give it without a time that cannot be."""
        line, changed = _not_after(self.latest, line)
        self.changed += changed
        self.messages += isinstance(line, MessageLine)
        return line

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        if not self.changed:
            return self.left_out
        times = "time" if self.changed == 1 else "times"
        return (*self.left_out, f"{self.changed:,} {times} in the future")


class SessionImporter:
    """Takes one session after the other, and leaves out those that cannot be taken."""

    def __init__(
        self,
        store: Store,
        purge: Purge,
        notifications: Notifications,
        tenant: str,
        report: ImportReport,
        *,
        max_message_chars: int,
        check: Callable[[], None],
    ) -> None:
        """Take where they go, for whom, and where to tell of them.

        `check` raises an error when nothing more is to be written down.
        """
        self._store = store
        self._purge = purge
        self._notifications = notifications
        self._tenant = tenant
        self._report = report
        self._max_message_chars = max_message_chars
        self._check = check
        self._coming: _Session | None = None
        # Whether the lines up to the next session are of one that was reported.
        self._skips = False
        self._lines: list[Line] = []
        self._discarded = 0

    @property
    def has_reported(self) -> bool:
        """Whether there is anything to tell of."""
        return self._report.imported + self._report.skipped_count > 0

    def report(self, words: str) -> None:
        """Tell what is wrong with the rest of the file."""
        self._report.skip(None, words)

    async def take(self, line: Line | str, at: int | None = None) -> None:
        """Take a line; a `str` says what is wrong with one."""
        if isinstance(line, SessionLine):
            await self._give_up("it is cut off before the next one begins", at)
            await self._begin(line, at)
        elif self._coming is None:
            if isinstance(line, str) and not self._skips:
                self._report.skip(None, line, at)
                self._skips = True
            elif isinstance(line, EndLine):
                self._skips = False
        elif isinstance(line, str):
            await self._give_up(line, at)
        elif isinstance(line, EndLine):
            await self._finish(line, at)
        elif isinstance(line, MessageLine) and len(line.content) > self._max_message_chars:
            await self._give_up(
                f"a message is longer than {self._max_message_chars} characters, the most that "
                "CHATKEEP_MAX_REPLY_CHARS allows",
                at,
            )
        else:
            self._lines.append(self._coming.add(line))

    async def bring(self, item: Incoming | Unreadable) -> None:
        """Take a conversation of another product."""
        if isinstance(item, Unreadable):
            self._report.skip(item.name, item.reason)
            return
        await self.take(item.session)
        if self._coming is None:
            return
        self._coming.left_out = item.notes
        for batch in item.batches():
            for line in await asyncio.to_thread(as_lines, batch):
                await self.take(line)
            await self.flush()
        await self.take(EndLine(session_id=item.session.session_id))

    async def flush(self) -> None:
        """Write down what has come."""
        if self._coming is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        self._check()
        try:
            await self._store.write(
                imports.add, tenant=self._tenant, pk=self._coming.pk, lines=lines
            )
        except CannotImport as error:
            await self._give_up(str(error), None)

    async def close(self) -> int:
        """Leave out what is not whole; how many sessions there are to sweep."""
        await self._leave_out("it is cut off", None)
        return self._discarded

    async def _begin(self, line: SessionLine, at: int | None) -> None:
        self._check()
        latest = rfc3339(now() + CLOCKS_APART_MICROSECONDS)
        line, changed = _not_after(latest, line)
        try:
            pk = await self._store.write(imports.begin, tenant=self._tenant, line=line)
        except CannotImport as error:
            self._report.skip(line.session_id, str(error), at)
            self._skips = True
        else:
            self._coming = _Session(line, pk, latest, changed)

    async def _finish(self, end: EndLine, at: int | None) -> None:
        await self.flush()
        coming = self._coming
        if coming is None:
            return
        if end.session_id != coming.line.session_id:
            await self._give_up("its last line is another session's", at)
            return
        try:
            created = await self._store.write(
                imports.finish, tenant=self._tenant, pk=coming.pk, line=coming.line
            )
        except CannotImport as error:
            await self._give_up(str(error), at)
            return
        self._coming = None
        self._skips = False
        self._report.imported += 1
        self._report.messages += coming.messages
        self._report.note(coming.line.session_id, coming.notes)
        self._notifications.publish(self._tenant, EventType.SESSION_CREATED, created)

    async def _give_up(self, reason: str, at: int | None) -> None:
        if await self._leave_out(reason, at):
            # It may come again in the same file.
            await self._purge.purge_rows()

    async def _leave_out(self, reason: str, at: int | None) -> bool:
        coming, self._coming, self._lines = self._coming, None, []
        if coming is None:
            return False
        self._skips = True
        self._discarded += 1
        self._report.skip(coming.line.session_id, reason, at)
        await self._store.write(imports.discard, tenant=self._tenant, pk=coming.pk)
        return True


def _not_after(latest: str, line: LineT) -> tuple[LineT, int]:
    """The line with every later time set to this one, and how many those are.

    So a session whose clock went wrong does not stay the newest for ever, and times that never
    went backwards still do not.
    """
    # All have the same form, so that their order is that of the strings.
    later = {name: latest for name in _TIMES if (getattr(line, name, None) or "") > latest}
    return line.model_copy(update=later) if later else line, len(later)
