"""An event loop in a thread of its own, whose blocking stalls no other loop."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Generic, TypeVar

from chatkeep.providers.python.daemon_threads import DaemonThreads

T = TypeVar("T")

THREADS = 32
"""Functions that are not async and run at the same time, for all objects of a loop."""

STALL_SECONDS = 1.0
"""How long closing waits for a loop that does not react: something blocks its thread."""

CLOSE_SECONDS = 10.0
"""How long closing waits for a generator to end after it was cancelled."""


class LoopThread:
    """A daemon thread that runs an event loop, for code that may block."""

    def __init__(self, name: str = "python-models") -> None:
        """Begin without a thread; `start` makes it."""
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = DaemonThreads(THREADS, f"{name}-sync")
        self._is_closed = False
        self._is_stalled = False

    def start(self) -> asyncio.AbstractEventLoop:
        """Start the thread unless it runs, and return its loop.

        Raises:
            RuntimeError: It was closed.

        """
        if self._is_closed:
            raise RuntimeError("the thread was closed")
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(self._threads)
            threading.Thread(
                target=self._run, args=(self._loop,), name=self._name, daemon=True
            ).start()
        return self._loop

    @property
    def is_busy(self) -> bool:
        """Whether something runs there that cannot be cancelled, also after `close`."""
        return self._is_stalled or self._threads.is_busy

    async def close(self) -> None:
        """Cancel what runs there, wait at most `CLOSE_SECONDS` for it, and end the thread.

        A thread that does not react within `STALL_SECONDS` is left to end with the process.
        """
        self._is_closed = True
        loop, self._loop = self._loop, None
        if loop is None:
            return
        reacted = asyncio.Event()
        reader = asyncio.get_running_loop()
        loop.call_soon_threadsafe(_call, reader, reacted.set)
        self._is_stalled = True
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                await reacted.wait()
            self._is_stalled = False
            cancelled = asyncio.run_coroutine_threadsafe(_cancel_tasks(), loop)
            await asyncio.wait({asyncio.wrap_future(cancelled)}, timeout=CLOSE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)

    async def iterate(
        self, make: Callable[[], AsyncGenerator[T, None]], *, buffer: int = 64
    ) -> AsyncGenerator[T, None]:
        """Iterate on the thread's loop over the generator that `make` returns there.

        See `iterate_on`.
        """
        async with aclosing(iterate_on(self.start(), make, buffer=buffer)) as items:
            async for item in items:
                yield item

    async def run(self, make: Callable[[], Awaitable[T]]) -> T:
        """Await on the thread's loop what `make` returns there, and return its result."""

        async def results() -> AsyncGenerator[T, None]:
            yield await make()

        async with aclosing(self.iterate(results)) as items:
            return await anext(items)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._is_closed:
            # A tool that calls `sys.exit` ends its own run, not everybody's.
            with suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
        loop.close()


async def iterate_on(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], AsyncGenerator[T, None]],
    *,
    buffer: int = 64,
) -> AsyncGenerator[T, None]:
    """Iterate on another loop, or as another task on this one.

    What the generator raises is raised here. Closing or cancelling this side cancels the
    generator's task there (it sees `CancelledError`), and waits for its end: at most
    `CLOSE_SECONDS`, and `STALL_SECONDS` where the loop does not react. The generator is then
    closed as soon as the loop is free. The context variables of the caller hold there too.

    Args:
        loop: Where the generator runs.
        make: Called on that loop.
        buffer: Items that may wait for this side before the generator is paused.

    """
    crossing = _Crossing(loop, make, buffer)
    try:
        while True:
            items, is_last = await crossing.take()
            for item in items:
                yield item
            if is_last:
                break
        crossing.raise_error()
    finally:
        await crossing.close()


class _Crossing(Generic[T]):
    """The items of a generator on their way from its loop to its reader's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], AsyncGenerator[T, None]],
        buffer: int,
    ) -> None:
        """Start the generator's task. See `iterate_on`."""
        self._loop = loop
        self._reader = asyncio.get_running_loop()
        self._make = make
        self._buffer = buffer
        self._lock = threading.Lock()
        self._items: list[T] = []
        self._is_waking = False
        """Whether the reader will be woken for what is in `_items`."""
        self._space = asyncio.Event()
        self._arrived = asyncio.Event()
        self._reacted = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        loop.call_soon_threadsafe(self._start, context=context)

    async def take(self) -> tuple[list[T], bool]:
        """Wait for items, and return all that there are, and whether they are the last."""
        await self._arrived.wait()
        self._arrived.clear()
        is_last = self._ended.is_set()
        with self._lock:
            items, self._items = self._items, []
            self._is_waking = False
        if len(items) >= self._buffer:
            _call(self._loop, self._space.set)
        return items, is_last

    def raise_error(self) -> None:
        """Raise what the generator raised, if it did."""
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:
            # Raised as it is, it would cancel this task, or end this process.
            raise RuntimeError(f"the run ended by {type(self._error).__name__}") from self._error

    async def close(self) -> None:
        """Cancel the task unless it has ended, and wait for it within the limits."""
        if self._ended.is_set():
            return
        _call(self._loop, self._cancel)
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                await self._reacted.wait()
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._ended.wait()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._produce())
        self._task.add_done_callback(self._end)

    async def _produce(self) -> None:
        async with aclosing(self._make()) as generator:
            async for item in generator:
                await self._put(item)

    async def _put(self, item: T) -> None:
        with self._lock:
            self._items.append(item)
            is_full = len(self._items) >= self._buffer
            if is_full:
                self._space.clear()
            is_waking, self._is_waking = self._is_waking, True
        if not is_waking:
            _call(self._reader, self._arrived.set)
        if is_full:
            await self._space.wait()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        _call(self._reader, self._reacted.set)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._error = asyncio.CancelledError() if task.cancelled() else task.exception()
        _call(self._reader, self._finish)

    def _finish(self) -> None:
        self._ended.set()
        self._reacted.set()
        self._arrived.set()


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody is left there
        loop.call_soon_threadsafe(callback)


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
