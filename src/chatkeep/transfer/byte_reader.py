"""Reads a stream of bytes ahead: by lines, or as a file is read."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from chatkeep.transfer.json_items import RecordLimits

READ_BYTES = 65_536

CHUNKS_AHEAD = 4
"""Chunks that are received before they are read, so that a sender that leaves is noticed."""

_LEADING = b" \t\r\n\xef\xbb\xbf"
"""White space, and the bytes of a byte order mark (RFC 8259, 8.1)."""


class ByteReader:
    """Reads a stream of bytes. Used as an async context, in which it receives chunks ahead.

    Every method that reads raises the stream's error, or the one it was stopped with.
    """

    def __init__(self, chunks: AsyncIterator[bytes | None], limits: RecordLimits) -> None:
        """Make a reader.

        Args:
            chunks: The bytes as they arrive, and `None` after the last. They may then wait, and
                raise an error once nobody wants the result any longer.
            limits: How long a line may be.

        """
        self._chunks = chunks
        self._limits = limits
        self._received: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_AHEAD)
        self._error: Exception | None = None
        self._buffer = bytearray()
        self._has_ended = False

    async def __aenter__(self) -> Self:
        """Start to receive."""
        self._task = asyncio.create_task(self._receive_all())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop receiving."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def stop(self, error: Exception) -> None:
        """Make every call from now on raise `error`, and the one that waits too; the first wins."""
        self._error = self._error or error
        if self._received.empty():
            self._received.put_nowait(None)

    def check(self) -> None:
        """Raise the error that ended the stream, or with which it was stopped."""
        if self._error is not None:
            raise self._error

    async def peek(self, size: int) -> bytes:
        """The first bytes behind white space, which they stay; fewer if the stream is shorter."""
        while True:
            self._buffer = self._buffer.lstrip(_LEADING)
            if len(self._buffer) >= size or not await self._receive():
                return bytes(self._buffer[:size])

    async def read(self, size: int = READ_BYTES) -> bytes:
        """Between one and `size` bytes; none at the end."""
        self.check()
        if not self._buffer:
            await self._receive()
        piece = bytes(self._buffer[:size])
        del self._buffer[: len(piece)]
        return piece

    async def read_line(self) -> bytes:
        """The next line without its end; empty at the end. Raises `TooLarge`."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            self._limits.check_size(start)
            if not await self._receive():
                end = start
                break
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def read_lines(self, count: int, size: int) -> list[bytes]:
        """The next lines; none at the end.

        Args:
            count: Lines at most.
            size: Bytes after which no further line is added.

        Raises:
            TooLarge: A line is longer than the limit.

        """
        self.check()
        lines: list[bytes] = []
        while len(lines) < count and size > 0:
            line = await self.read_line()
            if not line and self._has_ended and not self._buffer:
                break
            lines.append(line)
            size -= len(line)
        return lines

    async def _receive(self) -> bool:
        """Wait for more bytes. False at the end."""
        # An empty chunk is no end.
        chunk: bytes | None = b""
        while not self._has_ended and not chunk:
            chunk = await self._received.get()
            self.check()
            self._has_ended = chunk is None
        self._buffer += chunk or b""
        return not self._has_ended

    async def _receive_all(self) -> None:
        try:
            async for chunk in self._chunks:
                await self._received.put(chunk)
        except Exception as error:  # noqa: BLE001  (it is raised where the import reads)
            self.stop(error)
