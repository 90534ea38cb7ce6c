"""Steps before a turn: accept one, or find that it was accepted; cancel one that still waits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain.errors import MessageNotFound, QueueFull, SessionBusy, TurnNotFound, TurnRef
from chatkeep.domain.ids import message_id, turn_id
from chatkeep.domain.model import OnBusy, Session, Status, Turn, TurnOptions, TurnRequest
from chatkeep.store import idempotency, rows, sessions
from chatkeep.store.turns import ROOT, Runner, StartedTurn, start_next_turn, start_turn

QUEUE_RETRY_SECONDS = 5
"""What a client is told to wait when a session's queue is full."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A turn that is on disk. `begun` is `None` while another turn of its session runs.

    `running` is that other turn's id. `created` is the session, as it is listed, if this is its
    first turn. `first_message` is there as long as the session's title is still owed.
    """

    turn: Turn
    session_pk: int
    begun: StartedTurn | None
    running: str | None
    created: Session | None
    first_message: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a turn's message goes, or which message it answers once more."""

    branch_seq: int | None = None
    original: Any = None


def create_turn(
    conn: sa.Connection,
    *,
    tenant: str,
    request: TurnRequest,
    runner: Runner,
    max_queued: int,
    make_title: Callable[[str, int], str],
    at: int,
) -> Accepted | idempotency.DuplicateRequest:
    """Store a turn, creating the session where needed; begin it if it can run.

    A request that was accepted before is not accepted again. `make_title` makes the provisional
    title from the message and the time. Raises `QueueFull`, `SessionBusy`, `MessageNotFound`,
    `TurnNotFound` and `IdempotencyKeyReused`.
    """
    session = sessions.find(conn, tenant=tenant, session_id=request.session_id)
    repeated = idempotency.find(conn, tenant=tenant, session=session, request=request, at=at)
    if repeated is not None:
        return repeated
    place = _place(conn, tenant, session, request)
    if session is None:
        title = make_title(request.message or "", at)
        session = sessions.create(
            conn, tenant=tenant, session_id=request.session_id, title=title, at=at
        )
    line = rows.line(conn, session.pk)
    if line.running and request.on_busy is OnBusy.REJECT:
        raise SessionBusy(turn=TurnRef(line.running, session.session_id), forbids_retry=True)
    if line.running and line.waiting >= max_queued:
        raise QueueFull(retry_after=QUEUE_RETRY_SECONDS, turn=TurnRef(line.running))
    at = max(at, session.updated_at)
    turn = _turn(session, request, place, runner)
    values = {
        "tenant_id": tenant,
        "session_pk": session.pk,
        "seq": session.turn_count + 1,
        "idempotency_key": request.idempotency_key,
        "request_digest": request.digest,
        "branch_seq": place.branch_seq,
        "regenerates": place.original.id if place.original else None,
        "created_at": at,
    }
    begun = None
    if line.running or line.waiting:
        rows.insert_turn(conn, turn, input=request.message, **values)
        counted = {"turn_count": session.turn_count + 1, "updated_at": at}
        rows.update_session(conn, session.pk, **counted)
        # It waits like any other; where none runs, the turn has come of who waits longest.
        if not line.running:
            begun = start_next_turn(conn, session_pk=session.pk, runner=runner, at=at)
    else:
        begun = start_turn(conn, session, turn, request.message, runner, values)
        turn = begun.turn
    first_message = _first_message(conn, session, request.message)
    return Accepted(
        turn,
        session.pk,
        begun,
        line.running,
        created=None if session.turn_count else sessions.listed(conn, tenant=tenant, pk=session.pk),
        first_message=first_message,
    )


def cancel_waiting(
    conn: sa.Connection, *, tenant: str, turn_id: str, error_code: str, error_detail: str, at: int
) -> Status:
    """End a turn that waits, and return how it was before; any other is left as it is.

    Its message stays, and keeps its place in the line. Raises `TurnNotFound`.
    """
    row = rows.turn_of(conn, tenant=tenant, turn_id=turn_id)
    if row is None:
        raise TurnNotFound
    if row.status == Status.QUEUED.value:
        rows.update_turn(
            conn,
            turn_id,
            status=Status.CANCELLED.value,
            error_code=error_code,
            error_detail=error_detail,
            ended_at=max(at, row.created_at),
        )
    return Status(row.status)


def _place(conn: sa.Connection, tenant: str, session: Any, request: TurnRequest) -> _Place:
    """Find the message or the turn that a request names, in its session."""
    if request.regenerate is not None:
        original = rows.turn_of(conn, tenant=tenant, turn_id=request.regenerate)
        if original is None or session is None or original.session_pk != session.pk:
            raise TurnNotFound("There is no such turn in this session.")
        return _Place(original=original)
    if request.branch is None:
        return _Place()
    if request.branch.parent_id is None:
        return _Place(ROOT)
    parent = session and rows.message_named(
        conn, session_pk=session.pk, message_id=request.branch.parent_id
    )
    if parent is None:
        raise MessageNotFound("There is no such message in this session.")
    return _Place(parent.seq)


def _turn(session: Any, request: TurnRequest, place: _Place, runner: Runner) -> Turn:
    """A turn that waits. Where the request is silent, it asks as its session has it set.

    One that regenerates asks as the original did, whatever has been set since.
    """
    if place.original is None:
        model, question = session.model or runner.model, message_id()
        settings = TurnOptions(temperature=session.temperature, max_tokens=session.max_tokens)
    else:
        before = rows.turn(place.original, session.session_id)
        model, question, settings = before.model, before.user_message_id, before.options
    options = request.options.over(settings)
    return Turn(
        turn_id=turn_id(),
        session_id=session.session_id,
        status=Status.QUEUED,
        attempt=0,
        model=options.model or model,
        user_message_id=question,
        message_id=message_id(),
        options=options,
    )


def _first_message(conn: sa.Connection, session: Any, message: str | None) -> str | None:
    """What the session's title is made from, if the model still owes one."""
    if not session.title_pending:
        return None
    first = rows.message_at(conn, session_pk=session.pk, seq=1)
    return message if first is None else str(first.content)
