"""Background tasks: supervised, awaited by their owner, and never lost without a log line."""

import asyncio

import pytest
from structlog.testing import capture_logs

from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ModelFailed


async def fail(error: Exception) -> None:
    raise error


def test_a_task_that_fails_is_logged_with_its_owner() -> None:
    async def work() -> None:
        tasks = BackgroundTasks()
        task = tasks.spawn("turns", fail(RuntimeError("broken")))
        await asyncio.wait({task})

    with capture_logs() as lines:
        asyncio.run(work())
    [line] = lines
    assert (line["event"], line["owner"]) == ("background_task_failed", "turns")
    assert str(line["exc_info"]) == "broken"


def test_an_error_with_a_name_is_for_whoever_awaits_the_task() -> None:
    async def work() -> None:
        with pytest.raises(ModelFailed):
            await BackgroundTasks().spawn("turns", fail(ModelFailed()))

    with capture_logs() as lines:
        asyncio.run(work())
    assert lines == []


def test_draining_waits_for_tasks_that_are_added_meanwhile() -> None:
    async def work() -> None:
        tasks, ended = BackgroundTasks(), []

        async def second() -> None:
            await asyncio.sleep(0)
            ended.append("second")

        async def first() -> None:
            await asyncio.sleep(0)
            tasks.spawn("turns", second())
            ended.append("first")

        tasks.spawn("turns", first())
        await tasks.drain("turns", 60)
        assert ended == ["first", "second"]

    asyncio.run(work())


def test_draining_ends_in_time_and_only_the_owners_tasks_are_cancelled() -> None:
    async def work() -> None:
        tasks = BackgroundTasks()
        turn = tasks.spawn("turns", asyncio.Event().wait())
        title = tasks.spawn("titles", asyncio.Event().wait())
        await tasks.drain("turns", 0.001)
        assert not turn.done()
        await tasks.cancel("turns")
        assert turn.cancelled()
        assert not title.done()
        await tasks.cancel("titles")
        await tasks.cancel("nobody")

    asyncio.run(work())
