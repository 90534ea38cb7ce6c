"""The index in PostgreSQL: a `tsvector` of our own words, under a GIN index.

The words are those that SQLite's index has (`words.py`), so that both find the same. The words of
the scope begin with a slash, which no word of a text does.
"""

import contextlib
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.search import words
from chatkeep.store.search.query import Term


def add(conn: sa.Connection, key: int, text: str, scope: Sequence[str]) -> None:
    """Index a text with the words of its scope."""
    _ADD.run(conn, {"key": key, "words": words.tsvector(text, scope)})


def remove(conn: sa.Connection, key: int, _text: str, _scope: Sequence[str]) -> None:
    """Take a text out of the index."""
    _REMOVE.run(conn, {"key": key})


@contextlib.contextmanager
def bulk(conn: sa.Connection) -> Iterator[None]:
    """Make the GIN index anew after the block: that is several times as fast as many additions."""
    definition = conn.execute(_DEFINITION).scalar_one()
    conn.execute(sa.text("DROP INDEX ix_search_words"))
    yield
    conn.exec_driver_sql(definition)


def newest(
    conn: sa.Connection,
    terms: Sequence[Term],
    scope: Sequence[str],
    kinds: Sequence[str],
    params: dict[str, int],
) -> Sequence[int]:
    """Return the newest keys of texts with all terms, newest first; see `fts5.newest`."""
    match = words.tsquery(terms, scope, kinds)
    return conn.scalars(_NEWEST, params | {"match": match}).all()


def optimize(_conn: sa.Connection, *, is_first: bool) -> bool:
    """Return false: PostgreSQL vacuums by itself."""
    return is_first and False


_ADD = PreparedStatement(
    sa.text("INSERT INTO search (key, words) VALUES (:key, CAST(:words AS tsvector))")
)
_REMOVE = PreparedStatement(sa.text("DELETE FROM search WHERE key = :key"))
_DEFINITION = sa.text(
    "SELECT indexdef FROM pg_indexes "
    "WHERE schemaname = current_schema() AND indexname = 'ix_search_words'"
)
_NEWEST = sa.text(
    "SELECT key FROM search WHERE words @@ CAST(:match AS tsquery) AND key >= :since "
    "AND key < :before AND key % 2 = :titles ORDER BY key DESC LIMIT :limit"
)
