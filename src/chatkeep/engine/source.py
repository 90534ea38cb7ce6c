"""A stream of bytes that is read by lines, or as a file is, with a limit for each record."""

from collections.abc import AsyncIterator

from chatkeep.domain import TooLarge

READ_BYTES = 65_536


class Source:
    """What an import is read from."""

    def __init__(self, chunks: AsyncIterator[bytes], max_record_bytes: int) -> None:
        """Take the bytes as they come, and how many a line or a conversation may have."""
        self._chunks = chunks
        self._max = max_record_bytes
        self._buffer = bytearray()
        self._since = 0
        self._ended = False

    async def peek(self) -> bytes:
        """The first byte that is no white space, which is taken away before it."""
        while True:
            self._buffer = self._buffer.lstrip(b" \t\r\n\xef\xbb\xbf")
            if self._buffer or not await self._more():
                return bytes(self._buffer[:1])

    async def read(self, size: int = READ_BYTES) -> bytes:
        """Up to `size` bytes, none at the end: what a parser asks for."""
        if not self._buffer and size:
            await self._more()
        taken = bytes(self._buffer[:size])
        del self._buffer[: len(taken)]
        self._since += len(taken)
        if self._since > self._max:
            raise _too_large(self._max)
        return taken

    def restart(self) -> None:
        """Begin to count the bytes of the next conversation."""
        self._since = 0

    async def line(self) -> bytes:
        """The next line without its end; empty at the end."""
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > self._max:
                raise _too_large(self._max)
            if not await self._more():
                end = start
                break
        taken = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return taken

    async def lines(self, count: int, size: int) -> list[bytes]:
        """The next lines, about so many or so large; none at the end."""
        found: list[bytes] = []
        while len(found) < count and size > 0:
            line = await self.line()
            if not line and self._ended and not self._buffer:
                break
            found.append(line)
            size -= len(line)
        return found

    def unread(self, data: bytes) -> None:
        """Put back what was read, to be read again."""
        self._buffer[:0] = data

    async def _more(self) -> bool:
        if not self._ended:
            # An empty chunk is no end, but the last one is.
            while not (chunk := await anext(self._chunks, None)):
                if chunk is None:
                    self._ended = True
                    return False
            self._buffer += chunk
        return not self._ended


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"A line, or a conversation, of the file is larger than {size} bytes.")
