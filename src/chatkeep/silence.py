"""A clock for what may be silent for so long, which costs next to nothing while it is not."""

import asyncio
from collections.abc import Callable


class Silence:
    """Acts when nothing has been heard for so many seconds, and again after as many more.

    To set a timer anew for each token costs more than to let one look, now and then, how long ago
    the last one was.
    """

    __slots__ = ("_act", "_loop", "_seconds", "_since", "_timer")

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        """Begin to count, on the running event loop."""
        self._seconds = seconds
        self._act = act
        self._loop = asyncio.get_running_loop()
        self._since: float | None = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._look)

    def heard(self) -> None:
        """Begin to count anew."""
        self._since = self._loop.time()

    def allow(self, seconds: float) -> None:
        """Act after so many seconds from now on, and begin to count anew."""
        self._timer.cancel()
        self._seconds = seconds
        self._since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._look)

    def pause(self) -> None:
        """Do not count until something is heard."""
        self._since = None

    def stop(self) -> None:
        """Never act again."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        left = self._seconds if self._since is None else self._since + self._seconds - now
        # A timer may come a little early.
        if left < 0.001:
            self._act()
            self._since, left = now, self._seconds
        self._timer = self._loop.call_later(left, self._look)
