"""Requests that were accepted before: by their idempotency key, or by a client's own mark."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import IdempotencyKeyReused, SessionNotFound, TurnRef
from chatkeep.domain.model import Status, TurnRequest
from chatkeep.store import rows
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.tables import deleted_requests, turns

KEY_MICROSECONDS = 24 * 3_600 * 1_000_000
"""How long an idempotency key stands for its turn."""

REPEAT_MICROSECONDS = 60 * 1_000_000
"""How long after a turn was accepted a repeat without a key joins it, if it has ended."""

TURNS_SEARCHED = 100
"""Newest turns of a session among which a repeat without a key is looked for."""


@dataclass(frozen=True, slots=True)
class DuplicateRequest:
    """The turn that a request has made before."""

    turn_id: str


def find(
    conn: sa.Connection, *, tenant: str, session: Any, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    """The turn that this request repeats.

    Raises `IdempotencyKeyReused`, and `SessionNotFound` if the session of its turn was deleted.

    A clock that was set back makes a turn of today look like one of the future: that is fresh.
    """
    if request.idempotency_key is not None:
        return _by_key(conn, tenant, request, at)
    if request.is_client_retry and session is not None:
        return _by_digest(conn, session, request, at)
    return None


def remember_deleted(conn: sa.Connection, *, tenant: str, session_pk: int, at: int) -> None:
    """Note the requests of a session that is being deleted, and drop the notes that have expired.

    Whoever repeats such a request did not hear its answer, and does not mean a new session. What is
    noted is a digest of the key with the whole request: nobody who does not know both finds them.
    """
    conn.execute(_FORGET, {"before": at - KEY_MICROSECONDS})
    keyed = conn.execute(_KEYED, {"session": session_pk, "since": at - KEY_MICROSECONDS}).all()
    notes = [
        {
            "digest": _digest(tenant, row.idempotency_key, row.request_digest),
            "created_at": row.created_at,
        }
        for row in keyed
    ]
    if notes:
        # A clock that was set back may have left an older one.
        conn.execute(_REPLACED, [{"noted": note["digest"]} for note in notes])
        conn.execute(deleted_requests.insert(), notes)


def _digest(tenant: str, key: str, request_digest: bytes) -> bytes:
    parts = orjson.dumps([tenant, key, request_digest.hex()])
    return blake2b(parts, digest_size=16).digest()


def _by_key(
    conn: sa.Connection, tenant: str, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    key = request.idempotency_key or ""
    row = rows.turn_by_key(conn, tenant=tenant, key=key)
    if row is None or not row.is_there:
        deleted = _DELETED.one(conn, {"digest": _digest(tenant, key, request.digest)})
        if deleted is not None and at - deleted.created_at < KEY_MICROSECONDS:
            raise SessionNotFound("The session of this request was deleted after it was answered.")
    if row is None:
        return None
    if not row.is_there or at - row.created_at >= KEY_MICROSECONDS:
        rows.update_turn(conn, row.id, idempotency_key=None)
        return None
    if row.request_digest != request.digest:
        raise IdempotencyKeyReused(turn=TurnRef(row.id))
    return DuplicateRequest(row.id)


def _by_digest(
    conn: sa.Connection, session: Any, request: TurnRequest, at: int
) -> DuplicateRequest | None:
    newest = rows.newest_turns(conn, session_pk=session.pk, limit=TURNS_SEARCHED)
    for row in newest:
        under_way = row.status in {Status.QUEUED.value, Status.RUNNING.value}
        is_fresh = under_way or at - row.created_at < REPEAT_MICROSECONDS
        if row.request_digest == request.digest and is_fresh:
            return DuplicateRequest(row.id)
    return None


_DELETED = PreparedStatement(
    sa.select(deleted_requests.c.created_at).where(
        deleted_requests.c.digest == sa.bindparam("digest")
    )
)
_FORGET = deleted_requests.delete().where(deleted_requests.c.created_at <= sa.bindparam("before"))
_REPLACED = deleted_requests.delete().where(deleted_requests.c.digest == sa.bindparam("noted"))
_KEYED = sa.select(turns.c.idempotency_key, turns.c.request_digest, turns.c.created_at).where(
    turns.c.session_pk == sa.bindparam("session"),
    turns.c.idempotency_key.is_not(None),
    turns.c.created_at >= sa.bindparam("since"),
)
