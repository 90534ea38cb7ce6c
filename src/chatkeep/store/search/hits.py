"""Full-text search over titles and messages: what is indexed, how it is found, how it is forgotten.

The one file that is written for one database: SQLite's FTS5. The index keeps no text of its own.
A row's number is its time in milliseconds, doubled, and one more for a title: so the newest come
first by themselves, and a stretch of time is a stretch of rows. Its `scope` has a word each for
the tenant, the session and the role.

A word that stands in every message is found as fast as a rare one, because ranking looks at a
window of the newest matches only, and when that is read to its end, at the window before.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import Role, SearchHit
from chatkeep.domain.times import rfc3339
from chatkeep.store import branches
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.search import query as words
from chatkeep.store.tables import messages, sessions

WINDOW = 200
"""Matches that are ranked against each other: of messages, and as many of titles."""

TITLE_WEIGHT = 2.0
"""How much more a word says in a title than in a message."""

MERGED_PAGES = 500
"""Pages of the index that one step of forgetting writes: some 30 ms of work."""

TITLE = "title"
"""The kind of an entry that is a session's title."""

_NEVER = 2**62
_NEAR = 1_000
_SHIFTED = 16 * _NEAR
"""How far a key may be after its time: looked at by key, times are checked once more."""


class Entry(NamedTuple):
    """A text to be found: a title, or a message of the role that `kind` says."""

    key: int
    text: str
    tenant: str
    session_pk: int
    kind: str


@dataclass(frozen=True, slots=True)
class Query:
    """What to find: every term, in one session or in all, of some roles or of all, in a time.

    Times are in microseconds since 1970.
    """

    terms: tuple[words.Term, ...]
    session_pk: int | None = None
    roles: tuple[Role, ...] = ()
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the results a page begins: before which rows the windows are, after which hit."""

    messages_before: int = _NEVER
    titles_before: int = _NEVER
    score: float = float("inf")
    key: int = _NEVER


@dataclass(frozen=True, slots=True)
class _Window:
    hits: list["_Hit"]
    last_message: int
    last_title: int

    @property
    def is_last(self) -> bool:
        return self.last_message == self.last_title == 0


@dataclass(frozen=True, slots=True)
class _Hit:
    score: float
    key: int
    text: str
    row: Any

    @property
    def is_message(self) -> bool:
        return self.key % 2 == 0


def create(conn: sa.Connection) -> None:
    """Make the index."""
    conn.exec_driver_sql(
        "CREATE VIRTUAL TABLE search USING fts5(body, scope, content='', columnsize=0, "
        "tokenize=\"unicode61 remove_diacritics 2 categories 'L* N* M* Co'\")"
    )


def message_key(conn: sa.Connection, at: int) -> int:
    """A free key for a message of this time."""
    return _free(conn, _MESSAGE_KEY, at // 1_000 * 2)


def title_key(conn: sa.Connection, at: int) -> int:
    """A free key for the title of a session that was created at this time."""
    return _free(conn, _TITLE_KEY, at // 1_000 * 2 + 1)


def add(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Let texts be found."""
    _change(conn, _ADD, entries)


def remove(conn: sa.Connection, entries: Sequence[Entry]) -> None:
    """Let texts be found no more; each entry must be as it was when it was added."""
    _change(conn, _REMOVE, entries)


def optimize_index(conn: sa.Connection, *, is_first: bool) -> bool:
    """One step of merging the index, after which what was removed is nowhere in it.

    Returns whether there is more to do. FTS5 merges its segments into one, without what was
    removed, when it is told to with a negative number, and goes on with it with a positive one.
    """
    before = _changes(conn)
    conn.execute(_MERGE, {"pages": -MERGED_PAGES if is_first else MERGED_PAGES})
    return is_first or _changes(conn) - before >= 2


def find(
    conn: sa.Connection, *, tenant: str, query: Query, limit: int, place: Place
) -> tuple[list[SearchHit], Place | None]:
    """Up to `limit` hits after a place, best first within each window, and where to go on."""
    finder = words.Finder(query.terms)
    found: list[_Hit] = []
    while True:
        window = _window(conn, tenant, query, finder, place)
        here = [hit for hit in window.hits if (hit.score, hit.key) < (place.score, place.key)]
        taken = here[: limit - len(found)]
        found += taken
        if len(taken) < len(here):
            last = taken[-1] if taken else None
            score, key = (last.score, last.key) if last else (place.score, place.key)
            following = Place(*_anchored(place, window), score, key)
            return _shown(conn, found, finder), following
        if window.is_last:
            return _shown(conn, found, finder), None
        place = Place(window.last_message, window.last_title)
        if len(found) == limit:
            return _shown(conn, found, finder), place


def _anchored(place: Place, window: _Window) -> tuple[int, int]:
    """The window's own beginning: what comes later does not move what is in it."""
    keys = [hit.key for hit in window.hits]
    newest = max((key for key in keys if key % 2 == 0), default=place.messages_before - 1)
    title = max((key for key in keys if key % 2), default=place.titles_before - 1)
    return min(place.messages_before, newest + 1), min(place.titles_before, title + 1)


def _window(
    conn: sa.Connection, tenant: str, query: Query, finder: words.Finder, place: Place
) -> _Window:
    of_messages = _newest(conn, tenant, query, place.messages_before, titles=False)
    of_titles = (
        [] if query.roles else _newest(conn, tenant, query, place.titles_before, titles=True)
    )
    hits = [
        _Hit(finder.weight(row.content), row.search_key, row.content, row)
        for row in conn.execute(_MESSAGES, {"tenant": tenant, "keys": of_messages})
        if _is_within(row, query)
    ]
    hits += [
        _Hit(finder.weight(row.title) * TITLE_WEIGHT, row.search_key, row.title, row)
        for row in conn.execute(_TITLES, {"tenant": tenant, "keys": of_titles})
        if _is_within(row, query)
    ]
    hits.sort(key=lambda hit: (hit.score, hit.key), reverse=True)
    return _Window(hits, _last(of_messages), _last(of_titles))


def _is_within(row: Any, query: Query) -> bool:
    return (query.since is None or row.created_at >= query.since) and (
        query.until is None or row.created_at < query.until
    )


def _last(keys: Sequence[int]) -> int:
    """Where the next window begins; 0 is where nothing is."""
    return keys[-1] if len(keys) == WINDOW else 0


def _newest(
    conn: sa.Connection, tenant: str, query: Query, before: int, *, titles: bool
) -> Sequence[int]:
    """The keys of the newest matches before a row."""
    since = 0 if query.since is None else query.since // 1_000 * 2
    until = _NEVER if query.until is None else (query.until // 1_000 + _SHIFTED) * 2
    if not query.terms or before == 0:
        return []
    kinds = [TITLE] if titles else list(query.roles)
    filters = [_tenant_word(tenant)]
    if kinds:
        filters.append(f"({' OR '.join(f'r{kind}' for kind in kinds)})")
    if query.session_pk is not None:
        filters.append(f"s{query.session_pk}")
    asked = [words.fts(term) for term in query.terms]
    match = " AND ".join([*asked, f"scope : ({' AND '.join(filters)})"])
    place = {"match": match, "since": since, "before": min(before, until), "limit": WINDOW}
    place["titles"] = int(titles)
    return conn.scalars(_NEWEST, place).all()


def _shown(conn: sa.Connection, hits: Sequence[_Hit], finder: words.Finder) -> list[SearchHit]:
    of_messages = [hit for hit in hits if hit.is_message]
    runs = branches.active_runs(conn, sorted({hit.row.session_pk for hit in of_messages}))
    return [
        SearchHit(
            session_id=hit.row.session_id,
            title=hit.row.title,
            message_id=hit.row.id if hit.is_message else None,
            role=Role(hit.row.role) if hit.is_message else None,
            created_at=rfc3339(hit.row.created_at),
            on_active_branch=not hit.is_message
            or any(hit.row.seq in run for run in runs[hit.row.session_pk]),
            snippet=tuple(finder.snippet(hit.text)),
        )
        for hit in hits
    ]


def _tenant_word(tenant: str) -> str:
    return "t" + blake2b(tenant.encode(), digest_size=8).hexdigest()


def _free(conn: sa.Connection, taken: PreparedStatement, wanted: int) -> int:
    key, within = wanted, _NEAR
    while taken.one(conn, {"wanted": key}) is not None:
        # Somewhere near: many messages of an import may claim the same second.
        key, within = wanted + 2 * random.randrange(within), within * 2  # noqa: S311  (no secret)
    return key


def _change(conn: sa.Connection, statement: PreparedStatement, entries: Sequence[Entry]) -> None:
    for entry in entries:
        scope = f"{_tenant_word(entry.tenant)} s{entry.session_pk} r{entry.kind}"
        body = words.searchable(entry.text)
        statement.run(conn, {"key": entry.key, "body": body, "scope": scope})


def _changes(conn: sa.Connection) -> int:
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
_MESSAGE_KEY = PreparedStatement(
    sa.select(messages.c.search_key).where(messages.c.search_key == sa.bindparam("wanted"))
)
_TITLE_KEY = PreparedStatement(
    sa.select(sessions.c.search_key).where(sessions.c.search_key == sa.bindparam("wanted"))
)
# In a function, so that many keys do not make a planner go through all of a tenant's sessions.
_OF_TENANT = sa.func.coalesce(sessions.c.tenant_id, "") == sa.bindparam("tenant")
_MESSAGES = (
    sa.select(
        messages.c.search_key,
        messages.c.session_pk,
        messages.c.seq,
        messages.c.id,
        messages.c.role,
        # One more than is read, so that a snippet knows that there is more.
        sa.func.substr(messages.c.content, 1, words.READ_CHARS + 1).label("content"),
        messages.c.created_at,
        sessions.c.session_id,
        sessions.c.title,
    )
    .join(sessions, sessions.c.pk == messages.c.session_pk)
    .where(
        _OF_TENANT,
        messages.c.search_key.in_(sa.bindparam("keys", expanding=True)),
    )
)
_TITLES = sa.select(
    sessions.c.search_key, sessions.c.title, sessions.c.session_id, sessions.c.created_at
).where(
    _OF_TENANT,
    sessions.c.search_key.in_(sa.bindparam("keys", expanding=True)),
)
