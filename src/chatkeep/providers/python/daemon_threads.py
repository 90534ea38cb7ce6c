"""Threads for functions that are not async, which do not keep a process from ending."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """A pool whose threads die with the process.

    Python waits at its end for the threads of every other pool, however long a tool works. An event
    loop takes only such a pool as its own, hence the base class, of which nothing else is used.
    """

    def __init__(self, most: int, name: str) -> None:
        """Make a pool of at most so many threads, each of which is made when it is needed."""
        super().__init__(1)
        self._most, self._name = most, name
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._count = self._idle = self._busy = 0

    @property
    def is_busy(self) -> bool:
        """Whether a function runs, or waits for a thread."""
        return self._busy > 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in one of the threads, as soon as one is free."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            # Whatever it raises is for who waits, `SystemExit` too.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)

        with self._lock:
            self._busy += 1
            needs_thread = self._busy > self._count and self._count < self._most
            self._count += needs_thread
        self._jobs.put(work)
        if needs_thread:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    # The parameters are those of the base class.
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002  (as it has them)
        """Let each thread end when it is free. Nothing is waited for."""
        with self._lock:
            count = self._count
        for _ in range(count):
            self._jobs.put(None)

    def _run(self) -> None:
        while (work := self._jobs.get()) is not None:
            try:
                work()
            finally:
                with self._lock:
                    self._busy -= 1
