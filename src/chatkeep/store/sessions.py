"""Statements on sessions: find, create, read, list; `session_changes.py` has their changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.model import Session, SessionFilter, SessionRecord, TitleSource
from chatkeep.domain.times import rfc3339
from chatkeep.store import leases, rows, tenants
from chatkeep.store.functions import LowerCase
from chatkeep.store.page import Page
from chatkeep.store.prepared import PreparedSelect, TypedSelect
from chatkeep.store.search import index
from chatkeep.store.tables import SessionRow, SessionValues, sessions

EVERY = SessionFilter()


@dataclass(frozen=True, slots=True)
class SessionCursor:
    """The last session of a page of the list, which is sorted by latest activity.

    `updated_at` is in microseconds since 1970.
    """

    updated_at: int
    session_id: str


class ListedSession(NamedTuple):
    """What a list shows of a session."""

    pk: int
    session_id: str
    title: str
    title_source: str
    created_at: int
    updated_at: int
    message_count: int
    pinned: bool
    archived: bool


class NewSession(NamedTuple):
    """A session that was to be created; `is_new` is false if it was there."""

    row: SessionRow
    is_new: bool


_BY_ID = sa.select(sessions).where(
    sessions.c.tenant_id == sa.bindparam("tenant"), sessions.c.session_id == sa.bindparam("name")
)
_FIND = PreparedSelect(_BY_ID.with_for_update(key_share=True), SessionRow)
_READ = PreparedSelect(_BY_ID, SessionRow)
_NAME = (sessions.c.tenant_id, sessions.c.session_id)
_INSERT = {
    "sqlite": sqlite.insert(sessions)
    .on_conflict_do_nothing(index_elements=_NAME)
    .returning(sessions.c.pk),
    "postgresql": postgresql.insert(sessions)
    .on_conflict_do_nothing(index_elements=_NAME)
    .returning(sessions.c.pk),
}
_BY_ACTIVITY = (sessions.c.updated_at.desc(), sessions.c.session_id.desc())
_OF_TENANT = sessions.c.tenant_id == sa.bindparam("tenant")
_LISTED = (
    *(sessions.c.pk, sessions.c.session_id, sessions.c.title, sessions.c.title_source),
    *(sessions.c.created_at, sessions.c.updated_at, sessions.c.message_count),
    *(sessions.c.pinned, sessions.c.archived),
)
_NEWEST = TypedSelect(
    sa.select(*_LISTED)
    .where(_OF_TENANT)
    .order_by(*_BY_ACTIVITY)
    .limit(sa.bindparam("limit", type_=sa.Integer)),
    ListedSession,
)
_AFTER = sa.tuple_(sessions.c.updated_at, sessions.c.session_id) < sa.tuple_(
    sa.bindparam("updated_at", type_=sa.BigInteger), sa.bindparam("name", type_=sa.Text)
)
_KEYS = sa.select(sessions.c.pk).where(_OF_TENANT).order_by(*_BY_ACTIVITY)
_BY_KEYS = TypedSelect(
    sa.select(*_LISTED).where(_OF_TENANT, sessions.c.pk.in_(sa.bindparam("keys", expanding=True))),
    ListedSession,
)


def find(conn: sa.Connection, *, tenant: str, session_id: str) -> SessionRow | None:
    """A tenant's session, locked against other writers until the transaction ends."""
    return _FIND.first(conn, {"tenant": tenant, "name": session_id})


def pk_of(conn: sa.Connection, *, tenant: str, session_id: str) -> int:
    """The key of a tenant's session, which is not locked. Raises `SessionNotFound`."""
    row = _READ.first(conn, {"tenant": tenant, "name": session_id})
    if row is None:
        raise SessionNotFound
    return row.pk


def create(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    title: str,
    owner: str | None,
    at: int,
    metadata: str = "{}",
    is_detached: bool = False,
) -> NewSession:
    """Create a session; if another writer was first, return that one.

    Args:
        conn: The connection.
        tenant: Whose session it is.
        session_id: Its id.
        title: Its provisional title.
        owner: The process that makes the other title; `None` while there is nothing to make it
            from.
        at: The time, in microseconds since 1970.
        metadata: The client's own, as JSON.
        is_detached: See `TurnRequest`.

    Raises:
        TenantNotFound: There is no such tenant.

    """
    values: SessionValues = {
        "tenant_id": tenant,
        "session_id": session_id,
        "title": title,
        "title_source": TitleSource.PROVISIONAL.value,
        "title_pending": not is_detached,
        "title_owner": None if is_detached else owner,
        "archived": is_detached,
        "metadata": metadata,
        "last_seq": 0,
        "message_count": 0,
        "turn_count": 0,
        "created_at": at,
        "updated_at": at,
    }
    tenants.ensure(conn, tenant=tenant, at=at)
    # Where two first posts meet, the row that is read next is the one that won.
    pk = insert(conn, values, tenant=tenant)
    row = find(conn, tenant=tenant, session_id=session_id)
    if row is None:
        raise SessionNotFound
    return NewSession(row, is_new=pk is not None)


def bring_back(conn: sa.Connection, session: SessionRow) -> SessionRow | None:
    """Bring a session back from the archive in which a detached turn has created it.

    Its title becomes one that a model is to make. `None` for any other session: whose title a
    process has made, or was to make, has that process's name.
    """
    is_untouched = not session.title_pending and session.title_owner is None
    is_untitled = session.title_source == TitleSource.PROVISIONAL.value
    if session.turn_count != 1 or not is_untouched or not is_untitled:
        return None
    rows.update_session(conn, session.pk, {"archived": False, "title_pending": True})
    return session._replace(archived=False, title_pending=True)


def insert(conn: sa.Connection, values: SessionValues, *, tenant: str) -> int | None:
    """Add a session's row, index its title, and return its key; `None` if its name is taken.

    Args:
        conn: The connection.
        values: Its columns; only `search_key` is chosen here.
        tenant: Who may find the title, which for an import is not yet the row's own tenant.

    """
    key = index.title_key(conn, values["created_at"])
    inserts = _INSERT[conn.dialect.name].values(**values, search_key=key)
    pk: int | None = conn.execute(inserts).scalar()
    if pk is not None:
        index.add(conn, [index.Entry(key, values["title"], tenant, pk, index.TITLE)])
    return pk


def claim_title(conn: sa.Connection, session: SessionRow, owner: str) -> bool:
    """Make a session's title a process's to make; false if another one that lives makes it."""
    if session.title_owner == owner:
        return True
    if session.title_owner is not None and leases.is_alive(conn, owner=session.title_owner):
        return False
    rows.update_session(conn, session.pk, {"title_owner": owner})
    return True


def page(
    conn: sa.Connection,
    *,
    tenant: str,
    limit: int,
    after: SessionCursor | None,
    only: SessionFilter = EVERY,
) -> Page[Session, SessionCursor]:
    """List up to `limit` sessions, newest activity first.

    Args:
        conn: The connection.
        tenant: Whose sessions.
        limit: Sessions on the page at most.
        after: The last session of the page before; `None` for the first page.
        only: Which sessions to list.

    """
    params: dict[str, object] = {"tenant": tenant, "limit": limit + 1}
    statement = _NEWEST.where(*_criteria(only))
    if after is not None:
        statement = statement.where(_AFTER)
        params |= {"updated_at": after.updated_at, "name": after.session_id}
    rows = statement.all(conn, params)
    next_cursor = None
    if len(rows) > limit:
        last = rows[limit - 1]
        next_cursor = SessionCursor(last.updated_at, last.session_id)
    return Page([_session(row) for row in rows[:limit]], next_cursor)


def keys(conn: sa.Connection, *, tenant: str, only: SessionFilter = EVERY) -> Sequence[int]:
    """The keys of all sessions that pass the filter `only`, newest activity first."""
    return conn.scalars(_KEYS.where(*_criteria(only)), {"tenant": tenant}).all()


def by_keys(conn: sa.Connection, *, tenant: str, pks: Sequence[int]) -> list[Session]:
    """The sessions with these keys, in this order; those deleted meanwhile are left out."""
    rows = _BY_KEYS.all(conn, {"tenant": tenant, "keys": pks})
    by_pk = {row.pk: _session(row) for row in rows}
    return [by_pk[pk] for pk in pks if pk in by_pk]


def listed(conn: sa.Connection, *, tenant: str, pk: int) -> Session:
    """A session that exists, as it is listed."""
    return by_keys(conn, tenant=tenant, pks=[pk])[0]


def record(conn: sa.Connection, *, tenant: str, session_id: str) -> SessionRecord:
    """A session with everything that can be set of it. Raises `SessionNotFound`."""
    row = _READ.first(conn, {"tenant": tenant, "name": session_id})
    if row is None:
        raise SessionNotFound
    return of_row(conn, row)


def of_row(conn: sa.Connection, row: SessionRow) -> SessionRecord:
    """Make a session's record of its row, and read its head and its turns."""
    head = None
    if row.head_seq is not None:
        head = rows.known_message(conn, session_pk=row.pk, seq=row.head_seq).id
    listed = _session(row)
    return SessionRecord(
        **{name: getattr(listed, name) for name in Session.__dataclass_fields__},
        model=row.model,
        system_prompt=row.system_prompt,
        context_messages=row.context_messages,
        temperature=row.temperature,
        max_tokens=row.max_tokens,
        metadata=orjson.loads(row.metadata),
        head=head,
        running_turn=rows.queue_state(conn, row.pk).running,
        queued_turns=rows.queued_turns(conn, row.pk),
    )


def _criteria(only: SessionFilter) -> list[sa.ColumnElement[bool]]:
    criteria: list[sa.ColumnElement[bool]] = []
    if only.archived is not None:
        criteria.append(sessions.c.archived == only.archived)
    if only.pinned is not None:
        criteria.append(sessions.c.pinned == only.pinned)
    if only.updated_since is not None:
        criteria.append(sessions.c.updated_at >= only.updated_since)
    if only.title is not None:
        folded = LowerCase(sessions.c.title)
        criteria.append(folded.contains(only.title.lower(), autoescape=True))
    return criteria


def _session(row: SessionRow | ListedSession) -> Session:
    return Session(
        session_id=row.session_id,
        title=row.title,
        title_source=TitleSource(row.title_source),
        created_at=rfc3339(row.created_at),
        updated_at=rfc3339(row.updated_at),
        message_count=row.message_count,
        pinned=row.pinned,
        archived=row.archived,
    )
