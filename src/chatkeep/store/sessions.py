"""Statements on sessions: find, create, read, list. What changes them is in `changes.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.model import Session, SessionFilter, SessionRecord, TitleSource
from chatkeep.domain.times import rfc3339
from chatkeep.store import rows
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.search import hits as search
from chatkeep.store.tables import sessions

_LISTED = (
    sessions.c.session_id,
    sessions.c.title,
    sessions.c.title_source,
    sessions.c.created_at,
    sessions.c.updated_at,
    sessions.c.message_count,
    sessions.c.pinned,
    sessions.c.archived,
)


EVERY = SessionFilter()


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of sessions, which is sorted by latest activity."""

    updated_at: int
    session_id: str


_FIND = PreparedStatement(
    sa.select(sessions)
    .where(
        sessions.c.tenant_id == sa.bindparam("tenant"),
        sessions.c.session_id == sa.bindparam("name"),
    )
    .with_for_update()
)
_READ = PreparedStatement(
    sa.select(sessions).where(
        sessions.c.tenant_id == sa.bindparam("tenant"),
        sessions.c.session_id == sa.bindparam("name"),
    )
)
_INSERT = sessions.insert()
_BY_ACTIVITY = (sessions.c.updated_at.desc(), sessions.c.session_id.desc())
_OF_TENANT = sessions.c.tenant_id == sa.bindparam("tenant")
_NEWEST = (
    sa.select(*_LISTED)
    .where(_OF_TENANT)
    .order_by(*_BY_ACTIVITY)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_AFTER = sa.tuple_(sessions.c.updated_at, sessions.c.session_id) < sa.tuple_(
    sa.bindparam("updated_at", type_=sa.BigInteger), sa.bindparam("name", type_=sa.Text)
)
_KEYS = sa.select(sessions.c.pk).where(_OF_TENANT).order_by(*_BY_ACTIVITY)
_BY_KEYS = sa.select(sessions.c.pk, *_LISTED).where(
    _OF_TENANT, sessions.c.pk.in_(sa.bindparam("keys", expanding=True))
)


def find(conn: sa.Connection, *, tenant: str, session_id: str) -> Any:
    """Return the session's row, locked against other writers until the transaction ends."""
    return _FIND.one(conn, {"tenant": tenant, "name": session_id})


def create(conn: sa.Connection, *, tenant: str, session_id: str, title: str, at: int) -> Any:
    """A new session with its provisional title; the existing one if another writer was first."""
    values = {
        "tenant_id": tenant,
        "session_id": session_id,
        "title": title,
        "title_source": TitleSource.PROVISIONAL.value,
        "title_pending": True,
        "last_seq": 0,
        "message_count": 0,
        "turn_count": 0,
        "created_at": at,
        "updated_at": at,
    }
    try:
        with conn.begin_nested():
            insert(conn, values, tenant=tenant)
    except sa.exc.IntegrityError:
        pass  # two first posts met; the row read next is the one that won
    row = find(conn, tenant=tenant, session_id=session_id)
    if row is None:
        raise SessionNotFound
    return row


def insert(conn: sa.Connection, values: dict[str, Any], *, tenant: str) -> int:
    """Add a session's row, and let its title be found by the tenant; return its key."""
    key = search.title_key(conn, values["created_at"])
    inserted = conn.execute(_INSERT, {**values, "search_key": key}).inserted_primary_key
    pk = int(inserted[0]) if inserted is not None else 0
    search.add(conn, [search.Entry(key, values["title"], tenant, pk, search.TITLE)])
    return pk


def page(
    conn: sa.Connection,
    *,
    tenant: str,
    limit: int,
    after: Position | None,
    only: SessionFilter = EVERY,
) -> tuple[list[Session], Position | None]:
    """Up to `limit` sessions, newest activity first, and where the next page begins."""
    parameters: dict[str, object] = {"tenant": tenant, "limit": limit + 1}
    statement = _filtered(_NEWEST, only)
    if after is not None:
        statement = statement.where(_AFTER)
        parameters |= {"updated_at": after.updated_at, "name": after.session_id}
    rows = conn.execute(statement, parameters).all()
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = Position(last.updated_at, last.session_id)
    return [_session(row) for row in rows[:limit]], following


def keys(conn: sa.Connection, *, tenant: str, only: SessionFilter = EVERY) -> Sequence[int]:
    """The primary keys of all sessions, newest activity first: the order of a whole listing."""
    return conn.scalars(_filtered(_KEYS, only), {"tenant": tenant}).all()


def by_keys(conn: sa.Connection, *, tenant: str, pks: Sequence[int]) -> list[Session]:
    """The sessions with these keys, in this order; those deleted meanwhile are left out."""
    rows = conn.execute(_BY_KEYS, {"tenant": tenant, "keys": pks}).all()
    found = {row.pk: _session(row) for row in rows}
    return [found[pk] for pk in pks if pk in found]


def listed(conn: sa.Connection, *, tenant: str, pk: int) -> Session:
    """A session that is there, as it is listed."""
    return by_keys(conn, tenant=tenant, pks=[pk])[0]


def _filtered(statement: sa.Select[Any], only: SessionFilter) -> sa.Select[Any]:
    if only.archived is not None:
        statement = statement.where(sessions.c.archived == only.archived)
    if only.pinned is not None:
        statement = statement.where(sessions.c.pinned == only.pinned)
    if only.updated_since is not None:
        statement = statement.where(sessions.c.updated_at >= only.updated_since)
    if only.title is not None:
        # `lower` knows all letters: see `connection.py`.
        folded = sa.func.lower(sessions.c.title)
        statement = statement.where(folded.contains(only.title.lower(), autoescape=True))
    return statement


def record(conn: sa.Connection, *, tenant: str, session_id: str) -> SessionRecord:
    """A session with all that can be set of it. Raises `SessionNotFound`."""
    row = _READ.one(conn, {"tenant": tenant, "name": session_id})
    if row is None:
        raise SessionNotFound
    return of_row(conn, row)


def of_row(conn: sa.Connection, row: Any) -> SessionRecord:
    """Make a session's record of its row and what belongs to it."""
    head = None
    if row.head_seq is not None:
        head = rows.message_at(conn, session_pk=row.pk, seq=row.head_seq).id
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
        running_turn=rows.line(conn, row.pk).running,
        queued_turns=rows.queued_turns(conn, row.pk),
    )


def _session(row: Any) -> Session:
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
