"""A store on a real file, and short ways to do what a turn does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from chatkeep.domain.model import Completion, Status, SystemPrompts, TurnRequest
from chatkeep.store import idempotency, turn_creation, turns
from chatkeep.store.database import Store
from chatkeep.store.opening import make_store
from tests.turn_requests import turn_request

RUNNER = turns.RunnerConfig("test", "openai:any", SystemPrompts("Be kind."), 5)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    opened = open_store(database, readers=4, write_queue=1_000)
    yield opened
    opened.close()


def open_store(url: str, *, readers: int = 1, write_queue: int = 10) -> Store:
    store = make_store(url, readers=readers, write_queue=write_queue)
    store.open()
    return store


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work()

    return asyncio.run(main())


async def accept(
    store: Store,
    session_id: str,
    message: str | None = None,
    at: int = 1,
    max_queued: int = 16,
    **more: Any,
) -> turn_creation.CreatedTurn:
    request = turn_request(session_id, f"{message} {more}".encode(), message, **more)
    accepted = await post(store, request, at=at, max_queued=max_queued)
    assert isinstance(accepted, turn_creation.CreatedTurn)
    return accepted


async def post(
    store: Store,
    request: TurnRequest,
    *,
    at: int = 1,
    max_queued: int = 16,
    tenant: str = "default",
) -> turn_creation.CreatedTurn | idempotency.DuplicateRequest:
    return await store.write(
        turn_creation.create_turn,
        tenant=tenant,
        request=request,
        ids=turn_creation.NewIds.of(request),
        runner=RUNNER,
        max_queued=max_queued,
        make_title=lambda _message, _at: "Some first title",
        at=at,
    )


async def end(
    store: Store,
    turn_id: str,
    text: str = "An answer.",
    status: Status = Status.COMPLETED,
    at: int = 1,
    attempt: int = 1,
) -> turns.Ended | None:
    outcome = turns.TurnEnd(status, text, Completion())
    return await store.write(
        turns.finish_turn,
        turn_id=turn_id,
        owner=RUNNER.owner,
        attempt=attempt,
        outcome=outcome,
        runner=RUNNER,
        at=at,
    )


async def cancel(store: Store, turn_id: str) -> Status:
    return await store.write(
        turn_creation.cancel,
        tenant="default",
        turn_id=turn_id,
        error_code="turn-cancelled",
        error_detail="Stopped.",
        at=1,
    )
