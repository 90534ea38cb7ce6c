"""A text that grows by small pieces, and is read from anywhere."""

from bisect import bisect_right

BLOCK_CHUNKS = 16
"""Pieces that are joined, for a small string takes ten times the memory of its text."""


class TextBuffer:
    """What has been written so far."""

    __slots__ = ("_blocks", "_ends", "_pieces", "length")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.length = 0
        # Blocks of pieces, where each block ends, and the pieces that will make the next.
        self._blocks: list[str] = []
        self._ends: list[int] = []
        self._pieces: list[str] = []

    def __str__(self) -> str:
        """All of it."""
        return "".join((*self._blocks, *self._pieces))

    def append(self, piece: str) -> None:
        """Add a piece."""
        self.length += len(piece)
        self._pieces.append(piece)
        if len(self._pieces) == BLOCK_CHUNKS:
            self._blocks.append("".join(self._pieces))
            self._ends.append(self.length)
            self._pieces.clear()

    def since(self, offset: int, limit: int) -> str:
        """What was written after so many characters, up to `limit` characters of it."""
        first = bisect_right(self._ends, offset)
        last = bisect_right(self._ends, offset + limit)
        newest = self._pieces if last == len(self._blocks) else ()
        joined = "".join((*self._blocks[first : last + 1], *newest))
        start = offset - (self._ends[first - 1] if first else 0)
        return joined[start : start + limit]
