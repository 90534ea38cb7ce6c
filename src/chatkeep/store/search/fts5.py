"""The index in SQLite: FTS5, which stores no text of its own."""

from collections.abc import Sequence

import sqlalchemy as sa

from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.search.query import Term, index_text, match_expression

MERGED_PAGES = 500
"""Pages of the index that one step of `optimize` writes: some 30 ms of work."""


def add(conn: sa.Connection, key: int, text: str, scope: Sequence[str]) -> None:
    """Index a text with the words of its scope."""
    _ADD.run(conn, {"key": key, "body": index_text(text), "scope": " ".join(scope)})


def remove(conn: sa.Connection, key: int, text: str, scope: Sequence[str]) -> None:
    """Take a text out of the index; it must be as it was when it was added."""
    _REMOVE.run(conn, {"key": key, "body": index_text(text), "scope": " ".join(scope)})


def newest(
    conn: sa.Connection,
    terms: Sequence[Term],
    scope: Sequence[str],
    kinds: Sequence[str],
    params: dict[str, int],
) -> Sequence[int]:
    """Return the newest keys of texts with all terms, newest first.

    Args:
        conn: The connection.
        terms: What each text has.
        scope: Words of its scope, all of which it has.
        kinds: Words of its scope, one of which it has; none for any.
        params: `since`, `before` and `limit` of the keys, and whether they are of `titles`.

    """
    filters = [*scope, *([f"({' OR '.join(kinds)})"] if kinds else [])]
    match = " AND ".join([*map(match_expression, terms), f"scope : ({' AND '.join(filters)})"])
    return conn.scalars(_NEWEST, params | {"match": match}).all()


def optimize(conn: sa.Connection, *, is_first: bool) -> bool:
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
_NEWEST = sa.text(
    "SELECT rowid FROM search WHERE search MATCH :match AND rowid >= :since AND rowid < :before "
    "AND rowid % 2 = :titles ORDER BY rowid DESC LIMIT :limit"
)
