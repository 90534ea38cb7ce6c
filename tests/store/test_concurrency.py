"""What several processes do to one session at the same time, each with a store of its own."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import IdempotencyKeyReused
from chatkeep.domain.model import Status, TurnRequest
from chatkeep.store import deletion, idempotency, turn_creation, turn_records
from chatkeep.store.database import Store
from tests.store.conftest import accept, cancel, end, open_store, post, run
from tests.turn_requests import turn_request

ROUNDS = 20


@pytest.fixture
def stores(postgres_url: str) -> Iterator[tuple[Store, Store]]:
    """Two processes at one database."""
    both = open_store(postgres_url, write_queue=1_000), open_store(postgres_url, write_queue=1_000)
    yield both
    for store in both:
        store.close()


async def together(*work: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


async def deadlocks(store: Store) -> int:
    """How often PostgreSQL has ended a transaction because two waited for each other."""
    statement = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"

    def read(conn: sa.Connection) -> int:
        return int(conn.exec_driver_sql(statement).scalar_one())

    return await store.read(read)


def test_an_end_and_a_deletion_at_once_do_not_wait_for_each_other(
    stores: tuple[Store, Store],
) -> None:
    async def work() -> None:
        one, other = stores
        for number in range(ROUNDS):
            name = f"s{number}"
            turn = (await accept(one, name, "hello")).turn
            delete = other.write(
                deletion.soft_delete, tenant="default", session_id=name, actor="test", at=2
            )
            ended, removed = await together(end(one, turn.turn_id), delete)
            assert not isinstance(ended, Exception), ended
            assert isinstance(removed, deletion.Removed), removed
        assert await deadlocks(one) == 0

    run(work)


def test_a_cancel_beside_the_start_of_a_turn_changes_only_a_turn_that_waits(
    stores: tuple[Store, Store],
) -> None:
    async def work() -> None:
        one, other = stores
        for number in range(ROUNDS):
            name = f"s{number}"
            first = (await accept(one, name, "first")).turn
            second = (await accept(one, name, "second")).turn
            ended, before = await together(end(one, first.turn_id), cancel(other, second.turn_id))
            assert not isinstance(ended, Exception), ended
            stored = await one.read(turn_records.find, tenant="default", turn_id=second.turn_id)
            if ended.following is not None:
                # It was started, and what is running is not cancelled here.
                assert (before, stored.record.status) == (Status.RUNNING, Status.RUNNING)
            else:
                assert (before, stored.record.status) == (Status.QUEUED, Status.CANCELLED)

    run(work)


@pytest.mark.parametrize("is_same", [True, False])
def test_one_key_for_two_new_sessions_makes_one_turn(
    stores: tuple[Store, Store], is_same: bool
) -> None:
    def request(number: int, place: int) -> TurnRequest:
        name, digest = (0, b"same") if is_same else (place, str(place).encode())
        return turn_request(f"s{number}-{name}", digest, "hello", idempotency_key=f"key-{number}")

    async def work() -> None:
        for number in range(ROUNDS):
            made = await together(
                *(post(store, request(number, place)) for place, store in enumerate(stores))
            )
            other = idempotency.DuplicateRequest if is_same else IdempotencyKeyReused
            assert {type(result) for result in made} == {turn_creation.CreatedTurn, other}, made

    run(work)


def test_many_first_messages_at_once_make_one_session_and_one_order(
    stores: tuple[Store, Store],
) -> None:
    async def work() -> None:
        posts = [accept(stores[n % 2], "s", f"message {n}", max_queued=100) for n in range(ROUNDS)]
        made = await together(*posts)
        assert all(isinstance(each, turn_creation.CreatedTurn) for each in made), made
        running = [each for each in made if each.turn.status is Status.RUNNING]
        assert len(running) == 1
        ended = await end(stores[0], running[0].turn.turn_id)
        order = []
        while ended is not None and ended.following is not None:
            order.append(ended.following.messages[-1].text)
            ended = await end(stores[1], ended.following.turn.turn_id)
        assert len(order) == ROUNDS - 1 == len(set(order))

    run(work)


def test_whoever_lost_a_turn_cannot_end_it(stores: tuple[Store, Store]) -> None:
    async def work() -> None:
        one, other = stores
        turn = (await accept(one, "s", "hello")).turn
        assert await end(other, turn.turn_id, "An older attempt.", attempt=0) is None
        assert await end(one, turn.turn_id, "The right one.") is not None
        assert await end(other, turn.turn_id, "Too late.") is None

    run(work)
