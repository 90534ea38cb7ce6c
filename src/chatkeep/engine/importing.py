"""An import, from a stream of bytes to sessions: all or nothing of each, and a report."""

import asyncio
from collections.abc import AsyncIterator

import orjson
from pydantic import ValidationError

from chatkeep import telemetry
from chatkeep.domain import (
    Caller,
    InvalidRequest,
    Overloaded,
)
from chatkeep.engine.coming import BATCH_LINES, Coming, ImportReport
from chatkeep.engine.json_items import JsonItems, NotJson
from chatkeep.engine.sessions import Sessions
from chatkeep.engine.source import Source
from chatkeep.feed import Feed
from chatkeep.records import (
    LINES,
    Beginning,
    Line,
)
from chatkeep.store import Store

log = telemetry.logger("importing")

BATCH_BYTES = 1_048_576
"""How large the lines may be that are in memory at the same time."""

AT_ONCE, BUSY_RETRY_SECONDS = 4, 5
"""Imports under way: each may hold a large conversation in memory."""


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
        one = Coming(self._store, self._sessions, self._feed, caller.tenant, report)
        # What an earlier process has left of an import has ids that may come again.
        await self._sessions.clear()
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

    async def _lines(self, source: Source, one: Coming) -> None:
        first = await source.line()
        try:
            Beginning.model_validate_json(first)
        except ValidationError:
            source.unread(first + b"\n")
            await self._foreign(source, one)
            return
        number = 1
        while lines := await source.lines(BATCH_LINES, BATCH_BYTES):
            parsed = await asyncio.to_thread(_parsed, lines, number + 1)
            number += len(lines)
            for found, at in parsed:
                await one.take(found, at)
            await one.flush()

    async def _foreign(self, source: Source, one: Coming) -> None:
        """Conversations of other products: one, or an array of them."""
        reader = JsonItems()
        try:
            while piece := await source.read():
                for item in reader.feed(piece):
                    source.restart()
                    await one.convert(item)
            reader.end()
        except NotJson as error:
            if not one.has_reported:
                raise InvalidRequest(f"This is no export that can be read: {error}.") from None
            one.report(f"from here on the file cannot be read: {error}")


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
        except RecursionError:
            found.append(("the line is nested too deeply", at))
    return found
