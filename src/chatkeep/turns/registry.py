"""The turns that this process runs, or that wait in it to be run."""

from collections.abc import Iterator

from chatkeep.domain.model import Turn
from chatkeep.turns.stream import TurnStream


class TurnRegistry:
    """The turns that this process has in hand, by their id."""

    def __init__(self) -> None:
        """Begin with none."""
        self._by_id: dict[str, TurnStream] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[TurnStream]:
        """All of them, as they are now."""
        return iter(list(self._by_id.values()))

    def get(self, turn_id: str) -> TurnStream | None:
        """A turn in hand."""
        return self._by_id.get(turn_id)

    def open(self, turn: Turn, tenant: str) -> TurnStream:
        """Take a turn in hand, or return it if it is there already."""
        return self._by_id.setdefault(turn.turn_id, TurnStream(turn, tenant))

    def drop(self, log: TurnStream) -> None:
        """Let go of a turn that has ended."""
        self._by_id.pop(log.turn.turn_id, None)
