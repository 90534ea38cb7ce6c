"""What is happening right now: the turns in hand, the text of each so far, and who waits for it.

A turn here belongs to the server: who waits for it may go away. What a model is, is not known.
"""

import asyncio
from collections.abc import Iterator

from chatkeep.domain import ChatError, Reply, Turn


class LiveTurn:
    """A turn that waits or runs, and the log of its reply."""

    def __init__(self, turn: Turn) -> None:
        """Take the turn as it was accepted."""
        self.turn = turn
        self.title_call: asyncio.Task[str | None] | None = None
        self._pieces: list[str] = []
        self._ended: asyncio.Future[Reply | ChatError] = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        """The reply so far."""
        return "".join(self._pieces)

    def append(self, piece: str) -> None:
        """Add to the reply what the model has just written."""
        self._pieces.append(piece)

    def end(self, end: Reply | ChatError) -> None:
        """Tell everyone who waits how the turn ended. The first end counts."""
        if not self._ended.done():
            self._ended.set_result(end)

    async def result(self) -> Reply:
        """Wait for the end of the turn. Raises the error that it ended with."""
        # Shielded: one reader who goes away must not end the wait of the others.
        end = await asyncio.shield(self._ended)
        if isinstance(end, ChatError):
            raise end
        return end


class LiveTurns:
    """The turns that this process has in hand, by their id."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_id: dict[str, LiveTurn] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[LiveTurn]:
        """All of them, as they are now."""
        return iter(list(self._by_id.values()))

    def open(self, turn: Turn) -> LiveTurn:
        """Take a turn in hand, or return it if it is there already."""
        return self._by_id.setdefault(turn.turn_id, LiveTurn(turn))

    def drop(self, live: LiveTurn) -> None:
        """Let go of a turn that has ended."""
        self._by_id.pop(live.turn.turn_id, None)
