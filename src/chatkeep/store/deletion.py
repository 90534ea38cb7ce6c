"""Deletion that is true: a session is hidden at once, then swept away in steps.

Hidden, a session has no tenant, so no query finds it; that is one transaction, all or nothing. Its
row stays, with nothing in it, until no file holds anything of it: so a sweep that was cut short
by a crash is known at the next start. An import that is not whole yet is hidden in the same way.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.model import Status
from chatkeep.store import idempotency, rows, sessions
from chatkeep.store.search import hits as search
from chatkeep.store.tables import HIDDEN, calls, messages, system_prompts, tenants, turns
from chatkeep.store.tables import sessions as sessions_table

DELETED, IMPORTED = "deleted", "import"
"""Why a session is hidden: the first word of its name then. The last one is its tenant."""

NOTHING = "-"
"""The title of a session that is swept: a title is never empty."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A session that is not there any more, and its turns that had not ended."""

    session_pk: int
    turn_ids: tuple[str, ...]


def hidden_name(reason: str, tenant: str) -> str:
    """A name for a hidden session that no other has."""
    return f"{reason}:{uuid.uuid4().hex}:{tenant}"


def soft_delete(
    conn: sa.Connection, *, tenant: str, session_id: str, at: int, before: int | None = None
) -> Removed:
    """Take a session out of its tenant's sight, and end its turns. Raises `SessionNotFound`.

    With `before` only if it has had no activity since, and no turn is under way: else there is no
    such session.
    """
    session = sessions.find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        raise SessionNotFound
    under_way = conn.scalars(_TURNS_UNDER_WAY, {"session": session.pk}).all()
    if before is not None and (session.updated_at >= before or under_way):
        raise SessionNotFound
    conn.execute(_END, {"session": session.pk, "at": max(at, session.updated_at)})
    idempotency.remember_deleted(conn, tenant=tenant, session_pk=session.pk, at=at)
    rows.update_session(conn, session.pk, tenant_id=HIDDEN, session_id=hidden_name(DELETED, tenant))
    return Removed(session.pk, tuple(under_way))


def give_up_imports(conn: sa.Connection) -> None:
    """Take every session that was coming in for deleted: right while nobody imports."""
    conn.execute(_GIVE_UP)


def purge_rows(conn: sa.Connection, *, limit: int) -> bool:
    """Delete up to `limit` rows of a deleted session; whether there is more to delete."""
    session = conn.execute(_DELETED_ROWS).first()
    if session is None:
        return False
    tenant = session.session_id.split(":", 2)[2]
    if not (_sweep_messages(conn, session, tenant, limit) or _sweep_turns(conn, session, limit)):
        conn.execute(_UNCOUNT, {"session": session.pk})
        conn.execute(_DELETE_PROMPTS, {"session": session.pk})
        _remove_title(conn, session, tenant)
        rows.update_session(conn, session.pk, **_EMPTY)
    return True


def finish_purge(conn: sa.Connection) -> None:
    """Let go of the hidden sessions of which nothing is left anywhere."""
    conn.execute(_FINISH)


def is_pending(conn: sa.Connection) -> bool:
    """Whether an earlier process has left something to sweep."""
    return conn.execute(_ANY_HIDDEN).first() is not None


def expired(conn: sa.Connection, *, tenant: str, before: int, limit: int) -> list[str]:
    """Sessions of a tenant without activity since a time, and without a turn under way."""
    place = {"tenant": tenant, "before": before, "limit": limit}
    return list(conn.scalars(_EXPIRED, place).all())


def tenant_ids(conn: sa.Connection) -> list[str]:
    """All tenants."""
    found = conn.scalars(sa.select(tenants.c.id).where(tenants.c.id != HIDDEN))
    return list(found.all())


def _sweep_messages(conn: sa.Connection, session: Any, tenant: str, limit: int) -> bool:
    """Newest first, so that no message loses its parent."""
    found = conn.execute(_LEFT, {"session": session.pk, "limit": limit}).all()
    if not found:
        return False
    entries = [
        search.Entry(row.search_key, row.content, tenant, session.pk, row.role)
        for row in found
        if row.search_key is not None
    ]
    search.remove(conn, entries)
    conn.execute(_DELETE_MESSAGES, {"session": session.pk, "from_seq": found[-1].seq})
    return True


def _sweep_turns(conn: sa.Connection, session: Any, limit: int) -> bool:
    found = conn.scalars(_TURNS_LEFT, {"session": session.pk, "limit": limit}).all()
    if found:
        conn.execute(_DELETE_TURNS, {"ids": found})
    return bool(found)


def _remove_title(conn: sa.Connection, session: Any, tenant: str) -> None:
    if session.search_key is not None:
        entry = search.Entry(session.search_key, session.title, tenant, session.pk, search.TITLE)
        search.remove(conn, [entry])


_OF_SESSION = turns.c.session_pk == sa.bindparam("session")
_UNDER_WAY = turns.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])
_TURNS_UNDER_WAY = sa.select(turns.c.id).where(_OF_SESSION, _UNDER_WAY)
_END = (
    turns.update()
    .where(_OF_SESSION, _UNDER_WAY)
    .values(status=Status.CANCELLED.value, ended_at=sa.bindparam("at"), input=None)
)
# A hidden session is empty when its title is nothing and nothing can be searched any more.
_IS_EMPTY = sa.and_(
    sessions_table.c.tenant_id == HIDDEN,
    sessions_table.c.title == NOTHING,
    sessions_table.c.search_key.is_(None),
)
_EMPTY = {
    "title": NOTHING,
    "search_key": None,
    "title_pending": False,
    "head_seq": None,
    "message_count": 0,
    "system_prompt": None,
    "model": None,
    "metadata": "{}",
}
_ANY_HIDDEN = sa.select(sessions_table.c.pk).where(sessions_table.c.tenant_id == HIDDEN).limit(1)
_DELETED_ROWS = (
    sa.select(sessions_table)
    .where(
        sessions_table.c.tenant_id == HIDDEN,
        sessions_table.c.session_id.startswith(f"{DELETED}:"),
        ~_IS_EMPTY,
    )
    .limit(1)
)
_GIVE_UP = (
    sessions_table.update()
    .where(
        sessions_table.c.tenant_id == HIDDEN,
        sessions_table.c.session_id.startswith(f"{IMPORTED}:"),
    )
    .values(session_id=DELETED + sa.func.substr(sessions_table.c.session_id, len(IMPORTED) + 1))
)
_FINISH = sessions_table.delete().where(_IS_EMPTY)
_IN_SESSION = messages.c.session_pk == sa.bindparam("session")
_LEFT = (
    sa.select(messages.c.seq, messages.c.role, messages.c.content, messages.c.search_key)
    .where(_IN_SESSION)
    .order_by(messages.c.seq.desc())
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_DELETE_MESSAGES = messages.delete().where(_IN_SESSION, messages.c.seq >= sa.bindparam("from_seq"))
_TURNS_LEFT = (
    sa.select(turns.c.id).where(_OF_SESSION).limit(sa.bindparam("limit", type_=sa.Integer))
)
_DELETE_TURNS = turns.delete().where(turns.c.id.in_(sa.bindparam("ids", expanding=True)))
_DELETE_PROMPTS = system_prompts.delete().where(
    system_prompts.c.session_pk == sa.bindparam("session")
)
_UNCOUNT = (
    calls.update()
    .where(calls.c.session_pk == sa.bindparam("session"))
    .values(session_pk=None, turn_id=None)
)
_EXPIRED = (
    sa.select(sessions_table.c.session_id)
    .where(
        sessions_table.c.tenant_id == sa.bindparam("tenant"),
        sessions_table.c.updated_at < sa.bindparam("before"),
        ~sa.exists().where(turns.c.session_pk == sessions_table.c.pk, _UNDER_WAY),
    )
    .order_by(sessions_table.c.updated_at, sessions_table.c.session_id)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
