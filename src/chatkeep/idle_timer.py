"""A clock for what may be silent for so long, which costs next to nothing while it is not."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Acts when nothing has been heard for so many seconds, and again after as many more.

    To set a timer anew for each token costs more than to let one look, now and then, how long ago
    the last one was.
    """

    __slots__ = ("_act", "_loop", "_seconds", "_since", "_tick", "_timer")

    def __init__(
        self, seconds: float, act: Callable[[], None], *, tick: float | None = None
    ) -> None:
        """Begin to count, on the running event loop.

        With a `tick` it looks at least that often (seconds), so that `allow` can shorten the wait.
        """
        self._seconds = seconds
        self._act = act
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._since: float | None = self._loop.time()
        self._timer = self._loop.call_later(self._until_next(seconds), self._look)

    def heard(self) -> None:
        """Begin to count anew."""
        self._since = self._loop.time()

    def allow(self, seconds: float) -> None:
        """Act after so many seconds from the last that was heard; it may be a tick late."""
        self._seconds = seconds

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
        self._timer = self._loop.call_later(self._until_next(left), self._look)

    def _until_next(self, left: float) -> float:
        return left if self._tick is None else min(left, self._tick)
