"""A timer for what may be idle for so long, which costs next to nothing while it is not."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls a function when it was not reset for so many seconds, and again after as many more.

    To replace a timer at every token costs more than to check, now and then, when the last one
    came.
    """

    __slots__ = ("_act", "_loop", "_seconds", "_since", "_tick", "_timer")

    def __init__(
        self, seconds: float, act: Callable[[], None], *, tick: float | None = None
    ) -> None:
        """Begin to count, on the running event loop.

        Args:
            seconds: The limit.
            act: Called on the event loop when the limit is reached.
            tick: The limit is checked at least that often (seconds), so that `set_limit` can
                shorten a wait that has begun.

        """
        self._seconds = seconds
        self._act = act
        self._tick = tick
        self._loop = asyncio.get_running_loop()
        self._since: float | None = self._loop.time()
        self._timer = self._loop.call_later(self._until_next(seconds), self._check)

    def reset(self) -> None:
        """Begin to count anew."""
        self._since = self._loop.time()

    def set_limit(self, seconds: float) -> None:
        """Change the limit, counted from the last reset; the call may be a tick late."""
        self._seconds = seconds

    def pause(self) -> None:
        """Stop counting until the next reset."""
        self._since = None

    def stop(self) -> None:
        """Never call the function again."""
        self._timer.cancel()

    def _check(self) -> None:
        now = self._loop.time()
        left = self._seconds if self._since is None else self._since + self._seconds - now
        # A timer may fire a little early.
        if left < 0.001:
            self._act()
            self._since, left = now, self._seconds
        self._timer = self._loop.call_later(self._until_next(left), self._check)

    def _until_next(self, left: float) -> float:
        return left if self._tick is None else min(left, self._tick)
