"""The turns that this process runs, or that wait in it to be run."""

import asyncio
import contextlib
from collections.abc import Iterator

from chatkeep.domain.model import Turn
from chatkeep.turns.stream import TurnStream


class TurnRegistry:
    """The streams of active turns by the turn's id."""

    def __init__(self) -> None:
        """Begin with none."""
        self._streams: dict[str, TurnStream] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        """How many turns are active."""
        return len(self._streams)

    def __iter__(self) -> Iterator[TurnStream]:
        """All streams, as of now: turns may come and go while the caller iterates."""
        return iter(list(self._streams.values()))

    def get(self, turn_id: str) -> TurnStream | None:
        """The stream of an active turn."""
        return self._streams.get(turn_id)

    def open(self, turn: Turn, tenant: str) -> TurnStream:
        """The stream of a turn; a new one if the turn was not active."""
        stream = self._streams.setdefault(turn.turn_id, TurnStream(turn, tenant))
        for waiter in self._waiters.pop(turn.turn_id, ()):
            if not waiter.done():
                waiter.set_result(None)
        return stream

    async def wait(self, turn_id: str, seconds: float) -> TurnStream | None:
        """Wait at most `seconds` until a turn is active; `None` if it does not become so."""
        if turn_id not in self._streams:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(turn_id, []).append(waiter)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await waiter
            finally:
                self._forget(turn_id, waiter)
        return self._streams.get(turn_id)

    def remove(self, stream: TurnStream) -> None:
        """Forget a turn that is not active any more; its readers keep their stream."""
        self._streams.pop(stream.turn.turn_id, None)

    def _forget(self, turn_id: str, waiter: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(turn_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiters.pop(turn_id, None)
