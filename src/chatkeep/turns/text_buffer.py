"""What a model writes: it grows by small pieces, and is read from anywhere."""

from bisect import bisect_right

from chatkeep.domain.blocks import Segment

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


class MessageBuffer:
    """One message as a model writes it: its text, and where there is any its reasoning.

    Both are in one buffer, in the order in which they came, so that one number is a position.
    """

    __slots__ = ("_buffer", "_ends", "_is_reasoning", "_kinds")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._buffer = TextBuffer()
        # Of a message that changed between text and reasoning: where the earlier segments end, and
        # what they are. Nearly every message is one segment of text.
        self._ends: list[int] = []
        self._kinds: list[bool] = []
        self._is_reasoning = False

    @property
    def length(self) -> int:
        """How many characters there are, reasoning included."""
        return self._buffer.length

    @property
    def is_plain(self) -> bool:
        """Whether it is nothing but one text."""
        return not self._ends and not self._is_reasoning

    @property
    def text(self) -> str:
        """The text, without the reasoning."""
        if self.is_plain:
            return str(self._buffer)
        return "".join(text for is_reasoning, text in self.segments() if not is_reasoning)

    def append(self, piece: str, *, is_reasoning: bool = False, is_new: bool = False) -> None:
        """Add a piece; one of the same kind begins a segment only if it is new."""
        if is_new or is_reasoning is not self._is_reasoning:
            if self._buffer.length > (self._ends[-1] if self._ends else 0):
                self._ends.append(self._buffer.length)
                self._kinds.append(self._is_reasoning)
            self._is_reasoning = is_reasoning
        self._buffer.append(piece)

    def since(self, offset: int, limit: int) -> Segment:
        """What was written after so many characters: of one kind, up to `limit` characters."""
        number = bisect_right(self._ends, offset)
        if number == len(self._ends):
            return Segment(self._is_reasoning, self._buffer.since(offset, limit))
        text = self._buffer.since(offset, min(limit, self._ends[number] - offset))
        return Segment(self._kinds[number], text)

    def segments(self) -> list[Segment]:
        """Everything, in its order; each segment is as long as it is of one kind."""
        segments, offset = [], 0
        while offset < self._buffer.length:
            segment = self.since(offset, self._buffer.length)
            segments.append(segment)
            offset += len(segment.text)
        return segments
