"""Statements on turns: accept one, begin the next, end one, find what a dead process left.

Each function is one step of a transaction; the engine decides when they happen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
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
from chatkeep.store import messages, sessions
from chatkeep.store.tables import messages as messages_table
from chatkeep.store.tables import sessions as sessions_table
from chatkeep.store.tables import turns

# Written out, not bound: only so does a planner see that the partial index fits.
_UNFINISHED = turns.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])

_INSERT = turns.insert()
_UPDATE_TURN = turns.update().where(turns.c.id == sa.bindparam("turn"))
_BY_ID = sa.select(turns).where(turns.c.id == sa.bindparam("turn")).with_for_update()
_NEXT = (
    sa.select(turns)
    .where(
        turns.c.session_pk == sa.bindparam("session"),
        _UNFINISHED,
        turns.c.status == Status.QUEUED.value,
    )
    .order_by(turns.c.seq)
    .limit(1)
)
_COUNT_UNFINISHED = (
    sa.select(sa.func.count())
    .select_from(turns)
    .where(turns.c.session_pk == sa.bindparam("session"), _UNFINISHED)
)
_SESSION = (
    sa.select(sessions_table).where(sessions_table.c.pk == sa.bindparam("key")).with_for_update()
)
_UPDATE_SESSION = sessions_table.update().where(sessions_table.c.pk == sa.bindparam("key"))
_QUESTION = sa.select(messages_table.c.parent_seq, messages_table.c.content).where(
    messages_table.c.session_pk == sa.bindparam("session"),
    messages_table.c.seq == sa.bindparam("at_seq"),
)

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

    tenant: str
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
    ahead = _unfinished_count(conn, session.pk)
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
    conn.execute(
        _INSERT,
        {
            "id": turn.turn_id,
            "tenant_id": tenant,
            "session_pk": session.pk,
            "seq": session.turn_count + 1,
            "status": turn.status.value,
            "attempt": turn.attempt,
            "model": turn.model,
            "options": orjson.dumps(options).decode(),
            "input": message if ahead else None,
            "user_message_id": turn.user_message_id,
            "message_id": turn.message_id,
            "user_seq": None if ahead else session.last_seq + 1,
            "created_at": at,
            "started_at": None if ahead else at,
        },
    )
    counted = {"turn_count": session.turn_count + 1, "updated_at": at}
    if ahead:
        _update_session(conn, session.pk, **counted)
        begun = None
    else:
        begun = _enter(conn, session, turn, message, context_messages, at, **counted)
    is_first = session.turn_count == 0
    first_message = _first_message(conn, session, message)
    return Accepted(turn, session.pk, begun, is_first, first_message)


def begin_next(
    conn: sa.Connection, *, session_pk: int, context_messages: int, at: int
) -> Begun | None:
    """Begin the turn that waits longest in a session where none runs; `None` if none waits.

    A session that is deleted has no turns: nothing is begun there.
    """
    row = conn.execute(_NEXT, {"session": session_pk}).one_or_none()
    if row is None:
        return None
    session = _session(conn, session_pk)
    at = max(at, session.updated_at)
    turn = _turn(row, session.session_id, status=Status.RUNNING, attempt=1)
    _update_turn(
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
    row = conn.execute(_BY_ID, {"turn": turn_id}).one_or_none()
    if row is None or row.status != Status.RUNNING.value:
        return None
    session = _session(conn, row.session_pk)
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
        _update_session(
            conn, session.pk, head_seq=seq, last_seq=seq, message_count=depth, updated_at=at
        )
    messages.set_status(conn, session_pk=session.pk, seq=row.user_seq, status=outcome.status)
    _update_turn(
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
    rows = conn.execute(
        sa.select(turns, sessions_table.c.session_id)
        .join(sessions_table, sessions_table.c.pk == turns.c.session_pk)
        .where(_UNFINISHED)
        .order_by(turns.c.session_pk, turns.c.seq)
    ).all()
    first_of: dict[int, Unfinished] = {}
    for row in rows:
        found = Unfinished(row.tenant_id, row.session_pk, _turn(row, row.session_id))
        if row.session_pk not in first_of or found.turn.status is Status.RUNNING:
            first_of[row.session_pk] = found
    return list(first_of.values())


def begin_again(conn: sa.Connection, *, turn_id: str, context_messages: int) -> Begun:
    """Count another attempt of a running turn, and read again what its model needs."""
    row = conn.execute(_BY_ID, {"turn": turn_id}).one()
    _update_turn(conn, turn_id, attempt=row.attempt + 1)
    session = _session(conn, row.session_pk)
    question = conn.execute(_QUESTION, {"session": session.pk, "at_seq": row.user_seq}).one()
    turn = _turn(row, session.session_id, attempt=row.attempt + 1)
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
    _update_session(
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


def _first_message(conn: sa.Connection, session: Any, message: str) -> str | None:
    """What the session's title is made from, if the model still owes one."""
    if not session.title_pending:
        return None
    first = conn.execute(_QUESTION, {"session": session.pk, "at_seq": 1}).one_or_none()
    return message if first is None else str(first.content)


def _unfinished_count(conn: sa.Connection, session_pk: int) -> int:
    return conn.scalar(_COUNT_UNFINISHED, {"session": session_pk}) or 0


def _session(conn: sa.Connection, pk: int) -> Any:
    """A session's row by its key, locked against other writers until the transaction ends."""
    return conn.execute(_SESSION, {"key": pk}).one()


def _update_session(conn: sa.Connection, pk: int, **values: object) -> None:
    conn.execute(_UPDATE_SESSION, {"key": pk, **values})


def _update_turn(conn: sa.Connection, turn_id: str, **values: object) -> None:
    conn.execute(_UPDATE_TURN, {"turn": turn_id, **values})


def _turn(
    row: Any, session_id: str, *, status: Status | None = None, attempt: int | None = None
) -> Turn:
    return Turn(
        turn_id=row.id,
        session_id=session_id,
        status=status or Status(row.status),
        attempt=row.attempt if attempt is None else attempt,
        model=row.model,
        user_message_id=row.user_message_id,
        message_id=row.message_id,
        options=TurnOptions(**orjson.loads(row.options)),
    )
