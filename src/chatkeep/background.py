"""The work of this process that no request waits for, in one supervised group of tasks."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError

logger = telemetry.logger("background")

T = TypeVar("T")


class BackgroundTasks:
    """Tasks by the name of their owner, which alone waits for them or cancels them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: dict[str, set[asyncio.Task[Any]]] = {}

    def spawn(self, owner: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` on its own: it goes on when whoever asked for it goes away.

        What it raises is logged, except for errors that have a name (`ChatError`): these are
        answers, for whoever awaits the task.

        Args:
            owner: Part of the server that `drain` and `cancel` will name.
            work: Coroutine that nobody has awaited yet.

        """
        task = asyncio.create_task(work, name=owner)
        self._tasks.setdefault(owner, set()).add(task)
        task.add_done_callback(self._forget)
        return task

    async def drain(self, owner: str, seconds: float) -> None:
        """Wait at most `seconds` until the owner has no tasks, those included that it adds now."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (tasks := self._tasks.get(owner)) and (left := deadline - loop.time()) > 0:
            await asyncio.wait(tasks, timeout=left)

    async def cancel(self, owner: str) -> None:
        """Cancel the owner's tasks, and wait until they have ended."""
        tasks = list(self._tasks.get(owner, ()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        owner = task.get_name()
        self._tasks[owner].discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ChatError):
            logger.error("background_task_failed", owner=owner, exc_info=error)
