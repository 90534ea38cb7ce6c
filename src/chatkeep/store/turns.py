"""Steps of a turn: accept one, begin the next, end one, find what a dead process left.

Each function is one step of a transaction; the engine decides when they happen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain import (
    Completion,
    QueueFull,
    Role,
    Status,
    Turn,
    TurnOptions,
    message_id,
    turn_id,
)
from chatkeep.store import messages, rows, sessions

QUEUE_RETRY_SECONDS = 5
"""What a client is told to wait when a session's queue is full."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that runs from now on, and all that its model needs to be asked."""

    turn: Turn
    session_pk: int
    system_prompt: str | None
    context: tuple[tuple[Role, str], ...]
    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A turn that is on disk. `begun` is `None` while another turn of its session runs.

    `first_message` is there as long as the session's title is still owed.
    """

    turn: Turn
    session_pk: int
    begun: Begun | None
    is_first: bool
    first_message: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended: its text so far, and the error unless it is complete."""

    status: Status
    text: str
    completion: Completion
    error_code: str | None = None
    error_detail: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn's end that is on disk: its session's title, and the turn that was waiting for it."""

    title: str
    following: Begun | None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A turn that a process which is gone has left behind."""

    session_pk: int
    turn: Turn


def accept(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    message: str,
    options: TurnOptions,
    default_model: str,
    context_messages: int,
    max_queued: int,
    make_title: Callable[[str, int], str],
    at: int,
) -> Accepted:
    """Store a message and its turn, creating the session where needed; begin it if it can run.

    `make_title` makes the provisional title from the message and the time. Raises `QueueFull`.
    """
    session = sessions.find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        title = make_title(message, at)
        session = sessions.create(conn, tenant=tenant, session_id=session_id, title=title, at=at)
    ahead = rows.unfinished_count(conn, session.pk)
    if ahead > max_queued:
        raise QueueFull(retry_after=QUEUE_RETRY_SECONDS)
    at = max(at, session.updated_at)
    turn = Turn(
        turn_id=turn_id(),
        session_id=session_id,
        status=Status.QUEUED if ahead else Status.RUNNING,
        attempt=0 if ahead else 1,
        model=options.model or session.model or default_model,
        user_message_id=message_id(),
        message_id=message_id(),
        options=options,
    )
    rows.insert_turn(
        conn,
        turn,
        tenant=tenant,
        session=session,
        waiting_message=message if ahead else None,
        at=at,
    )
    counted = {"turn_count": session.turn_count + 1, "updated_at": at}
    if ahead:
        rows.update_session(conn, session.pk, **counted)
        begun = None
    else:
        begun = _enter(conn, session, turn, message, context_messages, at, **counted)
    is_first = session.turn_count == 0
    first_message = rows.first_message(conn, session, message)
    return Accepted(turn, session.pk, begun, is_first, first_message)


def begin_next(
    conn: sa.Connection, *, session_pk: int, context_messages: int, at: int
) -> Begun | None:
    """Begin the turn that waits longest in a session where none runs; `None` if none waits.

    A session that is deleted has no turns: nothing is begun there.
    """
    row = conn.execute(rows.NEXT, {"session": session_pk}).one_or_none()
    if row is None:
        return None
    session = rows.session(conn, session_pk)
    at = max(at, session.updated_at)
    turn = rows.turn(row, session.session_id, status=Status.RUNNING, attempt=1)
    rows.update_turn(
        conn,
        turn.turn_id,
        status=turn.status.value,
        attempt=turn.attempt,
        input=None,
        user_seq=session.last_seq + 1,
        started_at=at,
    )
    return _enter(conn, session, turn, row.input, context_messages, at, updated_at=at)


def end(
    conn: sa.Connection, *, turn_id: str, outcome: Outcome, context_messages: int, at: int
) -> Ended | None:
    """End a running turn and begin the one that waits for it, all or nothing.

    Stores the reply, the turn's end and the session's counters. `None`, changing nothing, if
    the turn is gone or has ended before.
    """
    row = conn.execute(rows.BY_ID, {"turn": turn_id}).one_or_none()
    if row is None or row.status != Status.RUNNING.value:
        return None
    session = rows.session(conn, row.session_pk)
    at = max(at, session.updated_at)
    if outcome.text:
        seq, depth = session.last_seq + 1, session.message_count + 1
        messages.insert(
            conn,
            session_pk=session.pk,
            seq=seq,
            parent_seq=row.user_seq,
            depth=depth,
            message_id=row.message_id,
            role=Role.ASSISTANT,
            content=outcome.text,
            status=outcome.status,
            turn_id=turn_id,
            at=at,
        )
        rows.update_session(
            conn, session.pk, head_seq=seq, last_seq=seq, message_count=depth, updated_at=at
        )
    messages.set_status(conn, session_pk=session.pk, seq=row.user_seq, status=outcome.status)
    rows.update_turn(
        conn,
        turn_id,
        status=outcome.status.value,
        input_tokens=outcome.completion.usage.input_tokens,
        output_tokens=outcome.completion.usage.output_tokens,
        finish_reason=outcome.completion.finish_reason,
        error_code=outcome.error_code,
        error_detail=outcome.error_detail,
        ended_at=at,
    )
    following = begin_next(conn, session_pk=session.pk, context_messages=context_messages, at=at)
    return Ended(session.title, following)


def unfinished(conn: sa.Connection) -> list[Unfinished]:
    """Every running turn, and the longest waiting one of each session where none runs."""
    left = conn.execute(rows.UNFINISHED).all()
    first_of: dict[int, Unfinished] = {}
    for row in left:
        found = Unfinished(row.session_pk, rows.turn(row, row.session_id))
        if row.session_pk not in first_of or found.turn.status is Status.RUNNING:
            first_of[row.session_pk] = found
    return list(first_of.values())


def begin_again(conn: sa.Connection, *, turn_id: str, context_messages: int) -> Begun:
    """Count another attempt of a running turn, and read again what its model needs."""
    row = conn.execute(rows.BY_ID, {"turn": turn_id}).one()
    rows.update_turn(conn, turn_id, attempt=row.attempt + 1)
    session = rows.session(conn, row.session_pk)
    question = conn.execute(rows.QUESTION, {"session": session.pk, "at_seq": row.user_seq}).one()
    turn = rows.turn(row, session.session_id, attempt=row.attempt + 1)
    return _begun(conn, session, turn, question.content, question.parent_seq, context_messages)


def _enter(
    conn: sa.Connection,
    session: Any,
    turn: Turn,
    message: str,
    context_messages: int,
    at: int,
    **session_values: int,
) -> Begun:
    """Put a turn's message at the end of the active branch, and read what came before it."""
    seq, depth = session.last_seq + 1, session.message_count + 1
    messages.insert(
        conn,
        session_pk=session.pk,
        seq=seq,
        parent_seq=session.head_seq,
        depth=depth,
        message_id=turn.user_message_id,
        role=Role.USER,
        content=message,
        status=turn.status,
        turn_id=turn.turn_id,
        at=at,
    )
    rows.update_session(
        conn, session.pk, head_seq=seq, last_seq=seq, message_count=depth, **session_values
    )
    return _begun(conn, session, turn, message, session.head_seq, context_messages)


def _begun(
    conn: sa.Connection,
    session: Any,
    turn: Turn,
    message: str,
    parent_seq: int | None,
    context_messages: int,
) -> Begun:
    limit = context_messages if session.context_messages is None else session.context_messages
    context = messages.context(conn, session_pk=session.pk, head_seq=parent_seq, limit=limit)
    return Begun(turn, session.pk, session.system_prompt, context, message)
