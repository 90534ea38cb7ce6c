"""An import, from a stream of bytes to sessions: all or nothing of each, and a report."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

import orjson
from pydantic import ValidationError

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError, Draining, InvalidRequest, Overloaded
from chatkeep.domain.model import Caller
from chatkeep.domain.records import LINES, Beginning, Line
from chatkeep.notifications import Notifications
from chatkeep.sessions.purge import Purge
from chatkeep.store import Store
from chatkeep.transfer.byte_reader import ByteReader
from chatkeep.transfer.conversion import BATCH_LINES, Incoming, Unreadable, converted
from chatkeep.transfer.json_items import JsonItems, NotJson, RecordLimits
from chatkeep.transfer.session_importer import ImportReport, SessionImporter

log = telemetry.logger("importing")

BATCH_BYTES = 1_048_576
"""How large the lines may be that are in memory at the same time."""

READABLE = "Chatkeep reads ChatGPT, Open WebUI and its own."

BEGINNING_BYTES = 1_024
"""How long the first line of an export of ours may be."""

AT_ONCE, BUSY_RETRY_SECONDS = 4, 5
"""Imports under way: each may hold a large conversation in memory."""

LARGE_BYTES = 4_194_304
"""A conversation that is larger is parsed and written down while no other such is."""


class ImportService:
    """Takes imports in."""

    def __init__(
        self,
        store: Store,
        purge: Purge,
        notifications: Notifications,
        *,
        max_record_bytes: int,
        max_message_chars: int,
    ) -> None:
        """Take where sessions go, and how large a line or a foreign conversation may be.

        A message has a limit of its own: while a long one is indexed, the writes of others wait.
        """
        self._store = store
        self._purge = purge
        self._notifications = notifications
        self._limits = RecordLimits(max_record_bytes)
        self._max_message_chars = max_message_chars
        self._sources: set[ByteReader] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._is_closed = False
        self._large = asyncio.Lock()

    async def run(self, caller: Caller, chunks: AsyncIterator[bytes | None]) -> ImportReport:
        """Import what is in a file: Chatkeep's lines, or an export of ChatGPT or Open WebUI.

        `chunks` are as `ByteReader` takes them: an error of theirs ends the import. Raises
        `InvalidRequest` for a file that is neither, `TooLarge`, `Overloaded`, and `Draining`. What
        was whole by then is kept.
        """
        if self._is_closed:
            raise Draining(retry_after=BUSY_RETRY_SECONDS)
        if len(self._sources) >= AT_ONCE:
            raise Overloaded("Other imports are still running.", retry_after=BUSY_RETRY_SECONDS)
        source = ByteReader(chunks, self._limits)
        self._sources.add(source)
        self._all_ended.clear()
        try:
            async with source:
                return await self._run(caller, source)
        finally:
            self._sources.remove(source)
            if not self._sources:
                self._all_ended.set()

    async def close(self, seconds: float) -> None:
        """Give up what is under way, within so many seconds; whole sessions are kept."""
        self._is_closed = True
        for source in self._sources:
            source.stop(
                Draining(
                    "The server is shutting down, and stopped the import.",
                    retry_after=BUSY_RETRY_SECONDS,
                )
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_ended.wait()

    async def _run(self, caller: Caller, source: ByteReader) -> ImportReport:
        report = ImportReport()
        one = SessionImporter(
            self._store,
            self._purge,
            self._notifications,
            caller.tenant,
            report,
            max_message_chars=self._max_message_chars,
            check=source.check,
        )
        # What an earlier process has left of an import has ids that may come again.
        await self._purge.purge_rows()
        try:
            beginning = await source.peek(BEGINNING_BYTES)
            if beginning[:1] == b"[":
                await source.read(1)
                await self._foreign(source, one, is_array=True)
            elif _is_beginning(beginning):
                await self._lines(source, one)
            elif beginning[:1] == b"{":
                await self._foreign(source, one, is_array=False)
            else:
                raise InvalidRequest(f"Not a conversation export. {READABLE}")
        finally:
            discarded = await one.close()
            # A server that stops leaves that to its next start.
            if discarded and not self._is_closed:
                await self._purge.run()
        log.info("imported", sessions=report.imported, skipped=report.skipped_count)
        return report

    async def _lines(self, source: ByteReader, one: SessionImporter) -> None:
        await source.line()
        number = 1
        while lines := await source.lines(BATCH_LINES, BATCH_BYTES):
            async with self._space_for(sum(map(len, lines))):
                parsed = await asyncio.to_thread(_parsed, lines, number + 1, self._limits)
                number += len(lines)
                for found, at in parsed:
                    await one.take(found, at)
                await one.flush()

    async def _foreign(self, source: ByteReader, one: SessionImporter, *, is_array: bool) -> None:
        """Conversations of other products: one, or an array of them."""
        items = JsonItems(self._limits, is_array=is_array)
        try:
            while piece := await source.read():
                async with self._space_for(items.size + len(piece)):
                    await self._take(items.feed(piece), one)
            await self._take(items.end(), one)
        except NotJson as error:
            if not one.has_reported:
                raise InvalidRequest(f"Not a conversation export: {error}. {READABLE}") from None
            one.report(f"from here on the file cannot be read: {error}")

    async def _take(self, records: Iterator[bytearray], one: SessionImporter) -> None:
        for item in await asyncio.to_thread(_converted, records):
            if isinstance(item, Exception):
                raise item
            await one.bring(item)

    def _space_for(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until something so large may be parsed: in memory it may be several times that."""
        return self._large if size > LARGE_BYTES else nullcontext()


def _is_beginning(head: bytes) -> bool:
    try:
        Beginning.model_validate_json(head.partition(b"\n")[0])
    except ValidationError:
        return False
    return True


def _converted(records: Iterator[bytearray]) -> list[Incoming | Unreadable | Exception]:
    """The conversations in these records, and at the end the error that is in their way."""
    items: list[Incoming | Unreadable | Exception] = []
    try:
        for record in records:
            items.append(converted(record))  # noqa: PERF401  (what came before an error is kept)
    except (NotJson, ChatError) as error:
        items.append(error)
    return items


def _parsed(lines: list[bytes], number: int, limits: RecordLimits) -> list[tuple[Line | str, int]]:
    """Lines of an export, or what is wrong with them, and their numbers. Raises `TooLarge`."""
    found: list[tuple[Line | str, int]] = []
    for at, line in enumerate(lines, number):
        if not line.strip():
            continue
        limits.check(line)
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
