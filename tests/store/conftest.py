"""A store on a real file, and short ways to do what a turn does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatkeep.domain import Completion, Status, TurnOptions
from chatkeep.store import Store, turns

DEFAULTS: dict[str, Any] = {
    "tenant": "default",
    "options": TurnOptions(),
    "default_model": "openai:any",
    "context_messages": 5,
    "max_queued": 16,
    "make_title": lambda _message, _at: "Some first title",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/chatkeep.db", readers=2, write_queue=1_000)
    yield opened
    opened.close()


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work()

    return asyncio.run(main())


async def accept(
    store: Store, session_id: str, message: str, at: int = 1, **more: Any
) -> turns.Accepted:
    return await store.write(
        turns.accept, session_id=session_id, message=message, at=at, **{**DEFAULTS, **more}
    )


async def end(
    store: Store,
    turn_id: str,
    text: str = "An answer.",
    status: Status = Status.COMPLETED,
    at: int = 1,
) -> turns.Ended | None:
    outcome = turns.Outcome(status, text, Completion())
    return await store.write(turns.end, turn_id=turn_id, outcome=outcome, context_messages=5, at=at)
