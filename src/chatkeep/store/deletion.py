"""Deletion: a session is hidden at once, then its rows are purged in steps.

A hidden session belongs to the tenant `HIDDEN`, so that no query returns it; that is one
transaction, all or nothing. Its row stays, with nothing in it, until no file contains anything of
it: so a purge that was cut short by a crash is continued at the next start. An import that is not
whole yet is hidden in the same way.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple, cast

import sqlalchemy as sa

from chatkeep.domain.errors import SessionNotFound, TurnCancelled
from chatkeep.domain.model import Status
from chatkeep.store import audit, idempotency, rows, sessions
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.search import index
from chatkeep.store.tables import (
    HIDDEN,
    SessionRow,
    SessionValues,
    calls,
    files,
    leases,
    messages,
    system_prompts,
    turns,
)
from chatkeep.store.tables import sessions as sessions_table

DELETED, IMPORTED = "deleted", "import"
"""Why a session is hidden: the first word of its id then. The last one is its tenant."""

FILES_AT_ONCE = 2
"""Pictures and documents that one step of a purge deletes: each may have many megabytes."""

NOTHING = "-"
"""The title of a session that is purged: a title is never empty."""

CANCELLED_DETAIL = "The session was deleted."
"""Why the turns of a deleted session are cancelled that had not ended: the error's sentence."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A session that was deleted, and its turns that ran or waited."""

    session_pk: int
    running: tuple[str, ...]
    queued: tuple[str, ...]


class MessageToPurge(NamedTuple):
    """A message with what its entry in the search index was made of."""

    seq: int
    role: str
    content: str
    search_key: int | None


class ActiveTurn(NamedTuple):
    """A turn that runs or waits."""

    id: str
    status: str


class ExpiredSession(NamedTuple):
    """A session that nobody has used for so long that it is deleted."""

    tenant_id: str
    session_id: str


def hidden_name(reason: str, tenant: str, owner: str = "") -> str:
    """A session id that no other session has.

    Args:
        reason: `DELETED` or `IMPORTED`.
        tenant: Whose session it was, or will be.
        owner: The process that imports it, by its lease.

    """
    return f"{reason}:{owner}{uuid.uuid4().hex}:{tenant}"


def soft_delete(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    actor: str,
    at: int,
    before: int | None = None,
) -> Removed:
    """Hide a session from everybody, and cancel its turns.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session.
        actor: Who deletes it, for the audit log.
        at: The time, in microseconds since 1970.
        before: Delete it only if it has had no activity since this time and has no turn that runs
            or waits.

    Raises:
        SessionNotFound: The tenant has no such session, or it is not to be deleted.

    """
    session = sessions.find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        raise SessionNotFound
    active_turns = _ACTIVE_TURNS.all(conn, {"session": session.pk})
    if before is not None and (session.updated_at >= before or active_turns):
        raise SessionNotFound
    conn.execute(_CANCEL_TURNS, {"session": session.pk, "at": max(at, session.updated_at)})
    idempotency.remember_deleted(conn, tenant=tenant, session_pk=session.pk, at=at)
    hidden: SessionValues = {"tenant_id": HIDDEN, "session_id": hidden_name(DELETED, tenant)}
    rows.update_session(conn, session.pk, hidden)
    # Its id is a name that somebody has chosen, and would outlive it in the log.
    deleted = audit.Action.SESSION_DELETED
    audit.add(conn, actor=actor, tenant=tenant, action=deleted, target=None, at=at)
    running = Status.RUNNING.value
    return Removed(
        session.pk,
        running=tuple(turn.id for turn in active_turns if turn.status == running),
        queued=tuple(turn.id for turn in active_turns if turn.status != running),
    )


def is_deleted(conn: sa.Connection, removed: Removed) -> bool:
    """True if the transaction that returned this took effect: see `Store.write_once`."""
    try:
        # Locked: whoever is still committing it has done so then.
        return rows.session(conn, removed.session_pk).tenant_id == HIDDEN
    except sa.exc.NoResultFound:
        return True


def give_up_imports(conn: sa.Connection) -> None:
    """Delete every session whose import is not whole, and that no living process imports."""
    conn.execute(_GIVE_UP_IMPORTS)


def purge_rows(conn: sa.Connection, *, limit: int) -> bool:
    """Delete up to `limit` rows of a deleted session. True if there may be more to delete."""
    session = _NEXT_TO_PURGE.first(conn, {})
    if session is None:
        return False
    tenant = session.session_id.split(":", 2)[2]
    if (
        _purge_messages(conn, session, tenant, limit)
        or _purge_turns(conn, session, limit)
        or _purge_files(conn, session)
    ):
        return True
    conn.execute(_ANONYMIZE_CALLS, {"session": session.pk})
    conn.execute(_DELETE_PROMPTS, {"session": session.pk})
    if session.search_key is not None:
        index.remove(
            conn,
            [index.Entry(session.search_key, session.title, tenant, session.pk, index.TITLE)],
        )
    # Its tenant may be a user, whose id is a name.
    anonymous = ":".join((*session.session_id.split(":")[:2], ""))
    rows.update_session(conn, session.pk, {**_PURGED, "session_id": anonymous})
    return True


def finish_purge(conn: sa.Connection) -> None:
    """Delete the rows of purged sessions, once no file contains anything of them."""
    conn.execute(_DELETE_PURGED)


def is_pending(conn: sa.Connection) -> bool:
    """True if an earlier process has left a session to purge."""
    return conn.execute(_ANY_HIDDEN).first() is not None


def expired(
    conn: sa.Connection,
    *,
    tenant: str | None,
    others: Collection[str] = (),
    before: int,
    limit: int,
) -> list[ExpiredSession]:
    """Sessions that may be deleted because nobody uses them.

    Args:
        conn: The connection.
        tenant: Whose sessions, those of its users included; `None` for every tenant.
        others: But not those of these tenants and their users.
        before: They have had no activity since this time, in microseconds since 1970; none of
            their turns runs or waits.
        limit: Sessions at most.

    """
    statement = _EXPIRED.where(*(~_of(other) for other in others))
    if tenant is not None:
        statement = statement.where(_of(tenant))
    return statement.all(conn, {"before": before, "limit": limit})


def _of(tenant: str) -> sa.ColumnElement[bool]:
    """True of the sessions of a tenant and its users, whose ids begin with the tenant's."""
    column = sessions_table.c.tenant_id
    return (column == tenant) | column.startswith(f"{tenant}/", autoescape=True)


def _purge_messages(conn: sa.Connection, session: SessionRow, tenant: str, limit: int) -> bool:
    """Delete messages, newest first, so that no message loses its parent."""
    newest = _NEWEST_MESSAGES.all(conn, {"session": session.pk, "limit": limit})
    if not newest:
        return False
    entries = [
        index.Entry(message.search_key, message.content, tenant, session.pk, message.role)
        for message in newest
        if message.search_key is not None
    ]
    index.remove(conn, entries)
    conn.execute(_DELETE_MESSAGES, {"session": session.pk, "from_seq": newest[-1].seq})
    return True


def _purge_turns(conn: sa.Connection, session: SessionRow, limit: int) -> bool:
    ids = conn.scalars(_SOME_TURNS, {"session": session.pk, "limit": limit}).all()
    if ids:
        conn.execute(_DELETE_TURNS, {"ids": ids})
    return bool(ids)


def _purge_files(conn: sa.Connection, session: SessionRow) -> bool:
    digests = conn.scalars(_SOME_FILES, {"session": session.pk, "limit": FILES_AT_ONCE}).all()
    if digests:
        conn.execute(_DELETE_FILES, {"session": session.pk, "digests": digests})
    return bool(digests)


_OF_SESSION = turns.c.session_pk == sa.bindparam("session")
_IS_ACTIVE = turns.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])
_ACTIVE_TURNS = TypedSelect(
    sa.select(turns.c.id, turns.c.status).where(_OF_SESSION, _IS_ACTIVE), ActiveTurn
)
_CANCEL_TURNS = (
    turns.update()
    .where(_OF_SESSION, _IS_ACTIVE)
    .values(
        status=Status.CANCELLED.value,
        error_code=TurnCancelled.code,
        error_detail=CANCELLED_DETAIL,
        ended_at=sa.bindparam("at"),
        input=None,
    )
)
# Both are set in the last step of a purge.
_IS_PURGED = sa.and_(
    sessions_table.c.tenant_id == HIDDEN,
    sessions_table.c.title == NOTHING,
    sessions_table.c.search_key.is_(None),
)
_EMPTY = {column.name: None for column in sessions_table.columns if column.nullable}
_PURGED: SessionValues = {
    **cast("SessionValues", _EMPTY),
    "title": NOTHING,
    "title_pending": False,
    "message_count": 0,
    "metadata": "{}",
}
"""The last values of a row: nothing that anybody has written stays in it."""
_ANY_HIDDEN = sa.select(sessions_table.c.pk).where(sessions_table.c.tenant_id == HIDDEN).limit(1)
_NEXT_TO_PURGE = TypedSelect(
    sa.select(sessions_table)
    .where(
        sessions_table.c.tenant_id == HIDDEN,
        sessions_table.c.session_id.startswith(f"{DELETED}:"),
        ~_IS_PURGED,
    )
    .limit(1)
    # Another process may be at work on it.
    .with_for_update(skip_locked=True),
    SessionRow,
)
_GIVE_UP_IMPORTS = (
    sessions_table.update()
    .where(
        sessions_table.c.tenant_id == HIDDEN,
        sessions_table.c.session_id.startswith(f"{IMPORTED}:"),
        ~sa.exists().where(
            sessions_table.c.session_id.startswith(sa.literal(f"{IMPORTED}:") + leases.c.owner)
        ),
    )
    .values(session_id=DELETED + sa.func.substr(sessions_table.c.session_id, len(IMPORTED) + 1))
)
_DELETE_PURGED = sessions_table.delete().where(_IS_PURGED)
_IN_SESSION = messages.c.session_pk == sa.bindparam("session")
_NEWEST_MESSAGES = TypedSelect(
    sa.select(messages.c.seq, messages.c.role, messages.c.content, messages.c.search_key)
    .where(_IN_SESSION)
    .order_by(messages.c.seq.desc())
    .limit(sa.bindparam("limit", type_=sa.Integer)),
    MessageToPurge,
)
_DELETE_MESSAGES = messages.delete().where(_IN_SESSION, messages.c.seq >= sa.bindparam("from_seq"))
_SOME_TURNS = (
    sa.select(turns.c.id).where(_OF_SESSION).limit(sa.bindparam("limit", type_=sa.Integer))
)
_DELETE_TURNS = turns.delete().where(turns.c.id.in_(sa.bindparam("ids", expanding=True)))
_SOME_FILES = (
    sa.select(files.c.digest)
    .where(files.c.session_pk == sa.bindparam("session"))
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_DELETE_FILES = files.delete().where(
    files.c.session_pk == sa.bindparam("session"),
    files.c.digest.in_(sa.bindparam("digests", expanding=True)),
)
_DELETE_PROMPTS = system_prompts.delete().where(
    system_prompts.c.session_pk == sa.bindparam("session")
)
_ANONYMIZE_CALLS = (
    calls.update()
    .where(calls.c.session_pk == sa.bindparam("session"))
    .values(session_pk=None, turn_id=None)
)
_EXPIRED = TypedSelect(
    sa.select(sessions_table.c.tenant_id, sessions_table.c.session_id)
    .where(
        sessions_table.c.tenant_id != HIDDEN,
        sessions_table.c.updated_at < sa.bindparam("before"),
        ~sa.exists().where(turns.c.session_pk == sessions_table.c.pk, _IS_ACTIVE),
    )
    .limit(sa.bindparam("limit", type_=sa.Integer)),
    ExpiredSession,
)
