"""A database that is copied into another one: every row, in both directions, or none."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from chatkeep.domain.model import Call, CallKind, Completion, FileContent, Scope, Status
from chatkeep.store import (
    deletion,
    idempotency,
    keys,
    leases,
    moving,
    sessions,
    tenants,
    turns,
)
from chatkeep.store.database import Store
from chatkeep.store.moving import TABLES, NotMoved, move
from chatkeep.store.search import hits, index
from chatkeep.store.search.query import parse_query
from chatkeep.store.tables import messages as messages_table
from chatkeep.store.tables import sessions as sessions_table
from tests.conftest import Databases
from tests.store.conftest import RUNNER, accept, end, open_store, post, run
from tests.turn_requests import turn_request

DELETED = 2
"""Sessions with the highest numbers."""

OTHER = {"sqlite": "postgresql", "postgresql": "sqlite"}
KEY = keys.NewKey("k", "acme", "alice", "a key", Scope.CHAT, ("openai:any",), 9_000)
SECRET = keys.NewSecret(bytes(range(32)), "k", "ckp", None, Scope.CHAT, None, "ckp_…", None)


@pytest.fixture
def target(database: str, databases: Databases) -> Iterator[str]:
    """An empty database of the other kind."""
    url = databases.create(OTHER[database.partition(":")[0]])
    yield url
    databases.drop(url)


async def fill(store: Store) -> None:
    """Make rows of every table, some of them as a process that was killed leaves them."""
    await store.write(tenants.create, tenant="acme", actor="test", at=1)
    await store.write(keys.create, key=KEY, secret=SECRET, actor="test", at=2)
    for number in range(3):
        turn = (await accept(store, "trip", f"Où est la gare {number}? 東京", at=1_000)).turn
        call = Call(CallKind.REPLY, "openai:any", Status.COMPLETED, 3, 4, is_estimated=False)
        outcome = turns.TurnEnd(Status.COMPLETED, "Über dort.", Completion(), calls=(call,))
        params: Any = {"turn_id": turn.turn_id, "owner": "test", "attempt": 1, "outcome": outcome}
        await store.write(turns.finish_turn, runner=RUNNER, at=1_000, **params)
    picture = FileContent(bytes(range(32)).hex(), "image/png", bytes(range(256)))
    seen = (await accept(store, "seen", "a picture", at=1_500, files=(picture,))).turn
    await end(store, seen.turn_id, at=1_500)
    await accept(store, "trip", "runs still", at=2_000, idempotency_key="again")
    await accept(store, "trip", "waits for it", at=2_001)
    for name in ("deleted", "purged"):
        text, key = f"the canary is {name}", f"key of {name}"
        turn = (await accept(store, name, text, at=3_000, idempotency_key=key)).turn
        await end(store, turn.turn_id, at=3_001)
    purged: Any = {"tenant": "default", "session_id": "purged", "actor": "test", "at": 4_000}
    await store.write(deletion.soft_delete, **purged)
    while await store.write(deletion.purge_rows, limit=10):
        pass
    await store.write(deletion.soft_delete, **purged | {"session_id": "deleted"})


async def has_words(store: Store, words: str) -> list[str | None]:
    """The sessions in which these words are found."""
    cursor = hits.SearchCursor()
    query = hits.Query(parse_query(words))
    page = await store.read(hits.find, tenant="default", query=query, limit=50, cursor=cursor)
    return [hit.session_id for hit in page.items]


def rows(conn: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row, without the keys of the index."""
    tables = {}
    for table in TABLES:
        of_table = conn.execute(sa.select(table).order_by(*table.primary_key)).mappings()
        tables[table.name] = [
            {name: value for name, value in row.items() if name != "search_key"} for row in of_table
        ]
    return tables


def entries_with(conn: sa.Connection, words: str) -> int:
    """How many messages of the index have these words, also those that nobody sees."""
    scope = [index.tenant_word("default")]
    params = {"since": 0, "before": 2**62, "titles": 0, "limit": 50}
    return len(index.newest_keys(conn, parse_query(words), scope, [], params))


def keys_of_index(conn: sa.Connection) -> list[int]:
    columns = (messages_table.c.search_key, sessions_table.c.search_key)
    return [key for column in columns for key in conn.scalars(sa.select(column)) if key is not None]


def contents(url: str) -> dict[str, list[dict[str, Any]]]:
    store = open_store(url)
    every_row: dict[str, list[dict[str, Any]]] = run(lambda: store.read(rows))
    store.close()
    return every_row


def test_every_row_is_in_the_other_database(database: str, target: str) -> None:
    store = open_store(database)
    run(lambda: fill(store))
    store.close()
    before = contents(database)
    assert all(before.values()), "a table is not tried"

    summaries = move(database, target)

    assert {summary.table: summary.rows for summary in summaries} == {
        name: len(of_table) for name, of_table in before.items()
    }
    assert contents(target) == before
    assert contents(database) == before


def test_what_was_found_is_found_and_what_is_deleted_leaves_the_new_index(
    database: str, target: str
) -> None:
    async def work(store: Store) -> None:
        assert await has_words(store, "gare") == ["trip"] * 3
        assert await has_words(store, "東京") == ["trip"] * 3
        assert await has_words(store, "uber dort") == ["trip"] * 3
        assert await has_words(store, "canary") == []
        assert await store.read(entries_with, "canary") == 1
        for key in await store.read(keys_of_index):
            assert key >= await store.read(index.first_key, 1_000)
        while await store.write(deletion.purge_rows, limit=10):
            pass
        assert await store.read(entries_with, "canary") == 0

    source = open_store(database)
    run(lambda: fill(source))
    source.close()
    move(database, target)
    store = open_store(target)
    run(lambda: work(store))
    store.close()


def test_a_client_goes_on_at_the_new_database_where_it_was(database: str, target: str) -> None:
    async def work(store: Store) -> None:
        (orphan,) = await store.read(leases.orphans, limit=5)
        ended = await end(store, orphan.id, at=5_000)
        assert ended is not None
        assert ended.following is not None
        again = await accept_again(store)
        assert isinstance(again, idempotency.DuplicateRequest)
        highest = max(row["pk"] for row in (await store.read(rows))["sessions"])
        await accept(store, "new", "hello")
        new = await store.write(sessions.find, tenant="default", session_id="new")
        assert new is not None
        # Not the number of one that was deleted either.
        assert new.pk == highest + 1 + DELETED

    async def delete_newest(store: Store) -> None:
        for number in range(DELETED):
            await accept(store, f"newest {number}", "hello")
        await store.write(delete_rows)

    def delete_rows(conn: sa.Connection) -> None:
        newest = sessions_table.c.session_id.startswith("newest")
        conn.execute(sessions_table.delete().where(newest))

    source = open_store(database)
    run(lambda: fill(source))
    run(lambda: delete_newest(source))
    source.close()
    move(database, target)
    store = open_store(target)
    run(lambda: work(store))
    store.close()


async def accept_again(store: Store) -> Any:
    message, more = "runs still", {"idempotency_key": "again"}
    request = turn_request("trip", f"{message} {more}".encode(), message, idempotency_key="again")
    return await post(store, request, at=6_000)


def test_there_and_back_is_the_same(database: str, target: str, databases: Databases) -> None:
    source = open_store(database)
    run(lambda: fill(source))
    source.close()
    third = databases.create(database.partition(":")[0])

    there, back = move(database, target), move(target, third)

    assert there == back
    assert contents(third) == contents(database)
    databases.drop(third)


def test_more_rows_than_are_in_memory_at_a_time_are_copied_with_a_key_each(
    database: str, target: str
) -> None:
    """All of one time, as an import may have them."""

    async def work(store: Store) -> None:
        for number in range(moving.ROWS):
            turn = (await accept(store, "long", f"word{number}", at=1_000)).turn
            await end(store, turn.turn_id, at=1_000)

    source = open_store(database)
    run(lambda: work(source))
    source.close()
    move(database, target)
    store = open_store(target)
    all_keys = run(lambda: store.read(keys_of_index))
    assert len(set(all_keys)) == 2 * moving.ROWS + 1
    assert run(lambda: has_words(store, f"word{moving.ROWS - 1}")) == ["long"]
    store.close()


@pytest.mark.parametrize("what", ["session", "tenant"])
def test_a_target_with_anything_in_it_stays_as_it_is(database: str, target: str, what: str) -> None:
    store = open_store(target)
    if what == "session":
        run(lambda: accept(store, "mine", "stays"))
    else:
        run(lambda: store.write(tenants.create, tenant="mine", actor="test", at=1))
    store.close()
    before = contents(target)

    with pytest.raises(NotMoved, match="not empty"):
        move(database, target)

    assert contents(target) == before


def test_a_database_that_a_process_uses_is_not_moved(database: str, target: str) -> None:
    store = open_store(database)
    run(lambda: store.write(leases.claim, owner="a process", is_alone=False))
    with pytest.raises(NotMoved, match="Chatkeep is using"):
        move(database, target)
    store.close()


def test_a_database_is_not_moved_under_a_process_that_uses_the_target(
    database: str, target: str
) -> None:
    store = open_store(target)
    run(lambda: store.write(leases.claim, owner="a process", is_alone=False))
    with pytest.raises(NotMoved, match="Chatkeep is using"):
        move(database, target)
    store.close()


def test_a_row_that_is_not_the_same_afterwards_undoes_everything(
    database: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_store(database)
    run(lambda: fill(source))
    source.close()
    copy_table = moving._copy_table

    def copy_badly(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
        copy_table(source, target, table)
        if table is messages_table:
            target.execute(messages_table.update().values(content="different"))

    monkeypatch.setattr(moving, "_copy_table", copy_badly)
    empty = contents(target)
    with pytest.raises(NotMoved, match="rows of messages are not the same"):
        move(database, target)
    assert contents(target) == empty


def test_no_process_begins_at_the_source_while_it_is_copied(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, target = databases.create("postgresql"), databases.create("sqlite")
    claim = moving._claim

    def claim_and_try(conn: sa.Connection, role: str) -> None:
        claim(conn, role)
        if role == "source":
            with psycopg.connect(database) as other:
                other.execute("SET lock_timeout = '50ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute("INSERT INTO leases (owner, beat) VALUES ('new', 0)")

    monkeypatch.setattr(moving, "_claim", claim_and_try)
    assert move(database, target)
    databases.drop(database)


def test_what_is_not_there_is_not_created_as_a_source(databases: Databases) -> None:
    with pytest.raises(NotMoved, match="There is no database"):
        move("sqlite:////tmp/nowhere/chatkeep.db", databases.create("sqlite"))
