"""An import, from a stream of bytes to sessions: each complete or not at all, and a report."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

from pydantic import ValidationError

from chatkeep import telemetry
from chatkeep.domain.errors import Draining, InvalidRequest, Overloaded
from chatkeep.domain.model import Caller
from chatkeep.domain.records import Beginning
from chatkeep.domain.times import now
from chatkeep.leases import LeaseKeeper
from chatkeep.notifications import Notifications
from chatkeep.sessions.purge import Purge
from chatkeep.store import imports
from chatkeep.store.database import Store
from chatkeep.transfer.byte_reader import ByteReader
from chatkeep.transfer.json_items import JsonItems, NotJson, RecordLimits
from chatkeep.transfer.new_ids import NewIds
from chatkeep.transfer.parsing import BATCH_LINES, parse_conversations, parse_lines
from chatkeep.transfer.session_importer import ImportReport, SessionImporter

logger = telemetry.logger("importing")

BATCH_BYTES = 1_048_576
"""Bytes of lines that are in memory at the same time."""

READABLE = "Chatkeep reads exports from ChatGPT and Open WebUI, and its own."

BEGINNING_BYTES = 1_024
"""Bytes that the first line of an export of ours may have."""

MAX_IMPORTS = 4
"""Imports at the same time: each may hold a large conversation in memory."""

RETRY_SECONDS = 5
"""After how many seconds a client may try again that came at a bad time."""

LARGE_BYTES = 4_194_304
"""Bytes from which on conversations are parsed and stored one at a time."""


class ImportService:
    """Imports files into sessions."""

    def __init__(
        self,
        store: Store,
        purge: Purge,
        notifications: Notifications,
        leases: LeaseKeeper,
        *,
        max_record_bytes: int,
        max_message_chars: int,
    ) -> None:
        """Make the service.

        Args:
            store: Where sessions are stored.
            purge: Removes what is left of sessions that were not imported completely.
            notifications: Where each imported session is announced.
            leases: Whose this process is, for whoever finds what it has not finished.
            max_record_bytes: Bytes of a line, or of a conversation of another product.
            max_message_chars: Characters of a message: while a long one is indexed, all other
                writes wait.

        """
        self._store = store
        self._purge = purge
        self._notifications = notifications
        self._leases = leases
        self._limits = RecordLimits(max_record_bytes)
        self._max_message_chars = max_message_chars
        self._readers: set[ByteReader] = set()
        self._all_ended = asyncio.Event()
        self._all_ended.set()
        self._is_closed = False
        self._large = asyncio.Lock()

    async def run(
        self, caller: Caller, chunks: AsyncIterator[bytes | None], *, new_ids: bool = False
    ) -> ImportReport:
        """Import a file: an export of Chatkeep, ChatGPT or Open WebUI.

        Sessions that were complete before an error stay imported.

        Args:
            caller: Whose sessions they become.
            chunks: The file, as `ByteReader` takes it. Its errors end the import.
            new_ids: Give turns and messages new ids, because the old ones are here already.

        Raises:
            InvalidRequest: The file is none of these.
            TooLarge: A line or a conversation is beyond the limits.
            Overloaded: As many imports as may run are running.
            Draining: The server is shutting down.

        """
        if self._is_closed:
            raise Draining(retry_after=RETRY_SECONDS)
        if len(self._readers) >= MAX_IMPORTS:
            raise Overloaded("Other imports are still running.", retry_after=RETRY_SECONDS)
        reader = ByteReader(chunks, self._limits)
        self._readers.add(reader)
        self._all_ended.clear()
        try:
            async with reader:
                return await self._import(caller, reader, NewIds() if new_ids else None)
        finally:
            self._readers.remove(reader)
            if not self._readers:
                self._all_ended.set()

    async def close(self, seconds: float) -> None:
        """Stop all imports, and wait at most so many seconds until they have ended."""
        self._is_closed = True
        for reader in self._readers:
            reader.stop(
                Draining(
                    "The server is shutting down, and stopped the import.",
                    retry_after=RETRY_SECONDS,
                )
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_ended.wait()

    async def _import(
        self, caller: Caller, reader: ByteReader, new_ids: NewIds | None
    ) -> ImportReport:
        report = ImportReport()
        importer = SessionImporter(
            self._store,
            self._purge,
            self._notifications,
            caller.tenant,
            report,
            leases=self._leases,
            max_message_chars=self._max_message_chars,
            check=reader.check,
            new_ids=new_ids,
        )
        await self._store.write(imports.start, tenant=caller.tenant, actor=caller.actor, at=now())
        # Rows that an earlier process has left of an import have ids that may be in this file.
        await self._purge.purge_rows()
        try:
            await self._import_file(reader, importer)
        finally:
            discarded = await importer.close()
            # A server that stops leaves that to its next start.
            if discarded and not self._is_closed:
                await self._purge.run()
        logger.info("imported", sessions=report.imported, skipped=report.skipped_count)
        return report

    async def _import_file(self, reader: ByteReader, importer: SessionImporter) -> None:
        beginning = await reader.peek(BEGINNING_BYTES)
        if beginning[:1] == b"[":
            await reader.read(1)
            await self._import_conversations(reader, importer, is_array=True)
        elif _is_beginning(beginning):
            await self._import_lines(reader, importer)
        elif beginning[:1] == b"{":
            await self._import_conversations(reader, importer, is_array=False)
        else:
            raise InvalidRequest(f"Not a conversation export. {READABLE}")

    async def _import_lines(self, reader: ByteReader, importer: SessionImporter) -> None:
        await reader.read_line()
        start = 2
        while lines := await reader.read_lines(BATCH_LINES, BATCH_BYTES):
            async with self._memory_for(sum(map(len, lines))):
                parsed = await asyncio.to_thread(
                    parse_lines, lines, start=start, limits=self._limits
                )
                start += len(lines)
                for numbered in parsed:
                    await importer.add_line(numbered.line, numbered.number)
                await importer.flush()

    async def _import_conversations(
        self, reader: ByteReader, importer: SessionImporter, *, is_array: bool
    ) -> None:
        """Import conversations of other products: one, or an array of them."""
        items = JsonItems(self._limits, is_array=is_array)
        try:
            while piece := await reader.read():
                async with self._memory_for(items.size + len(piece)):
                    await self._import_records(items.feed(piece), importer)
            await self._import_records(items.end(), importer)
        except NotJson as error:
            if not importer.has_reported:
                raise InvalidRequest(f"Not a conversation export: {error}. {READABLE}") from None
            importer.report_unreadable(f"from here on the file cannot be read: {error}")

    async def _import_records(
        self, records: Iterator[bytearray], importer: SessionImporter
    ) -> None:
        batch = await asyncio.to_thread(parse_conversations, records)
        for conversation in batch.conversations:
            await importer.add_conversation(conversation)
        if batch.error is not None:
            raise batch.error

    def _memory_for(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until this many bytes may be parsed: in memory they may be several times as many."""
        return self._large if size > LARGE_BYTES else nullcontext()


def _is_beginning(head: bytes) -> bool:
    try:
        Beginning.model_validate_json(head.partition(b"\n")[0])
    except ValidationError:
        return False
    return True
