"""Statements on sessions: find, create, list, title. What a title may be is not known here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain import (
    MessageNotFound,
    Session,
    SessionBusy,
    SessionNotFound,
    TitleSource,
    rfc3339,
)
from chatkeep.store import rows
from chatkeep.store.tables import messages, sessions

_LISTED = (
    sessions.c.session_id,
    sessions.c.title,
    sessions.c.title_source,
    sessions.c.created_at,
    sessions.c.updated_at,
    sessions.c.message_count,
)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list of sessions, which is sorted by latest activity."""

    updated_at: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Untitled:
    """A session whose title the model still owes, with its first message."""

    pk: int
    first_message: str


_FIND = (
    sa.select(sessions)
    .where(
        sessions.c.tenant_id == sa.bindparam("tenant"),
        sessions.c.session_id == sa.bindparam("name"),
    )
    .with_for_update()
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
_NEWEST_AFTER = _NEWEST.where(
    sa.tuple_(sessions.c.updated_at, sessions.c.session_id)
    < sa.tuple_(
        sa.bindparam("updated_at", type_=sa.BigInteger), sa.bindparam("name", type_=sa.Text)
    )
)
_KEYS = sa.select(sessions.c.pk).where(_OF_TENANT).order_by(*_BY_ACTIVITY)
_BY_KEYS = sa.select(sessions.c.pk, *_LISTED).where(
    _OF_TENANT, sessions.c.pk.in_(sa.bindparam("keys", expanding=True))
)


def find(conn: sa.Connection, *, tenant: str, session_id: str) -> Any:
    """Return the session's row, locked against other writers until the transaction ends."""
    return conn.execute(_FIND, {"tenant": tenant, "name": session_id}).one_or_none()


def create(conn: sa.Connection, *, tenant: str, session_id: str, title: str, at: int) -> Any:
    """A new session with its provisional title; the existing one if another writer was first."""
    try:
        with conn.begin_nested():
            conn.execute(
                _INSERT,
                {
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
                },
            )
    except sa.exc.IntegrityError:
        pass  # two first posts met; the row read next is the one that won
    row = find(conn, tenant=tenant, session_id=session_id)
    if row is None:
        raise SessionNotFound
    return row


def page(
    conn: sa.Connection, *, tenant: str, limit: int, after: Position | None
) -> tuple[list[Session], Position | None]:
    """Up to `limit` sessions, newest activity first, and where the next page begins."""
    parameters: dict[str, object] = {"tenant": tenant, "limit": limit + 1}
    if after is None:
        rows = conn.execute(_NEWEST, parameters).all()
    else:
        parameters |= {"updated_at": after.updated_at, "name": after.session_id}
        rows = conn.execute(_NEWEST_AFTER, parameters).all()
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = Position(last.updated_at, last.session_id)
    return [_session(row) for row in rows[:limit]], following


def keys(conn: sa.Connection, *, tenant: str) -> Sequence[int]:
    """The primary keys of all sessions, newest activity first: the order of a whole listing."""
    return conn.scalars(_KEYS, {"tenant": tenant}).all()


def by_keys(conn: sa.Connection, *, tenant: str, pks: Sequence[int]) -> list[Session]:
    """The sessions with these keys, in this order; those deleted meanwhile are left out."""
    rows = conn.execute(_BY_KEYS, {"tenant": tenant, "keys": pks}).all()
    found = {row.pk: _session(row) for row in rows}
    return [found[pk] for pk in pks if pk in found]


def _last_of_branch_statement() -> sa.Select[tuple[int, int]]:
    in_session = messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger)
    walk = (
        sa.select(messages.c.seq, sa.literal_column("1").label("step"))
        .where(in_session, messages.c.id == sa.bindparam("message"))
        .cte("walk", recursive=True)
    )
    # The sum keeps SQLite from walking the session backwards in search of the maximum.
    newest_child = (
        sa.select(sa.func.max(messages.c.seq + 0))
        .where(in_session, messages.c.parent_seq == walk.c.seq)
        .correlate(walk)
        .scalar_subquery()
    )
    walk = walk.union_all(sa.select(newest_child, walk.c.step + 1).where(walk.c.seq.is_not(None)))
    return (
        sa.select(messages.c.seq, messages.c.depth)
        .join(walk, walk.c.seq == messages.c.seq)
        .where(in_session)
        .order_by(walk.c.step.desc())
        .limit(1)
    )


_LAST_OF_BRANCH = _last_of_branch_statement()
_HEAD = sessions.update().where(sessions.c.pk == sa.bindparam("key"))


def choose_branch(
    conn: sa.Connection, *, tenant: str, session_id: str, message_id: str, at: int
) -> Session:
    """Make the branch with this message the active one, to the newest message below it.

    Raises `SessionNotFound`, `MessageNotFound`, and `SessionBusy` while a turn runs or waits,
    because its reply will be the head.
    """
    session = find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        raise SessionNotFound
    last = conn.execute(_LAST_OF_BRANCH, {"session": session.pk, "message": message_id}).first()
    if last is None:
        raise MessageNotFound("There is no such message in this session.")
    running = rows.running_turn(conn, session.pk)
    if running is not None:
        raise SessionBusy(turn_id=running, session_id=session_id)
    values = {"head_seq": last.seq, "message_count": last.depth}
    conn.execute(_HEAD, {"key": session.pk, **values, "updated_at": max(at, session.updated_at)})
    return _session(find(conn, tenant=tenant, session_id=session_id))


def settle_title(conn: sa.Connection, *, tenant: str, pk: int, title: str | None) -> bool:
    """Store the model's title, or with `None` let the provisional one stand for good.

    A title that a person set is never overwritten. Returns whether the title changed.
    """
    values: dict[str, object] = {"title_pending": False}
    if title is not None:
        values |= {"title": title, "title_source": TitleSource.MODEL.value}
    updated = conn.execute(
        sessions.update()
        .where(
            sessions.c.tenant_id == tenant,
            sessions.c.pk == pk,
            sessions.c.title_source == TitleSource.PROVISIONAL.value,
        )
        .values(values)
    )
    return title is not None and updated.rowcount == 1


def untitled(conn: sa.Connection, *, tenant: str, limit: int) -> list[Untitled]:
    """Sessions whose title call has not succeeded yet, oldest first."""
    rows = conn.execute(
        sa.select(sessions.c.pk, messages.c.content)
        .join(messages, sa.and_(messages.c.session_pk == sessions.c.pk, messages.c.seq == 1))
        .where(sessions.c.tenant_id == tenant, sessions.c.title_pending)
        .order_by(sessions.c.pk)
        .limit(limit)
    ).all()
    return [Untitled(row.pk, row.content) for row in rows]


def _session(row: Any) -> Session:
    return Session(
        session_id=row.session_id,
        title=row.title,
        title_source=TitleSource(row.title_source),
        created_at=rfc3339(row.created_at),
        updated_at=rfc3339(row.updated_at),
        message_count=row.message_count,
    )
