"""How long a silence may be."""

import asyncio
from types import TracebackType
from typing import Self

LENIENCE = 0.01
"""The share by which a silence may be longer than it is set."""


class Patience:
    """Gives up, with a `TimeoutError`, when nothing has been heard for so many seconds."""

    def __init__(self, seconds: float) -> None:
        """Take how long a silence may be."""
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(seconds)
        self._renewed = self._loop.time()

    async def __aenter__(self) -> Self:
        """Begin to count."""
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop counting. Raises `TimeoutError` if that is why it is left."""
        await self._timeout.__aexit__(kind, error, trace)

    def heard(self) -> None:
        """Begin to count anew, now and then: a clock that is set for each token costs more."""
        now = self._loop.time()
        if now - self._renewed > self._seconds * LENIENCE:
            self._renewed = now
            self._timeout.reschedule(now + self._seconds * (1 + LENIENCE))
