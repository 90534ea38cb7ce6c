"""What is PostgreSQL's own: errors that come late, and connections that are lost."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store.database import Store
from chatkeep.store.prepared import pipelined
from tests.conftest import Databases
from tests.store.conftest import accept, end, open_store, run

CONFLICT = "DO $$ BEGIN RAISE unique_violation USING CONSTRAINT = 'uq_messages_search_key'; END $$"


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    url = databases.create("postgresql")
    yield url
    databases.drop(url)


def driver(conn: sa.Connection) -> Any:
    return conn.connection.driver_connection


def test_a_conflict_that_comes_with_the_commit_runs_the_transaction_again(store: Store) -> None:
    runs = 0

    @pipelined
    def work(conn: sa.Connection) -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            driver(conn).execute(CONFLICT)
        return runs

    async def main() -> None:
        assert await store.write(work) == 2
        assert await store.read(lambda conn: driver(conn).execute("SELECT 1").fetchone()) == (1,)

    run(main)


def test_an_error_is_raised_whenever_it_comes_and_harms_no_other_transaction(store: Store) -> None:
    @pipelined
    def work(conn: sa.Connection) -> None:
        driver(conn).execute("SELECT 1 / 0")

    async def main() -> None:
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                await store.write(work)
        turn = (await accept(store, "s", "hello")).turn
        assert await end(store, turn.turn_id) is not None

    run(main)


def test_turns_go_on_after_all_connections_were_ended(store: Store, database: str) -> None:
    ends = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    async def main() -> None:
        other = open_store(database)
        for number in range(5):
            await asyncio.gather(*(accept(store, f"s{number}-{n}", "hello") for n in range(8)))
            await other.write(lambda conn: conn.execute(ends).all())
            made = await asyncio.gather(
                *(accept(store, f"t{number}-{n}", "hello") for n in range(8))
            )
            assert len({each.turn.turn_id for each in made}) == 8
        other.close()

    run(main)
