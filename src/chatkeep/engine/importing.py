"""An import, from a stream of bytes to sessions: all or nothing of each, and a report."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import ijson
import orjson
from pydantic import ValidationError

from chatkeep import foreign, telemetry, titles
from chatkeep.domain import (
    Caller,
    InvalidRequest,
    Overloaded,
    now,
)
from chatkeep.engine.sessions import Sessions
from chatkeep.engine.source import Source
from chatkeep.feed import Feed
from chatkeep.records import (
    LINES,
    VERSION,
    Beginning,
    EndLine,
    Line,
    MessageLine,
    SessionLine,
    microseconds,
)
from chatkeep.store import Store, imports
from chatkeep.store.imports import CannotImport

log = telemetry.logger("importing")

BATCH_LINES, BATCH_BYTES = 200, 1_048_576
"""What one transaction takes in: some 20 ms, so that no turn waits for it."""

AT_ONCE, BUSY_RETRY_SECONDS = 4, 5
"""Imports under way: each may hold a large conversation in memory."""

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
class _Coming:
    """A session that comes in."""

    line: SessionLine
    pk: int
    messages: int = 0


class Importing:
    """Takes imports in."""

    def __init__(
        self, store: Store, sessions: Sessions, feed: Feed, *, max_record_bytes: int
    ) -> None:
        """Take where sessions go, and how large a line or a foreign conversation may be."""
        self._store = store
        self._sessions = sessions
        self._feed = feed
        self._max_record_bytes = max_record_bytes
        self._under_way = 0

    async def run(self, caller: Caller, chunks: AsyncIterator[bytes]) -> ImportReport:
        """Import what is in a file: Chatkeep's lines, or an export of ChatGPT or Open WebUI.

        Raises `InvalidRequest` when it is neither, `TooLarge`, and `Overloaded`. What was whole
        by then is kept.
        """
        if self._under_way >= AT_ONCE:
            raise Overloaded("Other imports are under way.", retry_after=BUSY_RETRY_SECONDS)
        self._under_way += 1
        try:
            return await self._run(caller, Source(chunks, self._max_record_bytes))
        finally:
            self._under_way -= 1

    async def _run(self, caller: Caller, source: Source) -> ImportReport:
        report = ImportReport()
        one = _One(self._store, self._feed, caller.tenant, report)
        try:
            first = await source.peek()
            if first == b"[":
                await self._foreign(source, one)
            elif first == b"{":
                await self._lines(source, one)
            else:
                raise InvalidRequest("This is no export that can be read.")
        finally:
            discarded = await one.close()
            if discarded:
                await self._sessions.sweep()
        log.info("imported", sessions=report.imported, skipped=report.skipped_count)
        return report

    async def _lines(self, source: Source, one: "_One") -> None:
        first = await source.line()
        try:
            Beginning.model_validate_json(first)
        except ValidationError:
            await self._single(first, source, one)
            return
        number = 1
        while lines := await source.lines(BATCH_LINES, BATCH_BYTES):
            parsed = await asyncio.to_thread(_parsed, lines, number + 1)
            number += len(lines)
            for found, at in parsed:
                await one.take(found, at)
            await one.flush()

    async def _single(self, first: bytes, source: Source, one: "_One") -> None:
        """One conversation of another product that is not in an array."""
        rest = await source.rest()
        try:
            item = orjson.loads(first + b"\n" + rest)
        except ValueError:
            raise InvalidRequest(
                f"The first line is not that of an export of version {VERSION}."
            ) from None
        await one.convert(item)

    async def _foreign(self, source: Source, one: "_One") -> None:
        try:
            async for item in ijson.items_async(source, "item", use_float=True):
                source.restart()
                await one.convert(item)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"The file is not JSON: {str(error).splitlines()[0]}.") from None


def _parsed(lines: list[bytes], number: int) -> list[tuple[Line | str, int]]:
    """Lines of an export, or what is wrong with them, and their numbers."""
    found: list[tuple[Line | str, int]] = []
    for at, line in enumerate(lines, number):
        if not line.strip():
            continue
        try:
            found.append((LINES.validate_python(orjson.loads(line)), at))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"][1:])
            found.append((f"{where or 'the line'}: {first['msg']}", at))
        except ValueError as error:
            found.append((f"the line is not JSON: {error}", at))
    return found


class _One:
    """Takes one session after the other, and leaves out those that cannot be taken."""

    def __init__(self, store: Store, feed: Feed, tenant: str, report: ImportReport) -> None:
        self._store = store
        self._feed = feed
        self._tenant = tenant
        self._report = report
        self._coming: _Coming | None = None
        self._skips = False
        self._lines: list[Line] = []
        self._discarded = 0

    async def take(self, line: Line | str, at: int | None = None) -> None:
        """Take a line; a `str` says what is wrong with one."""
        if isinstance(line, SessionLine):
            await self._give_up("it is cut off before the next one begins", at)
            await self._begin(line, at)
        elif self._coming is None:
            if isinstance(line, str) and not self._skips:
                self._report.skip(None, line, at)
                self._skips = True
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
        is_new = self._coming is not None
        for start in range(0, len(lines), BATCH_LINES):
            for line in lines[start : start + BATCH_LINES]:
                await self.take(line)
            await self.flush()
        await self.take(EndLine(session_id=session.session_id))
        if is_new:
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
            self._coming = _Coming(line, pk)

    async def _finish(self, end: EndLine, at: int | None) -> None:
        await self.flush()
        coming = self._coming
        if coming is None:
            return
        if end.session_id != coming.line.session_id:
            await self._give_up("its last line is another session's", at)
            return
        try:
            await self._store.write(
                imports.finish, tenant=self._tenant, pk=coming.pk, line=coming.line
            )
        except CannotImport as error:
            await self._give_up(str(error), at)
            return
        self._coming = None
        self._skips = False
        self._report.imported += 1
        self._report.messages += coming.messages
        told = {"session_id": coming.line.session_id, "title": coming.line.title}
        self._feed.tell(self._tenant, "session.created", told)

    async def _give_up(self, reason: str, at: int | None) -> None:
        coming, self._coming, self._lines = self._coming, None, []
        if coming is None:
            return
        self._skips = True
        self._discarded += 1
        self._report.skip(coming.line.session_id, reason, at)
        await self._store.write(imports.discard, tenant=self._tenant, pk=coming.pk)


def _as_lines(found: foreign.Conversation) -> tuple[SessionLine, list[Line]]:
    session = dict(found.session)
    if not session["title"]:
        first = next((m["content"] for m in found.messages if m["role"] == "user"), "")
        session["title"] = titles.fallback(first, microseconds(session["created_at"]) or now())
    line = SessionLine.model_validate(session)
    return line, [MessageLine.model_validate(message) for message in found.messages]


def _named(item: object) -> str | None:
    """What a conversation that cannot be read calls itself, for the report."""
    if not isinstance(item, dict):
        return None
    name = item.get("conversation_id") or item.get("id") or item.get("title")
    return name[:255] if isinstance(name, str) else None
