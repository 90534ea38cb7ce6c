"""Steps of a turn: begin the next that waits, begin one again, end one.

Each function is one step of a transaction; the engine decides when they happen.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import Call, Completion, Role, Status, SystemPrompts, Turn
from chatkeep.store import messages, rows, usage

ROOT = 0
"""The place above a session's first message."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Who runs turns, and with what, where neither the turn nor its session says."""

    owner: str
    model: str
    system_prompts: SystemPrompts
    context_messages: int


@dataclass(frozen=True, slots=True)
class StartedTurn:
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
    following: StartedTurn | None


class _Asked(NamedTuple):
    """A user's message in the tree, with the columns that its row would have."""

    seq: int
    parent_seq: int | None
    depth: int
    content: str


@dataclass(frozen=True, slots=True)
class _Sent:
    """What else than messages a turn's model is sent."""

    system: str | None
    limit: int
    values: dict[str, object]
    """What of it the turn's row says."""


def start_turn(
    conn: sa.Connection,
    session: Any,
    waiting: Turn,
    message: str | None,
    runner: Runner,
    values: dict[str, Any],
) -> StartedTurn:
    """Store a turn of a session where none runs or waits, and begin it.

    `values` are the columns of its row that `waiting` does not speak of.
    """
    turn = replace(waiting, status=Status.RUNNING, attempt=1)
    sent, at = _sent(conn, session, turn, runner), values["created_at"]
    counted = {"turn_count": session.turn_count + 1, "updated_at": at}
    if values["regenerates"] is None:
        asked = _place(conn, session, values["branch_seq"], message or "")
    else:
        asked = rows.message_named(conn, session_pk=session.pk, message_id=turn.user_message_id)
    rows.insert_turn(conn, turn, user_seq=asked.seq, started_at=at, **sent.values, **values)
    if values["regenerates"] is None:
        _enter(conn, session, turn, asked, Status.RUNNING, at)
        counted |= _head(asked.seq, asked.depth)
    rows.update_session(conn, session.pk, **counted)
    return _begun(conn, session, turn, asked, sent)


def start_next_turn(
    conn: sa.Connection, *, session_pk: int, runner: Runner, at: int
) -> StartedTurn | None:
    """Begin the turn that waits longest in a session where none runs; `None` if none waits.

    The message of a turn that was cancelled while it waited gets its place in passing. A session
    that is deleted has no turns: nothing is begun there.
    """
    while row := rows.NEXT.one(conn, {"session": session_pk}):
        session = rows.session(conn, session_pk)
        at = max(at, session.updated_at)
        if row.regenerates is None:
            asked = _place(conn, session, row.branch_seq, row.input)
        else:
            asked = rows.message_named(conn, session_pk=session.pk, message_id=row.user_message_id)
        is_cancelled = row.status == Status.CANCELLED.value
        turn = rows.turn(row, session.session_id)
        if not is_cancelled:
            turn = replace(turn, status=Status.RUNNING, attempt=1)
        if row.regenerates is None:
            _enter(conn, session, turn, asked, turn.status, at)
            rows.update_session(conn, session.pk, **_head(asked.seq, asked.depth), updated_at=at)
        if is_cancelled:
            rows.update_turn(conn, row.id, input=None, user_seq=asked.seq)
            continue
        sent = _sent(conn, session, turn, runner)
        rows.update_turn(
            conn,
            row.id,
            status=turn.status.value,
            attempt=turn.attempt,
            input=None,
            user_seq=asked.seq,
            started_at=at,
            **sent.values,
        )
        return _begun(conn, session, turn, asked, sent)
    return None


def restart_turn(conn: sa.Connection, *, turn_id: str, runner: Runner) -> StartedTurn:
    """Count another attempt of a running turn, and read again what its model needs."""
    row = rows.BY_ID.one(conn, {"turn": turn_id})
    session = rows.session(conn, row.session_pk)
    asked = rows.message_at(conn, session_pk=session.pk, seq=row.user_seq)
    turn = rows.turn(row, session.session_id, attempt=row.attempt + 1)
    sent = _sent(conn, session, turn, runner)
    rows.update_turn(conn, turn_id, attempt=turn.attempt, **sent.values)
    return _begun(conn, session, turn, asked, sent)


def end(
    conn: sa.Connection, *, turn_id: str, outcome: Outcome, runner: Runner, at: int
) -> Ended | None:
    """End a running turn and begin the one that waits for it, all or nothing.

    Stores the reply, the turn's end and the session's counters. `None`, changing nothing, if
    the turn is gone, has ended before, or belongs to another runner by now.
    """
    row = rows.RUNNING.one(conn, {"turn": turn_id})
    if row is None or row.status != Status.RUNNING.value or row.owner != runner.owner:
        return None
    at = max(at, row.updated_at)
    if outcome.text:
        seq, depth = row.last_seq + 1, row.depth + 1
        messages.insert(
            conn,
            tenant=row.tenant_id,
            session_pk=row.session_pk,
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
        rows.update_session(conn, row.session_pk, **_head(seq, depth), updated_at=at)
    else:
        # That too is activity: what is kept for days without any must not go at once.
        rows.update_session(conn, row.session_pk, updated_at=at)
    # A reply that is tried again in vain does not take anything from the first.
    if row.regenerates is None or outcome.status is Status.COMPLETED:
        messages.set_status(
            conn, session_pk=row.session_pk, seq=row.user_seq, status=outcome.status
        )
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
        tenant=row.turn_tenant,
        session_pk=row.session_pk,
        turn_id=turn_id,
        made=outcome.calls,
        at=at,
    )
    return Ended(row.title, start_next_turn(conn, session_pk=row.session_pk, runner=runner, at=at))


def _place(conn: sa.Connection, session: Any, branch_seq: int | None, content: str) -> _Asked:
    """Where a new message goes: to the session's head, or to where its turn says."""
    if branch_seq is None:
        parent_seq, depth = session.head_seq, session.message_count + 1
    elif branch_seq == ROOT:
        parent_seq, depth = None, 1
    else:
        parent = rows.message_at(conn, session_pk=session.pk, seq=branch_seq)
        parent_seq, depth = parent.seq, parent.depth + 1
    return _Asked(session.last_seq + 1, parent_seq, depth, content)


def _enter(
    conn: sa.Connection, session: Any, turn: Turn, asked: _Asked, status: Status, at: int
) -> None:
    """Put a turn's message into the tree; it is the session's head from then on."""
    messages.insert(
        conn,
        tenant=session.tenant_id,
        session_pk=session.pk,
        seq=asked.seq,
        parent_seq=asked.parent_seq,
        depth=asked.depth,
        message_id=turn.user_message_id,
        role=Role.USER,
        content=asked.content,
        status=status,
        turn_id=turn.turn_id,
        at=at,
    )


def _head(seq: int, depth: int) -> dict[str, int]:
    """The columns of a session whose newest message is its head."""
    return {"head_seq": seq, "last_seq": seq, "message_count": depth}


def _sent(conn: sa.Connection, session: Any, turn: Turn, runner: Runner) -> _Sent:
    """Choose what a turn's model is sent, and keep its system prompt."""
    size = session.context_messages
    limit = runner.context_messages if size is None else size
    default = runner.system_prompts.of(turn.model)
    chosen = (turn.options.system_prompt, session.system_prompt, default)
    system = next((text for text in chosen if text is not None), None) or None
    digest = None
    if system is not None:
        digest = blake2b(system.encode(), digest_size=16).digest()
        rows.keep_system_prompt(conn, session_pk=session.pk, digest=digest, content=system)
    values: dict[str, object] = {
        "owner": runner.owner,
        "context_messages": limit,
        "context_seq": session.last_seq,
        "system_prompt_digest": digest,
    }
    return _Sent(system, limit, values)


def _begun(conn: sa.Connection, session: Any, turn: Turn, asked: Any, sent: _Sent) -> StartedTurn:
    """Read the messages that a turn's model is sent."""
    context = messages.context(
        conn,
        session_pk=session.pk,
        head_seq=asked.parent_seq,
        limit=sent.limit,
        until=session.last_seq,
    )
    return StartedTurn(turn, session.pk, sent.system, context, asked.content)
