"""A stream of bytes that is read ahead, by lines or as a file is, with a limit for each line."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from chatkeep.transfer.json_items import RecordLimits

READ_BYTES = 65_536

CHUNKS_AHEAD = 4
"""Chunks that are read before they are needed, so that it is noticed when their sender goes."""


class ByteReader:
    """What an import is read from; a context in which it is read ahead."""

    def __init__(self, chunks: AsyncIterator[bytes | None], limits: RecordLimits) -> None:
        """Take the bytes as they come, and what a line may have.

        After the last chunk comes `None`; `chunks` may then go on to wait, and raise an error when
        nobody wants the import any longer.
        """
        self._chunks = chunks
        self._limits = limits
        self._ahead: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_AHEAD)
        self._error: Exception | None = None
        self._buffer = bytearray()
        self._ended = False

    async def __aenter__(self) -> Self:
        """Begin to read."""
        self._reader = asyncio.create_task(self._read_ahead())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Read no more."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    def stop(self, error: Exception) -> None:
        """Let whoever reads get this error, and whoever checks."""
        self._error = self._error or error
        if self._ahead.empty():
            self._ahead.put_nowait(None)

    def check(self) -> None:
        """Raise the error that ended the stream, or with which it was stopped."""
        if self._error is not None:
            raise self._error

    async def peek(self, size: int) -> bytes:
        """The first bytes from one that is no white space; fewer if there are no more."""
        while True:
            self._buffer = self._buffer.lstrip(b" \t\r\n\xef\xbb\xbf")
            if len(self._buffer) >= size or not await self._more():
                return bytes(self._buffer[:size])

    async def read(self, size: int = READ_BYTES) -> bytes:
        """Up to `size` bytes, none at the end: what a parser asks for."""
        self.check()
        if not self._buffer:
            await self._more()
        taken = bytes(self._buffer[:size])
        del self._buffer[: len(taken)]
        return taken

    async def line(self) -> bytes:
        """The next line without its end; empty at the end. Raises `TooLarge`."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            self._limits.check_size(start)
            if not await self._more():
                end = start
                break
        taken = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return taken

    async def lines(self, count: int, size: int) -> list[bytes]:
        """The next lines, about so many or so large; none at the end."""
        self.check()
        found: list[bytes] = []
        while len(found) < count and size > 0:
            line = await self.line()
            if not line and self._ended and not self._buffer:
                break
            found.append(line)
            size -= len(line)
        return found

    async def _more(self) -> bool:
        """Wait for more bytes; whether some came."""
        # An empty chunk is no end.
        chunk: bytes | None = b""
        while not self._ended and not chunk:
            chunk = await self._ahead.get()
            self.check()
            self._ended = chunk is None
        self._buffer += chunk or b""
        return not self._ended

    async def _read_ahead(self) -> None:
        try:
            async for chunk in self._chunks:
                await self._ahead.put(chunk)
        except Exception as error:  # noqa: BLE001  (it is raised where the import reads)
            self.stop(error)
