"""Requests that were accepted before: by their idempotency key, or by a client's own mark."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import IdempotencyKeyReused, SessionNotFound, TurnRef
from chatkeep.domain.model import Status, TurnRequest
from chatkeep.store import rows
from chatkeep.store.prepared import PreparedSelect, TypedSelect
from chatkeep.store.tables import SessionRow, deleted_requests, sessions, turns

KEY_MICROSECONDS = 24 * 3_600 * 1_000_000
"""How long an idempotency key belongs to its turn."""

REPEAT_MICROSECONDS = 60 * 1_000_000
"""How long after a turn was accepted a retry without a key joins it, if it has ended."""

TURNS_SEARCHED = 100
"""Newest turns of a session that a retry without a key is compared with."""


@dataclass(frozen=True, slots=True)
class DuplicateRequest:
    """A request that has made this turn before."""

    turn_id: str


class DeletedRequest(NamedTuple):
    """When a request was accepted whose session is deleted."""

    created_at: int


class KeyedRequest(NamedTuple):
    """A turn that was posted with an idempotency key."""

    idempotency_key: str
    request_digest: bytes
    created_at: int


def find(
    conn: sa.Connection, *, tenant: str, session: SessionRow | None, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    """Find the turn that this request has made before.

    A clock that was set back makes a turn of today look like one of the future: that is fresh.

    Args:
        conn: The connection.
        tenant: Who sent the request.
        session: The session that it names, if that exists.
        request: What was posted.
        at: The time, in microseconds since 1970.

    Raises:
        IdempotencyKeyReused: The key belongs to another request.
        SessionNotFound: The session of its turn was deleted.

    """
    if request.idempotency_key is not None:
        return _by_key(conn, tenant, request, at)
    if request.is_client_retry and session is not None:
        return _by_digest(conn, session, request, at)
    if request.is_client_retry and request.is_detached:
        return _by_digest_alone(conn, tenant, request, at)
    return None


def find_failed(
    conn: sa.Connection, *, session: SessionRow, request: TurnRequest, at: int
) -> str | None:
    """The newest turn of a session, if an equal request has just made it and it has failed."""
    newest = rows.newest_turns(conn, session_pk=session.pk, limit=1)
    for row in newest:
        is_fresh = 0 <= at - row.created_at < REPEAT_MICROSECONDS
        has_failed = row.status in {Status.FAILED.value, Status.INTERRUPTED.value}
        if row.request_digest == request.digest and is_fresh and has_failed:
            return row.id
    return None


def remember_deleted(conn: sa.Connection, *, tenant: str, session_pk: int, at: int) -> None:
    """Store which requests a session had that is being deleted, and drop those that have expired.

    A client that sends one again did not receive its answer, and does not mean a new session. What
    is stored is a digest of the key with the whole request: nothing can be read from it.

    Args:
        conn: The connection.
        tenant: Whose session it was.
        session_pk: The session.
        at: The time, in microseconds since 1970.

    """
    since = at - KEY_MICROSECONDS
    conn.execute(_DELETE_EXPIRED, {"before": since})
    digests = [
        {
            "digest": _digest(tenant, row.idempotency_key, row.request_digest),
            "created_at": row.created_at,
        }
        for row in _KEYED.all(conn, {"session": session_pk, "since": since})
    ]
    if digests:
        # A clock that was set back may have left an older one.
        conn.execute(_DELETE_SAME, [{"same": row["digest"]} for row in digests])
        conn.execute(deleted_requests.insert(), digests)


def _digest(tenant: str, key: str, request_digest: bytes) -> bytes:
    parts = orjson.dumps([tenant, key, request_digest.hex()])
    return blake2b(parts, digest_size=16).digest()


def _by_key(
    conn: sa.Connection, tenant: str, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    key = request.idempotency_key or ""
    row = rows.turn_by_key(conn, tenant=tenant, key=key)
    if row is None or not row.has_session:
        deleted = _DELETED.first(conn, {"digest": _digest(tenant, key, request.digest)})
        if deleted is not None and at - deleted.created_at < KEY_MICROSECONDS:
            raise SessionNotFound("The session of this request was deleted after it was answered.")
    if row is None:
        return None
    if not row.has_session or at - row.created_at >= KEY_MICROSECONDS:
        rows.update_turn(conn, row.id, {"idempotency_key": None})
        return None
    if row.request_digest != request.digest:
        raise IdempotencyKeyReused(turn=TurnRef(row.id))
    return DuplicateRequest(row.id)


def _by_digest(
    conn: sa.Connection, session: SessionRow, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    for row in rows.newest_turns(conn, session_pk=session.pk, limit=TURNS_SEARCHED):
        is_unfinished = row.status in {Status.QUEUED.value, Status.RUNNING.value}
        is_fresh = is_unfinished or at - row.created_at < REPEAT_MICROSECONDS
        if row.request_digest == request.digest and is_fresh:
            return DuplicateRequest(row.id)
    return None


def _by_digest_alone(
    conn: sa.Connection, tenant: str, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    """Find a turn whose session the request cannot name, because it was created for it.

    The ids of turns begin with their time, so that those of the last minute are a range.
    """
    since = f"turn_{max(0, at - REPEAT_MICROSECONDS) // 1_000:012x}"
    params = {"since": since, "tenant": tenant, "digest": request.digest}
    row = _RECENT.first(conn, params)
    return None if row is None else DuplicateRequest(row.id)


class _TurnId(NamedTuple):
    id: str


_RECENT = PreparedSelect(
    sa.select(turns.c.id)
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(
        turns.c.id >= sa.bindparam("since"),
        # Not the column itself, or SQLite looks through all turns of the tenant.
        turns.c.tenant_id.concat("") == sa.bindparam("tenant"),
        turns.c.request_digest == sa.bindparam("digest"),
        # A session that was deleted is another tenant's; what was continued was received.
        sessions.c.tenant_id == turns.c.tenant_id,
        sessions.c.turn_count == 1,
    )
    .order_by(turns.c.id.desc())
    .limit(1),
    _TurnId,
)
_DELETED = PreparedSelect(
    sa.select(deleted_requests.c.created_at).where(
        deleted_requests.c.digest == sa.bindparam("digest")
    ),
    DeletedRequest,
)
_DELETE_EXPIRED = deleted_requests.delete().where(
    deleted_requests.c.created_at <= sa.bindparam("before")
)
_DELETE_SAME = deleted_requests.delete().where(deleted_requests.c.digest == sa.bindparam("same"))
_KEYED = TypedSelect(
    sa.select(turns.c.idempotency_key, turns.c.request_digest, turns.c.created_at).where(
        turns.c.session_pk == sa.bindparam("session"),
        turns.c.idempotency_key.is_not(None),
        turns.c.created_at >= sa.bindparam("since"),
    ),
    KeyedRequest,
)
