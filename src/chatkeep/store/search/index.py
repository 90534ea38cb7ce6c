"""The index of full-text search: what goes into it, and how it is taken out again.

The one module that is written for one database: SQLite's FTS5. The index stores no text of its own.
A row's number is its time in milliseconds, doubled, and one more for a title: so the newest come
first by themselves, and a stretch of time is a stretch of rows. Its `scope` has a word each for
the tenant, the session and the role.
"""

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.store.prepared import PreparedSelect, PreparedStatement
from chatkeep.store.search.query import index_text
from chatkeep.store.tables import messages, sessions

MERGED_PAGES = 500
"""Pages of the index that one step of `optimize_index` writes: some 30 ms of work."""

TITLE = "title"
"""The kind of an entry that is a session's title."""

NEAR = 1_000
"""Milliseconds after its time within which the first other keys of an entry are tried."""


class Entry(NamedTuple):
    """A text of the index: a title, or a message of the role that `kind` names."""

    key: int
    text: str
    tenant: str
    session_pk: int
    kind: str


class _Key(NamedTuple):
    search_key: int


def create(conn: sa.Connection) -> None:
    """Make the index."""
    conn.exec_driver_sql(
        "CREATE VIRTUAL TABLE search USING fts5(body, scope, content='', columnsize=0, "
        "tokenize=\"unicode61 remove_diacritics 2 categories 'L* N* M* Co'\")"
    )


def message_key(conn: sa.Connection, at: int) -> int:
    """A free key for a message of this time, in microseconds since 1970."""
    return _free_key(conn, _MESSAGE_KEY, at // 1_000 * 2)


def title_key(conn: sa.Connection, at: int) -> int:
    """A free key for the title of a session that was created then, in microseconds since 1970."""
    return _free_key(conn, _TITLE_KEY, at // 1_000 * 2 + 1)


def add(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Index texts."""
    _run_for_each(conn, _ADD, entries)


def remove(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Take texts out of the index; each entry must be as it was when it was added."""
    _run_for_each(conn, _REMOVE, entries)


def optimize_index(conn: sa.Connection, *, is_first: bool) -> bool:
    """Do one step of merging the index, after which what was removed is nowhere in it.

    FTS5 merges its segments into one, without what was removed, when it gets a negative number of
    pages, and continues with a positive one.

    Args:
        conn: The connection.
        is_first: True to begin a merge, false to continue it.

    Returns:
        True if there is more to do.

    """
    before = _total_changes(conn)
    conn.execute(_MERGE, {"pages": -MERGED_PAGES if is_first else MERGED_PAGES})
    return is_first or _total_changes(conn) - before >= 2


def tenant_word(tenant: str) -> str:
    """The word of a tenant in the column `scope`."""
    return "t" + blake2b(tenant.encode(), digest_size=8).hexdigest()


def _free_key(conn: sa.Connection, same_key: PreparedSelect[_Key], wanted: int) -> int:
    key, within = wanted, NEAR
    while same_key.first(conn, {"wanted": key}) is not None:
        # Somewhere near: many messages of an import may claim the same second.
        key, within = wanted + 2 * random.randrange(within), within * 2  # noqa: S311  (no secret)
    return key


def _run_for_each(
    conn: sa.Connection, statement: PreparedStatement, entries: Sequence[Entry]
) -> None:
    for entry in entries:
        scope = f"{tenant_word(entry.tenant)} s{entry.session_pk} r{entry.kind}"
        body = index_text(entry.text)
        statement.run(conn, {"key": entry.key, "body": body, "scope": scope})


def _total_changes(conn: sa.Connection) -> int:
    driver = conn.connection.driver_connection
    changes: int = driver.total_changes if driver is not None else 0
    return changes


_ADD = PreparedStatement(
    sa.text("INSERT INTO search (rowid, body, scope) VALUES (:key, :body, :scope)")
)
_REMOVE = PreparedStatement(
    sa.text(
        "INSERT INTO search (search, rowid, body, scope) VALUES ('delete', :key, :body, :scope)"
    )
)
_MERGE = sa.text("INSERT INTO search (search, rank) VALUES ('merge', :pages)")
_MESSAGE_KEY = PreparedSelect(
    sa.select(messages.c.search_key).where(messages.c.search_key == sa.bindparam("wanted")), _Key
)
_TITLE_KEY = PreparedSelect(
    sa.select(sessions.c.search_key).where(sessions.c.search_key == sa.bindparam("wanted")), _Key
)
