"""The index of full-text search: what goes into it, and how it is taken out again.

The index stores no text of its own. An entry's key begins with its time, and is odd for a title: so
the newest come first by themselves, and a stretch of time is a stretch of keys. Its scope has a
word each for the tenant, the session and the role.
"""

import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.store.prepared import PreparedSelect
from chatkeep.store.search import fts5, tsvector
from chatkeep.store.search.query import Term
from chatkeep.store.tables import messages, sessions

TITLE = "title"
"""The kind of an entry that is a session's title."""

NEAR = 1_000
"""How many of the keys of a kind, from its time on, an entry tries first."""

MICROSECOND_BITS = 10
"""Bits of a key below its time, where others choose one at the same time and are not seen."""

NEW_BITS = 19
"""Random bits of a key that nobody looks for: a millisecond has so many keys of a kind."""


class Entry(NamedTuple):
    """A text of the index: a title, or a message of the role that `kind` names."""

    key: int
    text: str
    tenant: str
    session_pk: int
    kind: str

    @property
    def scope(self) -> tuple[str, ...]:
        """The words of its tenant, its session and its kind."""
        return (tenant_word(self.tenant), f"s{self.session_pk}", f"r{self.kind}")


class _Key(NamedTuple):
    search_key: int


def first_key(conn: sa.Connection, at: int) -> int:
    """The first key of a time, in microseconds since 1970."""
    return at << MICROSECOND_BITS if _is_postgres(conn) else at // 1_000 * 2


def message_key(conn: sa.Connection, at: int) -> int:
    """A free key for a message of this time, in microseconds since 1970."""
    return _free_key(conn, _MESSAGE_KEY, first_key(conn, at))


def new_message_key(conn: sa.Connection, at: int) -> int:
    """A key for a message of now, in microseconds since 1970.

    In PostgreSQL nobody looks whether it is free: that would take a round trip, and of two that
    choose the same one, the second fails at the unique key, and its transaction runs again.
    """
    if _is_postgres(conn):
        return first_key(conn, at) + 2 * random.getrandbits(NEW_BITS)
    return message_key(conn, at)


def title_key(conn: sa.Connection, at: int) -> int:
    """A free key for the title of a session that was created then, in microseconds since 1970."""
    return _free_key(conn, _TITLE_KEY, first_key(conn, at) + 1)


def message_keys(conn: sa.Connection, times: Sequence[int]) -> list[int]:
    """A free key for each of several messages. See `message_key`."""
    return _free_keys(conn, messages, [first_key(conn, at) for at in times])


def title_keys(conn: sa.Connection, times: Sequence[int]) -> list[int]:
    """A free key for each of several titles. See `title_key`."""
    return _free_keys(conn, sessions, [first_key(conn, at) + 1 for at in times])


def add(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Index texts."""
    work = tsvector.add if _is_postgres(conn) else fts5.add
    for entry in entries:
        work(conn, entry.key, entry.text, entry.scope)


def bulk(conn: sa.Connection) -> AbstractContextManager[None]:
    """A context for adding very many texts. Its transaction uses the index only afterwards."""
    return tsvector.bulk(conn) if _is_postgres(conn) else nullcontext()


def remove(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Take texts out of the index; each entry must be as it was when it was added."""
    work = tsvector.remove if _is_postgres(conn) else fts5.remove
    for entry in entries:
        work(conn, entry.key, entry.text, entry.scope)


def newest_keys(
    conn: sa.Connection,
    terms: Sequence[Term],
    scope: Sequence[str],
    kinds: Sequence[str],
    params: dict[str, int],
) -> Sequence[int]:
    """The newest keys of entries with all terms: see `fts5.newest`."""
    work = tsvector.newest if _is_postgres(conn) else fts5.newest
    return work(conn, terms, scope, [f"r{kind}" for kind in kinds], params)


def optimize_index(conn: sa.Connection, *, is_first: bool) -> bool:
    """Do one step of cleaning the index; true if there is more to do. See `fts5.optimize`."""
    work = tsvector.optimize if _is_postgres(conn) else fts5.optimize
    return work(conn, is_first=is_first)


def tenant_word(tenant: str) -> str:
    """The word of a tenant in the scope of an entry."""
    return "t" + blake2b(tenant.encode(), digest_size=8).hexdigest()


def _is_postgres(conn: sa.Connection) -> bool:
    return bool(conn.dialect.name == "postgresql")


def _free_key(conn: sa.Connection, same_key: PreparedSelect[_Key], wanted: int) -> int:
    key, within = wanted, NEAR
    if _is_postgres(conn):
        key += 2 * random.getrandbits(MICROSECOND_BITS - 1)
    while same_key.first(conn, {"wanted": key}) is not None:
        # Somewhere near: many messages of an import may claim the same second.
        key, within = wanted + 2 * random.randrange(within), within * 2  # noqa: S311  (no secret)
    return key


def _free_keys(conn: sa.Connection, table: sa.Table, wanted: Sequence[int]) -> list[int]:
    """As `_free_key`, with one statement for all. No other transaction may choose keys."""
    column = table.c.search_key
    taken: set[int] = set()
    near = NEAR
    while True:
        keys: dict[int, None] = {}
        for first in wanted:
            key, within = first, near
            while key in taken or key in keys:
                key, within = first + 2 * random.randrange(within), within * 2  # noqa: S311
            keys[key] = None
        rows = set(conn.scalars(sa.select(column).where(column.in_(keys))))
        if not rows:
            return list(keys)
        taken |= rows
        near *= 2


_MESSAGE_KEY = PreparedSelect(
    sa.select(messages.c.search_key).where(messages.c.search_key == sa.bindparam("wanted")), _Key
)
_TITLE_KEY = PreparedSelect(
    sa.select(sessions.c.search_key).where(sessions.c.search_key == sa.bindparam("wanted")), _Key
)
