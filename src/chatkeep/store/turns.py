"""Steps of a turn: begin the next that waits, begin one again, end one.

Each function is one step of a transaction; the engine decides when they happen.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import sqlalchemy as sa

from chatkeep.domain import (
    Call,
    Completion,
    Role,
    Status,
    Turn,
)
from chatkeep.store import messages, rows, usage

ROOT = 0
"""The place above a session's first message."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Who runs turns, and with what, where neither the turn nor its session says."""

    owner: str
    model: str
    system_prompt: str
    context_messages: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that runs from now on, and all that its model needs to be asked."""

    turn: Turn
    session_pk: int
    system_prompt: str | None
    context: tuple[tuple[Role, str], ...]
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended: its text so far, and the error unless it is complete."""

    status: Status
    text: str
    completion: Completion
    error_code: str | None = None
    error_detail: str | None = None
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn's end that is on disk: its session's title, and the turn that was waiting for it."""

    title: str
    following: Begun | None


class _Asked(NamedTuple):
    """A user's message in the tree, with the columns that its row would have."""

    seq: int
    parent_seq: int | None
    depth: int
    content: str


def begin_next(conn: sa.Connection, *, session_pk: int, runner: Runner, at: int) -> Begun | None:
    """Begin the turn that waits longest in a session where none runs; `None` if none waits.

    The message of a turn that was cancelled while it waited gets its place in passing. A session
    that is deleted has no turns: nothing is begun there.
    """
    while row := conn.execute(rows.NEXT, {"session": session_pk}).one_or_none():
        session = rows.session(conn, session_pk)
        at = max(at, session.updated_at)
        if row.status == Status.CANCELLED.value:
            user_seq = _enter(conn, session, row, Status.CANCELLED, at).seq
            rows.update_turn(conn, row.id, input=None, user_seq=user_seq)
            continue
        turn = rows.turn(row, session.session_id, status=Status.RUNNING, attempt=1)
        asked = (
            _enter(conn, session, row, Status.RUNNING, at)
            if row.regenerates is None
            else rows.message_named(conn, session_pk=session.pk, message_id=turn.user_message_id)
        )
        return _begun(
            conn, session, turn, asked, runner, input=None, user_seq=asked.seq, started_at=at
        )
    return None


def begin_again(conn: sa.Connection, *, turn_id: str, runner: Runner) -> Begun:
    """Count another attempt of a running turn, and read again what its model needs."""
    row = conn.execute(rows.BY_ID, {"turn": turn_id}).one()
    session = rows.session(conn, row.session_pk)
    asked = rows.message_at(conn, session_pk=session.pk, seq=row.user_seq)
    turn = rows.turn(row, session.session_id, attempt=row.attempt + 1)
    return _begun(conn, session, turn, asked, runner)


def end(
    conn: sa.Connection, *, turn_id: str, outcome: Outcome, runner: Runner, at: int
) -> Ended | None:
    """End a running turn and begin the one that waits for it, all or nothing.

    Stores the reply, the turn's end and the session's counters. `None`, changing nothing, if
    the turn is gone, has ended before, or belongs to another runner by now.
    """
    row = conn.execute(rows.BY_ID, {"turn": turn_id}).one_or_none()
    if row is None or row.status != Status.RUNNING.value or row.owner != runner.owner:
        return None
    session = rows.session(conn, row.session_pk)
    at = max(at, session.updated_at)
    if outcome.text:
        asked = rows.message_at(conn, session_pk=session.pk, seq=row.user_seq)
        seq, depth = session.last_seq + 1, asked.depth + 1
        messages.insert(
            conn,
            tenant=session.tenant_id,
            session_pk=session.pk,
            seq=seq,
            parent_seq=asked.seq,
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
    # A reply that is tried again in vain does not take anything from the first.
    if row.regenerates is None or outcome.status is Status.COMPLETED:
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
    usage.add(
        conn,
        tenant=row.tenant_id,
        session_pk=session.pk,
        turn_id=turn_id,
        made=outcome.calls,
        at=at,
    )
    return Ended(session.title, begin_next(conn, session_pk=session.pk, runner=runner, at=at))


def _enter(conn: sa.Connection, session: Any, turn: Any, status: Status, at: int) -> _Asked:
    """Put a waiting turn's message into the tree, make it the session's head, and return it."""
    if turn.branch_seq is None:
        parent_seq, depth = session.head_seq, session.message_count + 1
    elif turn.branch_seq == ROOT:
        parent_seq, depth = None, 1
    else:
        parent = rows.message_at(conn, session_pk=session.pk, seq=turn.branch_seq)
        parent_seq, depth = parent.seq, parent.depth + 1
    seq = session.last_seq + 1
    messages.insert(
        conn,
        tenant=session.tenant_id,
        session_pk=session.pk,
        seq=seq,
        parent_seq=parent_seq,
        depth=depth,
        message_id=turn.user_message_id,
        role=Role.USER,
        content=turn.input,
        status=status,
        turn_id=turn.id,
        at=at,
    )
    rows.update_session(
        conn, session.pk, head_seq=seq, last_seq=seq, message_count=depth, updated_at=at
    )
    return _Asked(seq, parent_seq, depth, turn.input)


def _begun(
    conn: sa.Connection, session: Any, turn: Turn, asked: Any, runner: Runner, **values: object
) -> Begun:
    """Read what a turn's model is sent, and write down what that was, and who runs the turn."""
    size = session.context_messages
    limit = runner.context_messages if size is None else size
    chosen = (turn.options.system_prompt, session.system_prompt, runner.system_prompt)
    system = next((text for text in chosen if text is not None), None) or None
    digest = None
    if system is not None:
        digest = blake2b(system.encode(), digest_size=16).digest()
        rows.keep_system_prompt(conn, session_pk=session.pk, digest=digest, content=system)
    rows.update_turn(
        conn,
        turn.turn_id,
        status=turn.status.value,
        attempt=turn.attempt,
        owner=runner.owner,
        context_messages=limit,
        context_seq=session.last_seq,
        system_prompt_digest=digest,
        **values,
    )
    context = messages.context(
        conn,
        session_pk=session.pk,
        head_seq=asked.parent_seq,
        limit=limit,
        until=session.last_seq,
    )
    return Begun(turn, session.pk, system, context, asked.content)
