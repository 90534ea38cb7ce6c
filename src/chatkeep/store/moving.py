"""A whole database copied into an empty one, of the same kind or of the other.

An export leaves out what only the server itself needs: idempotency keys, the usage of deleted
sessions, turns that wait, tenants, keys. So every row is copied as it is, in one snapshot of the
source and one transaction of the target. Only the keys of the search index are made anew, because
their unit is the database's own, and with them the index.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import RowMapping

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.domain.model import DEFAULT_TENANT
from chatkeep.store.database import Store
from chatkeep.store.database_files import database_file
from chatkeep.store.opening import make_store
from chatkeep.store.prepared import PreparedStatement, pipeline
from chatkeep.store.search import index
from chatkeep.store.tables import (
    HIDDEN,
    audit,
    calls,
    compatibility,
    files,
    leases,
    messages,
    metadata,
    sessions,
    tenants,
)

TABLES = tuple(table for table in metadata.sorted_tables if table not in (leases, compatibility))
"""What is copied, each table after those that it refers to. The target makes the others itself."""

NUMBERED = (audit, calls, sessions)
"""Tables whose rows the database numbers."""

ROWS, FILES = 200, 2
"""Rows that are in memory at a time; pictures and documents may have many megabytes."""

Row = dict[str, Any]


class NotMoved(Exception):
    """Raised if the target is as empty as before; its text is the reason."""


class Summary(NamedTuple):
    """What is in a table.

    Attributes:
        table: Its name.
        rows: How many it has.
        digest: SHA-256 of all values but the keys of the index, in the order of the primary key.

    """

    table: str
    rows: int
    digest: str


def move(source_url: str, target_url: str) -> list[Summary]:
    """Copy every row of a database into another one, compare them, and return what is in both.

    Both are migrated to this program's schema first, and no process may use either.

    Args:
        source_url: `sqlite:///path` or `postgresql://…`; its rows are only read.
        target_url: The same; a file that does not exist is created.

    Raises:
        NotMoved: Nothing was copied.

    """
    if source_url.startswith("sqlite:") and not (path := database_file(source_url)).is_file():
        raise NotMoved(f"There is no database at {path}.")
    with _opened(source_url, "source") as source, _opened(target_url, "target") as target:
        try:
            return asyncio.run(_move(source, target))
        except StoreUnavailable as error:
            raise NotMoved(error.detail) from error


@contextlib.contextmanager
def _opened(url: str, role: str) -> Iterator[Store]:
    try:
        store = make_store(url, readers=1, write_queue=1, connections=1)
        store.open()
    except StoreUnavailable as error:
        raise NotMoved(f"The {role} cannot be used: {error.detail}") from error
    try:
        yield store
    finally:
        store.close()


async def _move(source: Store, target: Store) -> list[Summary]:
    loop = asyncio.get_running_loop()

    def copy_snapshot(conn: sa.Connection) -> list[Summary]:
        # Its snapshot stays for as long as the target's transaction.
        copying = target.write_once(_copy, _is_copied, source=conn)
        return asyncio.run_coroutine_threadsafe(copying, loop).result()

    return await source.read(copy_snapshot)


def _copy(target: sa.Connection, *, source: sa.Connection) -> list[Summary]:
    _claim(source, "source")
    _claim(target, "target")
    _check_empty(target)
    target.execute(tenants.delete())
    summaries = []
    with index.bulk(target):
        for table in TABLES:
            _copy_table(source, target, table)
            summaries.append(_summarize(source, table))
            if _summarize(target, table) != summaries[-1]:
                raise NotMoved(f"The rows of {table.name} are not the same in both databases.")
    for table in NUMBERED:
        _set_last_number(target, table, _last_number(source, table))
    return summaries


def _is_copied(conn: sa.Connection, _summaries: list[Summary]) -> bool:
    """True if the copy took effect, though the answer to its commit was lost."""
    try:
        _check_empty(conn)
    except NotMoved:
        return True
    return False


def _claim(conn: sa.Connection, role: str) -> None:
    """Let no process begin at PostgreSQL until the transaction ends. SQLite's file is locked."""
    if not _is_postgres(conn):
        return
    # Each waits while the other works.
    conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    # The first statement that takes a snapshot comes after the lock.
    conn.exec_driver_sql("LOCK TABLE leases IN SHARE MODE")
    if conn.execute(sa.select(leases.c.owner).limit(1)).first() is not None:
        raise NotMoved(
            f"A Chatkeep is using the {role}: stop every process first. One that was killed "
            "counts until another one has been running for some seconds."
        )


def _check_empty(conn: sa.Connection) -> None:
    for table in TABLES:
        rows = sa.select(*table.primary_key).limit(1)
        if table is tenants:
            rows = rows.where(tenants.c.id.not_in((DEFAULT_TENANT, HIDDEN)))
        if conn.execute(rows).first() is not None:
            raise NotMoved(f"The target is not empty: its table {table.name} has rows.")


def _copy_table(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    for rows in _batches(source, table):
        values: list[Row] = [dict(row) for row in rows]
        entries = _entries(target, table, values) if "search_key" in table.columns else []
        # One by one, but answered together: PostgreSQL prepares the statement once.
        with pipeline(target):
            for row in values:
                _INSERTS[table.name].run(target, row)
            index.add(target, entries)


_INSERTS = {table.name: PreparedStatement(table.insert()) for table in TABLES}


def _batches(conn: sa.Connection, table: sa.Table) -> Iterable[Sequence[RowMapping]]:
    # Every row comes after the one of the same table that it refers to: a user after the tenant,
    # a message after the one before it.
    rows = sa.select(table).order_by(*table.primary_key)
    result = conn.execute(rows, execution_options={"yield_per": FILES if table is files else ROWS})
    return result.mappings().partitions()


def _summarize(conn: sa.Connection, table: sa.Table) -> Summary:
    columns = [column.name for column in table.columns if column.name != "search_key"]
    count, digest = 0, sha256()
    for rows in _batches(conn, table):
        count += len(rows)
        for row in rows:
            values = [row[name] for name in columns]
            digest.update(repr((values, row.get("search_key") is None)).encode())
    return Summary(table.name, count, digest.hexdigest())


def _entries(conn: sa.Connection, table: sa.Table, rows: list[Row]) -> list[index.Entry]:
    """Give rows new keys of the index, and return their texts for it.

    A session without a key was made empty by a purge, and gets none.
    """
    indexed = [row for row in rows if row["search_key"] is not None]
    new_keys = index.message_keys if table is messages else index.title_keys
    keys = new_keys(conn, [row["created_at"] for row in indexed])
    for row, key in zip(indexed, keys, strict=True):
        row["search_key"] = key
    if table is sessions:
        return [
            index.Entry(row["search_key"], row["title"], reader, row["pk"], index.TITLE)
            for row in indexed
            for reader in (_reader(row["tenant_id"], row["session_id"]),)
        ]
    owners = sa.select(sessions.c.pk, sessions.c.tenant_id, sessions.c.session_id)
    of_rows = owners.where(sessions.c.pk.in_({row["session_pk"] for row in indexed}))
    readers = {pk: _reader(*owner) for pk, *owner in conn.execute(of_rows)}
    return [
        index.Entry(row["search_key"], row["content"], readers[pk], pk, row["role"])
        for row in indexed
        for pk in (row["session_pk"],)
    ]


def _reader(tenant: str, session_id: str) -> str:
    """The tenant who may find a session: that of a hidden one is the end of its id."""
    return session_id.split(":", 2)[2] if tenant == HIDDEN else tenant


def _last_number(conn: sa.Connection, table: sa.Table) -> int:
    """The highest number of a row that the table has, or had."""
    if _is_postgres(conn):
        last = conn.scalar(_LAST_OF_SEQUENCE, {"table": table.name})
    else:
        last = conn.scalar(sa.select(_SEQUENCES.c.seq).where(_SEQUENCES.c.name == table.name))
    highest = conn.scalar(sa.select(sa.func.max(table.c.pk)))
    return max(highest or 0, last or 0)


def _set_last_number(conn: sa.Connection, table: sa.Table, number: int) -> None:
    """Give the next row a higher number. SQLite does so where it need not remember another."""
    if number and _is_postgres(conn):
        conn.execute(_SET_SEQUENCE, {"table": table.name, "number": number})
    elif number and table is sessions:
        conn.execute(_SEQUENCES.delete().where(_SEQUENCES.c.name == table.name))
        conn.execute(_SEQUENCES.insert(), {"name": table.name, "seq": number})


_SEQUENCES = sa.table("sqlite_sequence", sa.column("name"), sa.column("seq"))
_LAST_OF_SEQUENCE = sa.text(
    "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence(:table, 'pk') AS regclass))"
)
_SET_SEQUENCE = sa.text("SELECT setval(pg_get_serial_sequence(:table, 'pk'), :number)")


def _is_postgres(conn: sa.Connection) -> bool:
    return bool(conn.dialect.name == "postgresql")
