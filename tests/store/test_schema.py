"""The schema in SQLite: migrations make it, a kill leaves nothing, and its indexes are used."""

import multiprocessing
import os
import re
import shutil
import signal
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store import (
    branches,
    deletion,
    details,
    exports,
    idempotency,
    imports,
    leases,
    messages,
    migrations,
    rows,
    session_changes,
    session_messages,
    sessions,
    usage,
)
from chatkeep.store.database import Store
from chatkeep.store.migrations import is_usable
from chatkeep.store.opening import make_store
from chatkeep.store.search import active_runs, hits, index
from chatkeep.store.tables import HIDDEN, metadata
from chatkeep.store.tables import messages as messages_table
from tests.postgres import query
from tests.store.conftest import accept, end, open_store, run

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def database(new_database: Path, tmp_path: Path) -> str:
    """A new database of SQLite alone."""
    return f"sqlite:///{shutil.copy(new_database, tmp_path)}"


def test_migrations_make_what_the_tables_say(store: Store, tmp_path: Path) -> None:
    made = sa.create_engine(f"sqlite:///{tmp_path}/chatkeep.db")
    declared = sa.create_engine("sqlite://")
    with made.connect() as conn, declared.connect() as wanted:
        options = {"include_name": lambda name, kind, _: kind != "table" or name[:6] != "search"}
        context = MigrationContext.configure(conn, opts=options)
        assert compare_metadata(context, metadata) == []
        metadata.create_all(wanted)
        listing = sa.text(
            "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' "
            "AND tbl_name NOT LIKE 'search%'"
        )
        tables = {row.name: _parts(row.sql) for row in conn.execute(listing)}
        del tables["alembic_version"]
        assert tables == {row.name: _parts(row.sql) for row in wanted.execute(listing)}
    made.dispose()
    declared.dispose()


def _parts(sql: str) -> list[str]:
    """A statement's lines, in any order, so that every check and every default is compared."""
    flat = sql.replace('"', "").replace("(", " ( ").replace(")", " ) ").replace(",", " ")
    return sorted(flat.split())


def test_a_second_start_finds_the_schema_current(tmp_path: Path) -> None:
    for _ in range(2):
        store = open_store(f"sqlite:///{tmp_path}/chatkeep.db")
        assert run(lambda: store.read(is_usable))  # noqa: B023  (run before the next round)
        store.close()


def test_a_newer_schema_is_used_as_long_as_it_says_that_this_program_can(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chatkeep.db"
    open_store(url).close()
    become(url, "9999", oldest=migrations.head())
    store = open_store(url)
    assert run(lambda: store.read(is_usable))
    run(lambda: accept(store, "s", "hello"))
    store.close()

    become(url, "9999", oldest="9998")
    with pytest.raises(StoreUnavailable, match="newer version"):
        open_store(url)


def test_two_programs_of_neighbouring_schemas_work_together(postgres_url: str) -> None:
    """One was there before a newer one has added columns, the other starts afterwards."""
    before = open_store(postgres_url)

    async def turn(store: Store, name: str) -> None:
        for _ in range(3):
            made = (await accept(store, name, "hello")).turn
            assert await end(store, made.turn_id) is not None

    run(lambda: turn(before, "one"))
    become(postgres_url, "9999", oldest=migrations.head())
    engine = sa.create_engine(with_driver(postgres_url))
    with engine.begin() as conn:
        for table in ("sessions", "turns", "messages"):
            conn.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN later BIGINT DEFAULT 1"))
    engine.dispose()
    run(lambda: turn(before, "one"))
    after = open_store(postgres_url)
    run(lambda: turn(after, "one"))
    run(lambda: turn(before, "two"))
    assert query(postgres_url, "SELECT turn_count FROM sessions ORDER BY pk") == [(9,), (3,)]
    before.close()
    after.close()


def with_driver(url: str) -> str:
    """A URL as SQLAlchemy reads it."""
    return url.replace("postgresql:", "postgresql+psycopg:")


def become(url: str, revision: str, *, oldest: str) -> None:
    """Make a database as a newer program may leave it."""
    engine = sa.create_engine(with_driver(url))
    with engine.begin() as conn:
        conn.execute(sa.text(f"UPDATE alembic_version SET version_num = '{revision}'"))
        conn.execute(sa.text(f"UPDATE compatibility SET revision = '{oldest}'"))
    engine.dispose()


def test_a_store_touches_nothing_on_disk_before_it_is_opened(tmp_path: Path) -> None:
    store = make_store(f"sqlite:///{tmp_path}/new/chatkeep.db", readers=1, write_queue=10)
    with pytest.raises(StoreUnavailable, match="not open"):
        run(lambda: store.read(is_usable))
    with pytest.raises(StoreUnavailable, match="not open"):
        run(lambda: store.write(is_usable))
    store.close()
    assert not store.is_open
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_could_not_be_opened_can_be_opened_later(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chatkeep.db"
    first, second = open_store(url), make_store(url, readers=1, write_queue=10)
    with pytest.raises(StoreUnavailable, match="Another Chatkeep"):
        second.open()
    assert not second.is_open
    first.close()
    assert not first.is_open

    second.open()
    assert second.is_open
    assert run(lambda: second.read(is_usable))
    second.close()


def test_only_one_process_holds_the_database(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Another Chatkeep"):
        open_store(f"sqlite:///{tmp_path}/chatkeep.db")


def test_nobody_else_can_read_the_database(store: Store, tmp_path: Path) -> None:
    run(lambda: accept(store, "s", "private"))
    for path in tmp_path.glob("chatkeep.db*"):
        if path.suffix != ".lock":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


SCRIPTS = ScriptDirectory.from_config(migrations._config())
REVISIONS = sorted(script.revision for script in SCRIPTS.walk_revisions())


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_any_revision_keeps_every_row_when_it_is_upgraded(
    tmp_path: Path, revision: str
) -> None:
    url = f"sqlite:///{tmp_path}/chatkeep.db"
    before = database_of(revision, url)

    store = open_store(url)

    after = rows_of(url)
    for name, rows_before in before.items():
        assert len(rows_before) == len(after[name]) > 0
        for old, new in zip(rows_before, after[name], strict=True):
            assert old.items() <= new.items()
    broken = run(
        lambda: store.read(lambda conn: conn.exec_driver_sql("PRAGMA foreign_key_check").all())
    )
    assert broken == []
    run(lambda: accept(store, "old", "and on it goes"))
    store.close()


Rows = dict[str, list[dict[str, object]]]


def database_of(revision: str, url: str) -> Rows:
    """Make a database as the first release made it, with rows, upgrade it so far; return them."""
    engine = sa.create_engine(url)
    config = migrations._config()
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        for sql in FIRST_RELEASE:
            conn.exec_driver_sql(sql)
        command.upgrade(config, revision)
    engine.dispose()
    return rows_of(url)


def rows_of(url: str) -> Rows:
    """The rows of the tables that every release has."""
    engine = sa.create_engine(url)
    with engine.connect() as conn:
        results = {
            name: conn.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2")
            for name in ("tenants", "sessions", "turns", "messages")
        }
        listed = {name: [dict(row._mapping) for row in rows] for name, rows in results.items()}
        listed["tenants"] = [row for row in listed["tenants"] if row["id"] != HIDDEN]
    engine.dispose()
    return listed


FIRST_RELEASE = (
    """INSERT INTO sessions (tenant_id, session_id, title, title_source, title_pending, head_seq,
       last_seq, message_count, turn_count, created_at, updated_at)
       VALUES ('default', 'old', 'Old Words', 'model', 0, 3, 3, 3, 3, 1, 3)""",
    """INSERT INTO turns (id, tenant_id, session_pk, seq, status, attempt, model, options, input,
       user_message_id, message_id, user_seq, created_at, started_at, ended_at)
       VALUES ('turn_1', 'default', 1, 1, 'completed', 1, 'openai:any', '{}', NULL,
       'msg_1', 'msg_2', 1, 1, 1, 2),
       ('turn_2', 'default', 1, 2, 'running', 1, 'openai:any', '{}', NULL,
       'msg_3', 'msg_4', 3, 2, 2, NULL),
       ('turn_3', 'default', 1, 3, 'queued', 0, 'openai:any', '{}', 'waiting',
       'msg_5', 'msg_6', NULL, 3, NULL, NULL)""",
    """INSERT INTO messages (session_pk, seq, id, parent_seq, depth, role, content, status, turn_id,
       created_at) VALUES (1, 1, 'msg_1', NULL, 1, 'user', 'Hello?', 'completed', 'turn_1', 1),
       (1, 2, 'msg_2', 1, 2, 'assistant', 'Hello.', 'completed', 'turn_1', 2),
       (1, 3, 'msg_3', 2, 3, 'user', 'Running', 'running', 'turn_2', 2)""",
)


def _die_at_statement(number: int, url: str) -> None:
    left = number

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    open_store(url).close()


@pytest.mark.slow
def test_a_migration_that_is_killed_at_any_statement_is_made_whole_by_the_next_start(
    tmp_path: Path,
) -> None:
    kills = 0
    for number in range(1, 200):
        url = f"sqlite:///{tmp_path}/{number}.db"
        child = FORK.Process(target=_die_at_statement, args=(number, url))
        child.start()
        child.join()
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
        store = open_store(url)
        assert run(lambda: store.read(is_usable))  # noqa: B023  (run before the next round)
        store.close()
    assert child.exitcode == 0
    assert kills > 10


WHOLE = r"SEARCH (messages|replies|parent|siblings|again) .*\(session_pk=\?( AND seq[<>].*)?\)"
"""A step of a plan that reads every message of a session, or all before one or after."""


def plan(
    conn: sa.Connection, statement: sa.Executable, *, listed: int = 1, **values: object
) -> list[str]:
    literal = statement.compile(conn)  # type: ignore[attr-defined]  # every executable compiles
    parameters = {**literal.params, **values}
    # A list is written out when its length is known.
    marks = ", ".join(["?"] * listed)
    sql = re.sub(r"__\[POSTCOMPILE_\w+\]", marks, f"EXPLAIN QUERY PLAN {literal}")
    lists = re.findall(r"POSTCOMPILE_(\w+)", str(literal))
    ordered = [
        value
        for name in literal.positiontup
        for value in [parameters[name]] * (listed if name in lists else 1)
    ]
    return [row[3] for row in conn.exec_driver_sql(sql, tuple(ordered))]


def test_what_a_search_finds_is_read_by_its_keys_however_many(store: Store) -> None:
    def plans(conn: sa.Connection) -> list[list[str]]:
        statements = (hits._MESSAGES.statement, hits._TITLES.statement)
        return [plan(conn, one, listed=200, tenant="default", keys=1) for one in statements]

    for steps in run(lambda: store.read(plans)):
        assert "_search_key (search_key=?)" in steps[0], steps
        assert all("SEARCH sessions USING INTEGER PRIMARY KEY" in step for step in steps[1:])


@pytest.mark.slow
def test_what_is_on_the_active_branch_is_known_from_the_forks_alone(store: Store) -> None:
    """However long a session is: a hit of a search may be anywhere in it."""

    async def fill() -> int:
        accepted = await accept(store, "long", "first")

        def insert(conn: sa.Connection) -> None:
            # A line of 20,000, but for a fork after 100 and another after 15,000.
            parents = {10_001: 100, 20_000: 15_000}
            depths = {1: 1}
            for n in range(2, 20_001):
                parent = parents.get(n, n - 1)
                depths[n] = depths[parent] + 1
                row = {"session_pk": accepted.session_pk, "seq": n, "id": f"msg_{n}"}
                row |= {"parent_seq": parent, "depth": depths[n], "role": "user", "content": "x"}
                conn.execute(
                    messages_table.insert(), row | {"status": "completed", "created_at": 1}
                )
            head = {"head_seq": 20_000, "last_seq": 20_000, "message_count": depths[20_000]}
            rows.update_session(conn, accepted.session_pk, head)

        await store.write(insert)
        return accepted.session_pk

    pk = run(fill)
    runs = run(lambda: store.read(active_runs.active_runs, session_pks=[pk]))
    steps = run(
        lambda: store.read(lambda conn: plan(conn, active_runs._ACTIVE_RUNS.statement, keys=pk))
    )

    assert runs[pk] == [range(20_000, 20_001), range(10_001, 15_001), range(1, 101)]
    starts = [step for step in steps if "SEARCH starts" in step]
    assert len(starts) == 2
    assert all("USING INDEX ix_messages_run_start" in step for step in starts)


@pytest.mark.slow
def test_a_turns_statements_use_indexes_at_any_length_of_history(store: Store) -> None:
    """No statement of a turn looks at more rows after 100,000 messages than after none."""

    async def fill() -> None:
        accepted = await accept(store, "long", "first")

        def insert(conn: sa.Connection) -> None:
            conn.execute(
                messages_table.insert(),
                [
                    {
                        "session_pk": accepted.session_pk,
                        "seq": n,
                        "id": f"msg_{n}",
                        "parent_seq": n - 1,
                        "depth": n,
                        "role": "assistant" if n % 2 == 0 else "user",
                        "content": "x",
                        "status": "completed",
                        "created_at": 1,
                    }
                    for n in range(2, 100_001)
                ],
            )

        await store.write(insert)

    def plans(conn: sa.Connection) -> dict[str, list[str]]:
        one = {"session": 1, "key": 1, "turn": "t", "at_seq": 1, "tenant": "default", "name": "s"}
        one |= {"head": 100_000, "limit": 5, "updated_at": 5, "message": "m"}
        one |= {"keys": 1, "seqs": 1, "ids": "m", "until": 100_000, "parent": 5}
        one |= {"idempotency": "k", "digest": b"d", "who": "w", "still": 1}
        one |= {"wanted": 1, "before": 5, "at": 1, "from_seq": 1, "file": "f"}
        return {
            f"{module.__name__.rpartition('.')[2]}.{name}": plan(conn, statement, **one)
            for module in (
                *(rows, sessions, messages, branches, details, leases, session_changes),
                *(index, deletion, usage, idempotency, exports, imports, session_messages),
            )
            for name, value in vars(module).items()
            if isinstance(statement := getattr(value, "statement", value), sa.Select)
        }

    run(fill)
    plans_by_name = run(lambda: store.read(plans))

    assert {
        *("sessions._FIND", "messages._WINDOW", "rows.BY_ID", "rows.NEXT", "rows._QUEUE_STATE"),
        *("messages._CHILDREN", "exports._PKS", "exports._MESSAGES", "imports._COUNTERS"),
    } <= set(plans_by_name)
    for name, steps in plans_by_name.items():
        scans = [step for step in steps if re.match("SCAN (?!walk|CONSTANT)", step)]
        assert scans == SCANS.get(name, []), f"{name}: {steps}"
        sorts = [step for step in steps if "TEMP B-TREE" in step]
        assert sorts == [] or name in SORTING, f"{name}: {steps}"
        whole = [step for step in steps if re.match(WHOLE, step)]
        assert whole == [] or name in READING_WHOLE, f"{name} reads whole sessions: {steps}"


# Each of these indexes has no other rows than those that are wanted.
SCANS = {
    "session_changes._UNTITLED": ["SCAN sessions USING INDEX ix_sessions_title_pending"],
    # It has a row for each process.
    "leases._OTHERS": ["SCAN leases"],
    "leases.ORPHANS": ["SCAN turns USING INDEX uq_turns_running"],
    "leases.STALLED": ["SCAN turns USING INDEX ix_turns_waiting"],
    # Once an hour, for all tenants together, in the index alone.
    "deletion._EXPIRED": ["SCAN sessions USING COVERING INDEX ix_sessions_activity"],
}
SORTING = {
    *("messages._WINDOW", "messages._OPEN_WINDOW", "messages._PATH", "branches._LAST_OF_BRANCH"),
    # It sorts the keys of a tenant, not its rows; or those of sessions in which turns wait.
    *("exports._PKS", "leases.STALLED"),
    # The messages of one turn.
    "session_messages._OF_TURN",
}
# A purge and an export read every message; of the counters, each is the last entry of an index.
# Which messages show a file is asked only when one that does is removed.
READING_WHOLE = {
    *("deletion._NEWEST_MESSAGES", "exports._MESSAGES", "imports._COUNTERS"),
    # The newest message is the last entry of the index.
    *("session_messages._SHOWING", "session_messages._NEWEST"),
}


def test_a_page_of_sessions_is_read_from_an_index_alone(store: Store) -> None:
    def steps(conn: sa.Connection) -> list[str]:
        seen: list[str] = []

        def record_statement(
            conn: sa.Connection, _cursor: object, sql: str, values: tuple[object, ...], *_: object
        ) -> None:
            if sql.startswith("SELECT"):
                seen.extend(
                    row[3] for row in conn.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, values)
                )

        sa.event.listen(conn, "before_cursor_execute", record_statement)
        sessions.page(
            conn,
            tenant="default",
            limit=50,
            after=sessions.SessionCursor(updated_at=5, session_id="s"),
        )
        session_changes.untitled(conn, limit=10)
        return seen

    page, *pending = run(lambda: store.read(steps))
    assert page.startswith("SEARCH sessions USING INDEX ix_sessions_activity")
    # That index has none but the sessions that wait for their title.
    assert "USING INDEX ix_sessions_title_pending" in pending[0]
