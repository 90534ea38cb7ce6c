"""What a query finds: titles and messages, in pages, with snippets.

A word that stands in every message is found as fast as a rare one, because ranking looks at a
window of the newest matches only, and when that is read to its end, at the window before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import Role, SearchHit
from chatkeep.domain.times import rfc3339
from chatkeep.store.page import Page
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.search import active_runs
from chatkeep.store.search.index import TITLE, first_key, newest_keys, tenant_word
from chatkeep.store.search.query import READ_CHARS, Finder, Term
from chatkeep.store.tables import messages, sessions

WINDOW = 200
"""Matches that are ranked against each other: of messages, and as many of titles."""

TITLE_WEIGHT = 2.0
"""How much more a word counts in a title than in a message."""

_NEVER = 2**62
_SHIFTED = 16_000_000
"""Microseconds that a key may be after its time: what is read by key is compared by time too."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to find: every term, in one session or in all, of some roles or of all, in a time.

    Times are in microseconds since 1970; `until` itself is not included.
    """

    terms: tuple[Term, ...]
    session_pk: int | None = None
    roles: tuple[Role, ...] = ()
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class SearchCursor:
    """Where a page of hits begins.

    Its windows are of keys below `messages_before` and `titles_before`; in them, its hits come
    after the one with this `score` and `key`. The default is the first page.
    """

    messages_before: int = _NEVER
    titles_before: int = _NEVER
    score: float = float("inf")
    key: int = _NEVER


class MessageMatch(NamedTuple):
    """A message whose entry in the index matches, with its session."""

    search_key: int
    session_pk: int
    seq: int
    id: str
    role: str
    content: str
    created_at: int
    session_id: str
    title: str


class TitleMatch(NamedTuple):
    """A session whose title's entry in the index matches."""

    search_key: int
    title: str
    session_id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class _Hit:
    score: float
    row: MessageMatch | TitleMatch

    @property
    def rank(self) -> tuple[float, int]:
        """What hits are sorted by: a later key first where the score is the same."""
        return self.score, self.row.search_key


@dataclass(frozen=True, slots=True)
class _Window:
    hits: list[_Hit]
    last_message: int
    """The key before which the next window begins; 0 if there is none."""

    last_title: int
    """The same for titles."""

    @property
    def is_last(self) -> bool:
        return self.last_message == self.last_title == 0


def find(
    conn: sa.Connection, *, tenant: str, query: Query, limit: int, cursor: SearchCursor
) -> Page[SearchHit, SearchCursor]:
    """Find titles and messages, best first within each window of the newest.

    Args:
        conn: The connection.
        tenant: Whose sessions are searched.
        query: What to find.
        limit: Hits on the page at most.
        cursor: Where the page begins.

    Returns:
        The page; it may have fewer hits than `limit` only if it is the last.

    """
    finder = Finder(query.terms)
    hits: list[_Hit] = []
    while True:
        window = _window(conn, tenant, query, finder, cursor)
        remaining = [hit for hit in window.hits if hit.rank < (cursor.score, cursor.key)]
        taken = remaining[: limit - len(hits)]
        hits += taken
        if len(taken) < len(remaining):
            following = _cursor_within(cursor, window, taken[-1] if taken else None)
            return Page(_search_hits(conn, hits, finder), following)
        if window.is_last:
            return Page(_search_hits(conn, hits, finder), None)
        cursor = SearchCursor(window.last_message, window.last_title)
        if len(hits) == limit:
            return Page(_search_hits(conn, hits, finder), cursor)


def _cursor_within(cursor: SearchCursor, window: _Window, last: _Hit | None) -> SearchCursor:
    """The cursor after a hit of a window: what is added later does not move what is in it."""
    message_keys = [h.row.search_key for h in window.hits if isinstance(h.row, MessageMatch)]
    title_keys = [h.row.search_key for h in window.hits if isinstance(h.row, TitleMatch)]
    newest_message = max(message_keys, default=cursor.messages_before - 1)
    newest_title = max(title_keys, default=cursor.titles_before - 1)
    score, key = (cursor.score, cursor.key) if last is None else last.rank
    return SearchCursor(
        min(cursor.messages_before, newest_message + 1),
        min(cursor.titles_before, newest_title + 1),
        score,
        key,
    )


def _window(
    conn: sa.Connection, tenant: str, query: Query, finder: Finder, cursor: SearchCursor
) -> _Window:
    message_keys = _newest_keys(conn, tenant, query, cursor.messages_before, titles=False)
    title_keys: Sequence[int] = []
    if not query.roles:
        title_keys = _newest_keys(conn, tenant, query, cursor.titles_before, titles=True)
    hits = [
        _Hit(finder.weight(message.content), message)
        for message in _MESSAGES.all(conn, {"tenant": tenant, "keys": message_keys})
        if _is_within(message.created_at, query)
    ]
    hits += [
        _Hit(finder.weight(title.title) * TITLE_WEIGHT, title)
        for title in _TITLES.all(conn, {"tenant": tenant, "keys": title_keys})
        if _is_within(title.created_at, query)
    ]
    hits.sort(key=lambda hit: hit.rank, reverse=True)
    return _Window(hits, _last_of_full(message_keys), _last_of_full(title_keys))


def _is_within(at: int, query: Query) -> bool:
    return (query.since is None or at >= query.since) and (query.until is None or at < query.until)


def _last_of_full(keys: Sequence[int]) -> int:
    return keys[-1] if len(keys) == WINDOW else 0


def _newest_keys(
    conn: sa.Connection, tenant: str, query: Query, before: int, *, titles: bool
) -> Sequence[int]:
    """The keys of the newest matches before a key, newest first."""
    since = 0 if query.since is None else first_key(conn, query.since)
    until = _NEVER if query.until is None else first_key(conn, query.until + _SHIFTED)
    if not query.terms or before == 0:
        return []
    scope = [tenant_word(tenant)]
    if query.session_pk is not None:
        scope.append(f"s{query.session_pk}")
    params = {"since": since, "before": min(before, until), "limit": WINDOW, "titles": int(titles)}
    kinds = [TITLE] if titles else list(query.roles)
    return newest_keys(conn, query.terms, scope, kinds, params)


def _search_hits(conn: sa.Connection, hits: Sequence[_Hit], finder: Finder) -> list[SearchHit]:
    rows = [hit.row for hit in hits]
    session_pks = {row.session_pk for row in rows if isinstance(row, MessageMatch)}
    runs = active_runs.active_runs(conn, sorted(session_pks))
    return [
        _title_hit(row, finder)
        if isinstance(row, TitleMatch)
        else _message_hit(row, finder, runs[row.session_pk])
        for row in rows
    ]


def _title_hit(row: TitleMatch, finder: Finder) -> SearchHit:
    return SearchHit(
        session_id=row.session_id,
        title=row.title,
        message_id=None,
        role=None,
        created_at=rfc3339(row.created_at),
        on_active_branch=True,
        snippet=tuple(finder.snippet(row.title)),
    )


def _message_hit(row: MessageMatch, finder: Finder, runs: Sequence[range]) -> SearchHit:
    return SearchHit(
        session_id=row.session_id,
        title=row.title,
        message_id=row.id,
        role=Role(row.role),
        created_at=rfc3339(row.created_at),
        on_active_branch=any(row.seq in run for run in runs),
        snippet=tuple(finder.snippet(row.content)),
    )


# In a function, so that many keys do not make a planner go through all of a tenant's sessions.
_OF_TENANT = sa.func.coalesce(sessions.c.tenant_id, "") == sa.bindparam("tenant")
_MESSAGES = TypedSelect(
    sa.select(
        messages.c.search_key,
        messages.c.session_pk,
        messages.c.seq,
        messages.c.id,
        messages.c.role,
        # One more than is read, so that a snippet knows that there is more.
        sa.func.substr(messages.c.content, 1, READ_CHARS + 1).label("content"),
        messages.c.created_at,
        sessions.c.session_id,
        sessions.c.title,
    )
    .join(sessions, sessions.c.pk == messages.c.session_pk)
    .where(
        _OF_TENANT,
        messages.c.search_key.in_(sa.bindparam("keys", expanding=True)),
    ),
    MessageMatch,
)
_TITLES = TypedSelect(
    sa.select(
        sessions.c.search_key, sessions.c.title, sessions.c.session_id, sessions.c.created_at
    ).where(
        _OF_TENANT,
        sessions.c.search_key.in_(sa.bindparam("keys", expanding=True)),
    ),
    TitleMatch,
)
