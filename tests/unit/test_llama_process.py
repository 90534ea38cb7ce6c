"""The embedded model's answers: so many at a time, so many that wait, one process for all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from chatkeep import telemetry
from chatkeep.domain.errors import ModelBusy, ModelFailed
from chatkeep.providers import llama_process
from chatkeep.providers.llama_process import LlamaConfig, LlamaProcess
from chatkeep.providers.protocol import Address

PARALLEL = 2
ADDRESS = Address("http://127.0.0.1:1", "a key")


class Process(LlamaProcess):
    """Starts nothing, but counts how often it would."""

    def __init__(self) -> None:
        config = LlamaConfig(
            path=Path("model.gguf"), threads=0, context_tokens=512, parallel=PARALLEL, max_tokens=1
        )
        super().__init__("a model", config)
        self.starts = 0
        self.loaded = asyncio.Event()

    async def _launch(self) -> Address:
        self.starts += 1
        telemetry.logger("test").warning("launched")
        await self.loaded.wait()
        return ADDRESS


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(work: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(main())


async def answer(process: Process, number: int, writing: list[int]) -> None:
    """Write until cancelled."""
    async with process.slot() as address:
        assert address == ADDRESS
        writing.append(number)
        await asyncio.Event().wait()


def test_as_many_answers_are_written_at_a_time_as_are_set_and_the_next_follows() -> None:
    async def work() -> None:
        process, writing = Process(), list[int]()
        process.loaded.set()
        answers = [asyncio.create_task(answer(process, n, writing)) for n in range(PARALLEL + 1)]
        await settled()
        assert writing == [0, 1]
        answers[0].cancel()
        await settled()
        assert writing == [0, 1, 2]
        answers[1].cancel()
        answers[2].cancel()

    run(work)


def test_one_answer_too_many_is_refused_and_those_that_wait_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        assert llama_process.WAITING_ANSWERS == 256
        monkeypatch.setattr(llama_process, "WAITING_ANSWERS", 3)
        process, writing = Process(), list[int]()
        process.loaded.set()
        answers = [asyncio.create_task(answer(process, n, writing)) for n in range(PARALLEL + 3)]
        await settled()
        refused = asyncio.create_task(answer(process, 99, writing))
        await settled()
        assert refused.done()
        error = refused.exception()
        assert isinstance(error, ModelBusy)
        assert error.retry_after == 10
        # One that stops waiting makes way for another.
        answers[-1].cancel()
        await settled()
        answers.append(asyncio.create_task(answer(process, 5, writing)))
        await settled()
        for number in range(PARALLEL + 1):
            answers[number].cancel()
            await settled()
        assert writing == [0, 1, 2, 3, 5]
        for task in answers:
            task.cancel()

    run(work)


def test_one_start_serves_all_and_outlives_a_caller_that_is_cancelled() -> None:
    async def work() -> None:
        process = Process()
        starts = [asyncio.create_task(process.start()) for _ in range(3)]
        await settled()
        starts[0].cancel()
        await settled()
        process.loaded.set()
        assert await asyncio.gather(*starts[1:]) == [ADDRESS, ADDRESS]
        assert process.starts == 1

    run(work)


def test_a_closed_process_starts_no_more() -> None:
    async def work() -> None:
        process = Process()
        await process.close()
        with pytest.raises(ModelFailed):
            await process.start()

    run(work)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs([merge_contextvars]) as captured:
        yield captured


def test_the_log_lines_of_the_process_are_not_those_of_the_turn_that_started_it(
    lines: list[Any],
) -> None:
    async def work() -> None:
        process = Process()
        process.loaded.set()
        with telemetry.bound(turn_id="turn_1"):
            await process.start()

    run(work)
    (launched,) = lines
    assert launched["event"] == "launched"
    assert "turn_id" not in launched
