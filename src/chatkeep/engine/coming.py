"""The sessions of an import, one after the other: whole or not at all, and what is told of them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from chatkeep import foreign, titles
from chatkeep.domain import now
from chatkeep.engine.sessions import Sessions
from chatkeep.feed import Feed
from chatkeep.records import EndLine, Line, MessageLine, SessionLine, microseconds
from chatkeep.store import Store, imports
from chatkeep.store.imports import CannotImport

BATCH_LINES = 200
"""Lines that one transaction takes in: some 20 ms, so that no turn waits for it."""

REPORTED = 1_000
"""Sessions that were skipped, and notes, of which the report tells each; the others it counts."""


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
    """A session that comes in."""

    line: SessionLine
    pk: int
    messages: int = 0


class Coming:
    """Takes one session after the other, and leaves out those that cannot be taken."""

    def __init__(
        self, store: Store, sessions: Sessions, feed: Feed, tenant: str, report: ImportReport
    ) -> None:
        """Take where they go, for whom, and where to tell of them."""
        self._store = store
        self._sessions = sessions
        self._feed = feed
        self._tenant = tenant
        self._report = report
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
        else:
            self._coming.messages += isinstance(line, MessageLine)
            self._lines.append(line)

    async def convert(self, item: object) -> None:
        """Take a conversation of another product."""
        try:
            found = await asyncio.to_thread(foreign.conversation, item)
            session, lines = await asyncio.to_thread(_as_lines, found)
        except (foreign.Unreadable, ValidationError) as error:
            self._report.skip(_named(item), str(error).splitlines()[0])
            return
        await self.take(session)
        before = self._report.imported
        for start in range(0, len(lines), BATCH_LINES):
            for line in lines[start : start + BATCH_LINES]:
                await self.take(line)
            await self.flush()
        await self.take(EndLine(session_id=session.session_id))
        if self._report.imported > before:
            self._report.note(session.session_id, found.notes)

    async def flush(self) -> None:
        """Write down what has come."""
        if self._coming is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            await self._store.write(
                imports.add, tenant=self._tenant, pk=self._coming.pk, lines=lines
            )
        except CannotImport as error:
            await self._give_up(str(error), None)

    async def close(self) -> int:
        """Leave out what is not whole; how many sessions there are to sweep."""
        await self._give_up("it is cut off", None)
        return self._discarded

    async def _begin(self, line: SessionLine, at: int | None) -> None:
        try:
            pk = await self._store.write(imports.begin, tenant=self._tenant, line=line)
        except CannotImport as error:
            self._report.skip(line.session_id, str(error), at)
            self._skips = True
        else:
            self._coming = _Session(line, pk)

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
        self._feed.tell(self._tenant, "session.created", created)

    async def _give_up(self, reason: str, at: int | None) -> None:
        coming, self._coming, self._lines = self._coming, None, []
        if coming is None:
            return
        self._skips = True
        self._discarded += 1
        self._report.skip(coming.line.session_id, reason, at)
        await self._store.write(imports.discard, tenant=self._tenant, pk=coming.pk)
        await self._sessions.clear()


def _as_lines(found: foreign.Conversation) -> tuple[SessionLine, list[Line]]:
    session = dict(found.session)
    if not session["title"]:
        first = next((m["content"] for m in found.messages if m["role"] == "user"), "")
        at = microseconds(session["created_at"]) or now()
        session["title"] = titles.provisional_title(first, at)
    line = SessionLine.model_validate(session)
    return line, [MessageLine.model_validate(message) for message in found.messages]


def _named(item: object) -> str | None:
    """What a conversation that cannot be read calls itself, for the report."""
    if not isinstance(item, dict):
        return None
    name = item.get("conversation_id") or item.get("id") or item.get("title")
    return name[:255] if isinstance(name, str) else None
