"""What is PostgreSQL's own: errors that come late, and connections that are lost."""

import asyncio
import functools
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.domain.model import Status
from chatkeep.store import events, rows, session_messages, turn_creation
from chatkeep.store.database import Store
from chatkeep.store.prepared import PreparedSelect, PreparedStatement, pipelined
from tests.conftest import Databases
from tests.pgproxy import Frame, PostgresProxy
from tests.postgres import change, query
from tests.store.conftest import RUNNER, accept, end, open_store, run
from tests.store.test_session_messages import params, user
from tests.turn_requests import turn_request

CONFLICT = PreparedStatement(
    sa.text(
        "DO $$ BEGIN RAISE unique_violation USING CONSTRAINT = 'uq_messages_search_key'; END $$"
    )
)
FAILS = PreparedStatement(sa.text("SELECT 1 / 0"))
WRONG = PreparedStatement(sa.text("SELECT of_no_column"))


class Text(NamedTuple):
    text: str


ECHO = PreparedSelect(sa.select(sa.bindparam("given", type_=sa.Text).label("text")), Text)


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    url = databases.create("postgresql")
    yield url
    databases.drop(url)


def test_a_conflict_that_comes_with_the_commit_runs_the_transaction_again(store: Store) -> None:
    runs = 0

    @pipelined
    def work(conn: sa.Connection) -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            CONFLICT.run(conn, {})
        return runs

    async def main() -> None:
        assert await store.write(work) == 2
        assert await store.read(lambda conn: conn.execute(sa.text("SELECT 1")).scalar()) == 1

    run(main)


def test_an_error_is_raised_whenever_it_comes_and_harms_no_other_transaction(store: Store) -> None:
    @pipelined
    def work(conn: sa.Connection) -> None:
        FAILS.run(conn, {})

    async def main() -> None:
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                await store.write(work)
        turn = (await accept(store, "s", "hello")).turn
        assert await end(store, turn.turn_id) is not None

    run(main)


def test_a_statement_that_cannot_be_prepared_fails_each_time_by_itself(store: Store) -> None:
    @pipelined
    def wrong(conn: sa.Connection) -> None:
        # Of these none is executed, and the last is not prepared either.
        WRONG.run(conn, {})
        ECHO.first(conn, {"given": "a"})

    async def main() -> None:
        for _ in range(20):
            with pytest.raises(StoreUnavailable):
                await store.write(wrong)
            assert await store.write(ECHO.first, {"given": "b"}) == ("b",)

    run(main)


def test_more_statements_than_wait_for_an_answer_are_all_answered(store: Store) -> None:
    texts = [f"{number}: " + "é" * 10_000 for number in range(250)]

    @pipelined
    def work(conn: sa.Connection) -> list[str]:
        answers = [ECHO.ask(conn, {"given": text}) for text in texts]
        return [answer.one().text for answer in answers]

    async def main() -> None:
        assert await store.write(work) == texts
        assert await store.read(work) == texts

    run(main)


def test_a_statement_of_sqlalchemy_comes_after_those_before_it(store: Store) -> None:
    number = sa.text("SELECT title FROM sessions WHERE session_id = 's'")

    @pipelined
    def work(conn: sa.Connection) -> list[str | None]:
        rows.update_session(conn, 1, {"title": "first"})
        seen = [conn.scalar(number)]
        rows.update_session(conn, 1, {"title": "second"})
        return [*seen, conn.scalar(number)]

    async def main() -> None:
        await accept(store, "s", "hello")
        assert await store.write(work) == ["first", "second"]

    run(main)


def test_a_text_with_u0000_is_refused_and_harms_nothing(store: Store) -> None:
    async def main() -> None:
        for function in (ECHO.first, pipelined(ECHO.all)):
            with pytest.raises(StoreUnavailable):
                await store.write(function, {"given": "a\0b"})
        assert await store.read(ECHO.first, {"given": ""}) == ("",)

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


def test_statements_are_prepared_anew_where_their_table_has_changed(
    store: Store, database: str
) -> None:
    async def together() -> None:
        await asyncio.gather(*(accept(store, f"s{n}", "hello", max_queued=99) for n in range(16)))

    async def main() -> None:
        for _ in range(8):
            await together()
        change(database, "ALTER TABLE sessions ALTER title TYPE varchar(9999)")
        for _ in range(4):
            await together()
        await store.write(lambda conn: conn.execute(sa.text("DEALLOCATE ALL")))
        for _ in range(4):
            await together()

    run(main)


@pytest.fixture
def proxy(databases: Databases, database: str) -> Iterator[PostgresProxy]:
    with PostgresProxy(databases.cluster, database) as running:
        yield running


SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON {} DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()
"""
"""A commit that takes its time, as where a disk or a standby is slow."""


def cut_at_commit(proxy: PostgresProxy) -> None:
    """Cut the connection while the server is at the next commit."""

    def watch(frame: Frame) -> None:
        if not frame.is_answer and b"COMMIT" in frame.body:
            proxy.watch = lambda _: None
            threading.Timer(0.3, proxy.cut).start()

    proxy.watch = watch


def test_a_turn_whose_commit_goes_on_without_its_connection_is_made_and_cancelled_once(
    proxy: PostgresProxy, database: str
) -> None:
    store = open_store(proxy.url)
    request = turn_request("s", b"digest", "hello", idempotency_key="key")
    ids = turn_creation.NewIds()

    async def main() -> None:
        await accept(store, "s", "first")
        change(database, SLOW.format("turns"))
        cut_at_commit(proxy)
        made = await store.write_once(
            turn_creation.create_turn,
            turn_creation.is_created,
            tenant="default",
            request=request,
            ids=ids,
            runner=RUNNER,
            max_queued=9,
            make_title=lambda *_: "",
            at=1,
        )
        assert isinstance(made, turn_creation.CreatedTurn)
        cut_at_commit(proxy)
        before = await store.write_once(
            turn_creation.cancel,
            functools.partial(turn_creation.is_cancelled, turn_id=ids.turn),
            tenant="default",
            turn_id=ids.turn,
            error_code="",
            error_detail="",
            at=2,
        )
        assert before is Status.QUEUED

    run(main)
    store.close()


def test_messages_whose_commit_goes_on_without_its_connection_are_added_and_removed_once(
    proxy: PostgresProxy, database: str
) -> None:
    store = open_store(proxy.url)

    async def main() -> None:
        change(database, SLOW.format("sessions"))
        cut_at_commit(proxy)
        made = await store.write_once(
            session_messages.create,
            session_messages.is_created,
            **params("s", (user("one"),), at=1),
            metadata={},
        )
        assert made.is_new
        cut_at_commit(proxy)
        added = await store.write_once(
            session_messages.append,
            session_messages.is_appended,
            **params("s", (user("two"),), at=2),
        )
        cut_at_commit(proxy)
        (last,) = added.messages
        record = await store.write_once(
            session_messages.remove_last,
            functools.partial(session_messages.is_removed, tenant="default", message_id=last.id),
            tenant="default",
            session_id="s",
            message_id=last.id,
            at=3,
        )
        assert (record.message_count, record.head) == (1, last.parent_id)

    run(main)
    store.close()
    assert query(database, "SELECT content FROM messages") == [("one",)]


@pytest.mark.parametrize("is_first", [True, False])
def test_an_event_whose_commit_goes_on_without_its_connection_is_added_once(
    proxy: PostgresProxy, database: str, is_first: bool
) -> None:
    store = open_store(proxy.url)

    async def add(name: str) -> dict[str, int]:
        batch = {"default": [events.NewEvent(name, "s", "{}")]}
        return await store.exchange_once(
            events.add,
            functools.partial(events.is_added, events=batch, run_id="run"),
            events=batch,
            erased={},
            run_id="run",
            kept=100,
        )

    async def main() -> None:
        if not is_first:
            await add("before")
        change(database, SLOW.format("events"))
        cut_at_commit(proxy)
        last = await add("event")
        assert query(database, "SELECT seq FROM events WHERE name = 'event'") == [
            (last["default"],)
        ]

    run(main)
    store.close()
