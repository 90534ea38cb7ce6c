"""What several processes do to one session at the same time, each with a store of its own."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import IdempotencyKeyReused
from chatkeep.domain.model import Status, TurnRequest
from chatkeep.store import (
    deletion,
    idempotency,
    session_messages,
    turn_creation,
    turn_records,
)
from chatkeep.store.database import Store
from tests.store.conftest import accept, cancel, end, open_store, post, run
from tests.store.test_session_messages import append, branch, create, remove, user
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


def test_messages_that_several_processes_add_at_once_follow_each_other(
    stores: tuple[Store, Store],
) -> None:
    async def work() -> None:
        await create(stores[0], "s", user("begin"))
        adds = [append(stores[n % 2], "s", user(f"{n}"), user(f"{n}!")) for n in range(ROUNDS)]
        made = await together(*adds)
        assert all(isinstance(each, session_messages.AppendedMessages) for each in made), made
        listed = (await branch(stores[0], "s")).items
        assert len(listed) == 1 + 2 * ROUNDS
        pairs = zip(listed[1::2], listed[2::2], strict=True)
        assert all(second.content == f"{first.content}!" for first, second in pairs)

        last = [listed[-1].id] * 2
        removed = await together(*(remove(each, "s", last.pop()) for each in stores))
        assert [isinstance(each, Exception) for each in removed].count(True) == 1
        assert len((await branch(stores[0], "s")).items) == 2 * ROUNDS

    run(work)


def test_one_session_that_two_processes_create_at_once_is_new_once(
    stores: tuple[Store, Store],
) -> None:
    async def work() -> None:
        for number in range(ROUNDS):
            creations = (
                create(each, f"s{number}", user("hello"), at=at)
                for at, each in enumerate(stores, 1)
            )
            made = await together(*creations)
            assert sorted(each.is_new for each in made) == [False, True], made
            assert made[0].session == made[1].session
            assert len((await branch(stores[0], f"s{number}")).items) == 1

    run(work)
