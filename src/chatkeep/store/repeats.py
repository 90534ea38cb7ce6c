"""Requests that were accepted before: by their idempotency key, or by a client's own mark."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain import IdempotencyKeyReused, Status, TurnRequest
from chatkeep.store import rows

KEY_MICROSECONDS = 24 * 3_600 * 1_000_000
"""How long an idempotency key stands for its turn."""

REPEAT_MICROSECONDS = 60 * 1_000_000
"""How long after a turn was accepted a repeat without a key joins it, if it has ended."""

TURNS_SEARCHED = 100
"""Newest turns of a session among which a repeat without a key is looked for."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The turn that a request has made before."""

    turn_id: str


def find(
    conn: sa.Connection, *, tenant: str, session: Any, request: TurnRequest, at: int
) -> Repeated | None:
    """The turn that this request repeats. Raises `IdempotencyKeyReused`.

    A clock that was set back makes a turn of today look like one of the future: that is fresh.
    """
    if request.idempotency_key is not None:
        return _by_key(conn, tenant, request, at)
    if request.is_repeat and session is not None:
        return _by_digest(conn, session, request, at)
    return None


def _by_key(conn: sa.Connection, tenant: str, request: TurnRequest, at: int) -> Repeated | None:
    row = rows.turn_by_key(conn, tenant=tenant, key=request.idempotency_key or "")
    if row is None:
        return None
    if not row.is_there or at - row.created_at >= KEY_MICROSECONDS:
        rows.update_turn(conn, row.id, idempotency_key=None)
        return None
    if row.request_digest != request.digest:
        raise IdempotencyKeyReused(turn_id=row.id)
    return Repeated(row.id)


def _by_digest(conn: sa.Connection, session: Any, request: TurnRequest, at: int) -> Repeated | None:
    newest = rows.newest_turns(conn, session_pk=session.pk, limit=TURNS_SEARCHED)
    for row in newest:
        under_way = row.status in {Status.QUEUED.value, Status.RUNNING.value}
        is_fresh = under_way or at - row.created_at < REPEAT_MICROSECONDS
        if row.request_digest == request.digest and is_fresh:
            return Repeated(row.id)
    return None
