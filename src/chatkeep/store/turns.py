"""Steps of a turn: start one, start the next that waits, start one again, finish one.

Each function is one step of a transaction; who calls it decides when the step happens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import Blocks, compacted, dump, load, rendition, tool_result
from chatkeep.domain.model import (
    Call,
    Completion,
    Message,
    MessageContent,
    Role,
    Status,
    SystemPrompts,
    Turn,
    TurnOptions,
)
from chatkeep.domain.times import microseconds
from chatkeep.store import messages, rows, usage
from chatkeep.store.leases import Orphan
from chatkeep.store.messages import ContextMessage
from chatkeep.store.prepared import Answer, pipelined
from chatkeep.store.rows import RunningTurn, TreeMessage, TurnWithSession
from chatkeep.store.search import index
from chatkeep.store.tables import SessionRow, SessionValues, TurnRow, TurnValues

ROOT = 0
"""The `branch_seq` of a message that has none before it."""


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Who runs turns, and with what, where neither the turn nor its session has anything set.

    `owner` is the lease of the process; `context_messages` how many messages a model reads;
    `starts_next` is false if turns that wait are left to others.
    """

    owner: str
    model: str
    system_prompts: SystemPrompts
    context_messages: int
    starts_next: bool = True


@dataclass(frozen=True, slots=True)
class StartedTurn:
    """A turn that runs from now on, and everything that its model is sent.

    `context` are the messages before `messages`, which the turn has taken in, oldest first;
    `tools` those on offer, as JSON; `started_at` is in microseconds since 1970.
    """

    turn: Turn
    session_pk: int
    system_prompt: str | None
    context: tuple[MessageContent, ...]
    messages: tuple[MessageContent, ...]
    tools: str | None
    started_at: int


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended: what it has written so far, and the error unless it is complete.

    `steps` are the whole messages before the reply, which is `text` and `blocks`. `calls` are what
    it cost, each with its status and whether it was a retry.
    """

    status: Status
    text: str
    completion: Completion
    blocks: Blocks | None = None
    steps: tuple[Message, ...] = ()
    error_code: str | None = None
    error_detail: str | None = None
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn's end that is on disk.

    `title` is its session's, `following` the turn that waited for it, `at` the time of the end, in
    microseconds since 1970.
    """

    title: str
    following: StartedTurn | None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class ExhaustedTurn:
    """A turn that was taken over only to be ended; `stop` is why, if somebody has stopped it."""

    turn: Turn
    stop: str | None


@dataclass(frozen=True, slots=True)
class NewTurn:
    """What is stored of a new turn beside the turn itself, for as long as it exists.

    `branch_seq` is the message before its own: `None` for the session's head, or `ROOT`.
    `regenerates` is the turn whose message it answers once more; `tools_digest` refers to the tools
    on offer.
    """

    tenant: str
    session_pk: int
    seq: int
    idempotency_key: str | None
    request_digest: bytes
    branch_seq: int | None
    regenerates: str | None
    created_at: int
    tools_digest: bytes | None = None

    @property
    def values(self) -> TurnValues:
        """The columns of its row."""
        tools: TurnValues = {} if self.tools_digest is None else {"tools_digest": self.tools_digest}
        return {
            **tools,
            "tenant_id": self.tenant,
            "session_pk": self.session_pk,
            "seq": self.seq,
            "idempotency_key": self.idempotency_key,
            "request_digest": self.request_digest,
            "branch_seq": self.branch_seq,
            "regenerates": self.regenerates,
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What a turn's model is sent beside messages, how many of those, and who sends it."""

    owner: str
    system_prompt: str | None
    system_prompt_digest: bytes | None
    context_messages: int
    context_seq: int
    """The session's newest message: what comes later is not part of the context."""

    @property
    def values(self) -> TurnValues:
        """The columns of the turn's row by which this is known later."""
        return {
            "owner": self.owner,
            "context_messages": self.context_messages,
            "context_seq": self.context_seq,
            "system_prompt_digest": self.system_prompt_digest,
        }


def start_turn(
    conn: sa.Connection,
    session: SessionRow,
    queued: Turn,
    inputs: tuple[MessageContent, ...],
    new: NewTurn,
    runner: RunnerConfig,
    window: Answer[ContextMessage] | None,
) -> StartedTurn:
    """Store and start a turn of a session in which no other runs or waits.

    Args:
        conn: The connection.
        session: Its session, locked.
        queued: The turn as it would be if it had to wait.
        inputs: The messages that it takes in, with their ids; none if it regenerates another.
        new: What else is stored of the turn.
        runner: Who runs it.
        window: What was asked for before, where the turn follows the session's head.

    """
    turn = replace(queued, status=Status.RUNNING, attempt=1)
    context, at = _turn_context(conn, session, turn, runner), new.created_at
    counters: SessionValues = {"turn_count": session.turn_count + 1, "updated_at": at}
    if inputs:
        taken = _new_messages(conn, session, new.branch_seq, inputs)
    else:
        taken = _answered_messages(conn, session, turn, new.regenerates)
    rows.insert_turn(
        conn,
        turn,
        {**new.values, **context.values, **_input_values(taken), "started_at": at},
    )
    if inputs:
        _insert_messages(conn, session, turn, taken, inputs, at)
        counters |= _head_values(taken[-1].seq, taken[-1].depth)
    rows.update_session(conn, session.pk, counters)
    return _started(conn, session, turn, taken, context, new.tools_digest, at, window)


def start_next_turn(
    conn: sa.Connection, *, session_pk: int, runner: RunnerConfig, at: int
) -> StartedTurn | None:
    """Start the turn that waits longest in a session where none runs; `None` if none waits.

    The message of a turn that was cancelled while it waited moves into the tree on the way. A
    session that is deleted has no turns that wait.

    Args:
        conn: The connection.
        session_pk: The session.
        runner: Who runs the turn.
        at: The time, in microseconds since 1970; the session's own if that is later.

    """
    while row := rows.NEXT.first(conn, {"session": session_pk}):
        session = rows.session(conn, session_pk)
        at = max(at, session.updated_at)
        is_cancelled = row.status == Status.CANCELLED.value
        turn = rows.turn(row, session.session_id)
        if not is_cancelled:
            turn = replace(turn, status=Status.RUNNING, attempt=1)
        taken = _enter_tree(conn, session, row, turn, at)
        values: TurnValues = {"input": None, **_input_values(taken)}
        if row.input_messages is not None:
            values["input_messages"] = None
        if is_cancelled:
            rows.update_turn(conn, row.id, values)
            continue
        context = _turn_context(conn, session, turn, runner)
        values |= {"status": turn.status.value, "attempt": turn.attempt, "started_at": at}
        rows.update_turn(conn, row.id, {**values, **context.values})
        return _started(conn, session, turn, taken, context, row.tools_digest, at)
    return None


def start_stalled(
    conn: sa.Connection, *, session_pk: int, runner: RunnerConfig, at: int
) -> StartedTurn | None:
    """Start the turn that waits longest, if none of its session runs.

    Args:
        conn: The connection.
        session_pk: The session. If another process is at work on it, it is left to that.
        runner: Who runs the turn.
        at: The time, in microseconds since 1970; the session's own if that is later.

    """
    session = rows.free_session(conn, session_pk)
    if session is None or rows.queue_state(conn, session_pk).running is not None:
        return None
    return start_next_turn(conn, session_pk=session_pk, runner=runner, at=at)


def take_over(
    conn: sa.Connection,
    *,
    orphan: Orphan,
    runner: RunnerConfig,
    max_attempts: int,
    reruns: Callable[[str], bool] = lambda _model: True,
) -> StartedTurn | ExhaustedTurn | None:
    """Take a turn from an owner that is dead, and count another attempt of it.

    Args:
        conn: The connection.
        orphan: The turn, as it was seen. If another process is at work on its session, or has taken
            it, it is left to that.
        runner: Who runs it from now on.
        max_attempts: After so many it is not to run again.
        reruns: Whether a turn of this model may run again at all.

    Returns:
        What the turn needs to run again, or that it is to be ended by its new owner.

    """
    session = rows.free_session(conn, orphan.session_pk)
    row = rows.BY_ID.first(conn, {"turn": orphan.id})
    if session is None or row is None or row.status != Status.RUNNING.value:
        return None
    if (row.owner, row.attempt) != (orphan.owner, orphan.attempt):
        return None
    # Attempts that ended because their process stopped say nothing of the turn.
    is_exhausted = row.owner is not None and row.attempt >= max_attempts
    is_exhausted = is_exhausted or not reruns(row.model)
    if row.stop is not None or is_exhausted:
        rows.update_turn(conn, row.id, {"owner": runner.owner})
        return ExhaustedTurn(rows.turn(row, session.session_id), row.stop)
    turn = rows.turn(row, session.session_id, attempt=row.attempt + 1)
    taken = own_messages(conn, row)
    context = _turn_context(conn, session, turn, runner)
    rows.update_turn(conn, row.id, {**context.values, "attempt": turn.attempt})
    started_at = row.started_at or row.created_at
    return _started(conn, session, turn, taken, context, row.tools_digest, started_at)


@pipelined
def finish_turn(
    conn: sa.Connection,
    *,
    turn_id: str,
    owner: str,
    attempt: int,
    outcome: TurnEnd,
    runner: RunnerConfig,
    at: int,
) -> Ended | None:
    """Finish a running turn and start the one that waits for it, all or nothing.

    Args:
        conn: The connection.
        turn_id: The turn.
        owner: Who ran it.
        attempt: Which attempt of it ended.
        outcome: How it ended; its text becomes the reply.
        runner: Who runs the next.
        at: The time, in microseconds since 1970; the session's own if that is later.

    Returns:
        `None`, changing nothing, if the turn does not exist any more, has ended before, or belongs
        to another runner or another attempt by now.

    """
    # Together; the session first, which is locked before the others are read.
    locked = rows.ask_session_of_turn(conn, turn_id)
    running = rows.RUNNING.ask(conn, {"turn": turn_id})
    waiting = rows.NEXT_OF_TURN.ask(conn, {"turn": turn_id})
    session, row, next_turn = locked.first(), running.first(), waiting.first()
    if session is None or row is None or not _is_of(row, owner, attempt):
        return None
    at = max(at, session.updated_at)
    _store_reply(conn, session, row, turn_id, outcome, at)
    _close_turn(conn, row, turn_id, outcome, at)
    if next_turn is None or not runner.starts_next:
        return Ended(session.title, None, at)
    following = start_next_turn(conn, session_pk=row.session_pk, runner=runner, at=at)
    return Ended(session.title, following, at)


def is_finished(
    conn: sa.Connection, ended: Ended | None, *, turn_id: str, attempt: int, status: Status
) -> bool:
    """True if the `finish_turn` that returned `ended` took effect: see `Store.write_once`."""
    # The transaction may still be at its commit.
    rows.session_of_turn(conn, turn_id)
    row = rows.BY_ID.first(conn, {"turn": turn_id})
    if ended is None or row is None:
        return False
    return (row.status, row.attempt) == (status.value, attempt)


def is_taken(conn: sa.Connection, taken: StartedTurn | ExhaustedTurn | None, *, owner: str) -> bool:
    """True if the start or the take-over that returned this took effect: see `Store.write_once`."""
    if taken is None:
        return False
    # The transaction may still be at its commit.
    rows.session_of_turn(conn, taken.turn.turn_id)
    row = rows.BY_ID.first(conn, {"turn": taken.turn.turn_id})
    if row is None or row.status != Status.RUNNING.value:
        return False
    return (row.owner, row.attempt) == (owner, taken.turn.attempt)


def _close_turn(
    conn: sa.Connection, row: RunningTurn, turn_id: str, outcome: TurnEnd, at: int
) -> None:
    """Store how a turn ended, and what it cost."""
    # A reply that is regenerated in vain leaves the status that the first gave its message.
    if row.regenerates is None or outcome.status is Status.COMPLETED:
        for seq in range(row.first_seq or row.user_seq, row.user_seq + 1):
            messages.set_status(conn, session_pk=row.session_pk, seq=seq, status=outcome.status)
    values: TurnValues = {
        "status": outcome.status.value,
        "input_tokens": outcome.completion.usage.input_tokens,
        "output_tokens": outcome.completion.usage.output_tokens,
        "finish_reason": outcome.completion.finish_reason,
        "error_code": outcome.error_code,
        "error_detail": outcome.error_detail,
        "ended_at": at,
    }
    rows.update_turn(conn, turn_id, values)
    usage.insert(
        conn,
        tenant=row.tenant_id,
        session_pk=row.session_pk,
        turn_id=turn_id,
        made=outcome.calls,
        at=at,
    )


def _is_of(row: RunningTurn, owner: str, attempt: int) -> bool:
    """Whether a turn still runs for who ends it: another process may have taken it over."""
    is_running = row.status == Status.RUNNING.value
    return is_running and (row.owner, row.attempt) == (owner, attempt)


def _store_reply(
    conn: sa.Connection,
    session: SessionRow,
    row: RunningTurn,
    turn_id: str,
    outcome: TurnEnd,
    at: int,
) -> None:
    """Store what a turn's model has written, if anything, and that its session was active."""
    parent_seq, seq, depth = row.user_seq, session.last_seq, row.depth
    for step in _written_messages(row, outcome, at):
        seq, depth = seq + 1, depth + 1
        messages.insert(
            conn,
            tenant=session.tenant_id,
            session_pk=row.session_pk,
            seq=seq,
            parent_seq=parent_seq,
            depth=depth,
            message_id=step.id,
            role=step.role,
            content=step.content,
            status=outcome.status,
            turn_id=turn_id,
            at=step.at,
            key=index.new_message_key(conn, step.at),
            blocks=step.blocks,
        )
        parent_seq = seq
    # An end without text is activity too: what expires without any must not go at once.
    head = _head_values(seq, depth) if seq > session.last_seq else {}
    rows.update_session(conn, row.session_pk, {**head, "updated_at": at})


class _WrittenMessage(NamedTuple):
    id: str
    role: Role
    content: str
    blocks: Blocks | None
    at: int


def _written_messages(row: RunningTurn, outcome: TurnEnd, at: int) -> Iterator[_WrittenMessage]:
    """The messages that a turn gives: its steps, and its reply if there is any."""
    for step in outcome.steps:
        step_at = min(microseconds(step.created_at), at)
        yield _WrittenMessage(
            step.id, step.role, step.content, compacted(step.content, step.blocks), step_at
        )
    blocks = outcome.blocks or ()
    content = outcome.text or rendition(blocks)
    if content:
        yield _WrittenMessage(row.message_id, Role.ASSISTANT, content, outcome.blocks, at)


def _enter_tree(
    conn: sa.Connection, session: SessionRow, row: TurnRow, turn: Turn, at: int
) -> list[TreeMessage]:
    """Move what a turn that has waited takes in into the tree, unless it is there already."""
    if row.regenerates is not None:
        return _answered_messages(conn, session, turn, row.regenerates)
    inputs = waiting_messages(row)
    taken = _new_messages(conn, session, row.branch_seq, inputs)
    _insert_messages(conn, session, turn, taken, inputs, at)
    head = _head_values(taken[-1].seq, taken[-1].depth)
    rows.update_session(conn, session.pk, {**head, "updated_at": at})
    return taken


def waiting_values(inputs: tuple[MessageContent, ...]) -> TurnValues:
    """The columns of a turn that waits with these messages."""
    if not inputs:
        return {"input": None}
    values: TurnValues = {"input": inputs[-1].text}
    if len(inputs) > 1 or inputs[0].blocks is not None:
        values["input_messages"] = orjson.dumps([message._asdict() for message in inputs]).decode()
    return values


def waiting_messages(row: TurnRow | TurnWithSession) -> tuple[MessageContent, ...]:
    """The messages of a turn that waits, or was cancelled while it did."""
    if row.input_messages is None:
        return (MessageContent(Role.USER, row.input or "", None, row.user_message_id),)
    return tuple(
        MessageContent(
            Role(item["role"]),
            item["text"],
            None if item["blocks"] is None else tuple(item["blocks"]),
            item["id"],
        )
        for item in orjson.loads(row.input_messages)
    )


def own_messages(conn: sa.Connection, row: TurnRow | TurnWithSession) -> list[TreeMessage]:
    """What a turn that has started has taken in, oldest first."""
    if row.user_seq is None:
        raise sa.exc.NoResultFound
    return [
        rows.known_message(conn, session_pk=row.session_pk, seq=seq)
        for seq in range(row.first_seq or row.user_seq, row.user_seq + 1)
    ]


def _input_values(taken: Sequence[TreeMessage]) -> TurnValues:
    """The columns by which a turn knows what it has taken in."""
    values: TurnValues = {"user_seq": taken[-1].seq}
    if len(taken) > 1:
        values["first_seq"] = taken[0].seq
    return values


def _new_messages(
    conn: sa.Connection,
    session: SessionRow,
    branch_seq: int | None,
    inputs: Sequence[MessageContent],
) -> list[TreeMessage]:
    """The messages of a turn, below the session's head or where its turn says."""
    if branch_seq is None:
        parent_seq, depth = session.head_seq, session.message_count
    elif branch_seq == ROOT:
        parent_seq, depth = None, 0
    else:
        parent = rows.known_message(conn, session_pk=session.pk, seq=branch_seq)
        parent_seq, depth = parent.seq, parent.depth
    taken: list[TreeMessage] = []
    for seq, (role, text, blocks, message_id) in enumerate(inputs, session.last_seq + 1):
        depth += 1
        taken.append(
            TreeMessage(seq, message_id or "", parent_seq, depth, role.value, text, dump(blocks))
        )
        parent_seq = seq
    return taken


def _answered_messages(
    conn: sa.Connection, session: SessionRow, turn: Turn, regenerates: str | None
) -> list[TreeMessage]:
    """What a turn answers once more, which is in the tree."""
    original = regenerates and rows.BY_ID.first(conn, {"turn": regenerates})
    if original and original.first_seq is not None:
        return own_messages(conn, original)
    message = rows.message_by_id(conn, session_pk=session.pk, message_id=turn.user_message_id)
    if message is None:
        raise sa.exc.NoResultFound
    return [message]


def _insert_messages(
    conn: sa.Connection,
    session: SessionRow,
    turn: Turn,
    taken: Sequence[TreeMessage],
    inputs: Sequence[MessageContent],
    at: int,
) -> None:
    """Store what a turn takes in: `taken` is where each of `inputs` is in the tree."""
    for message, content in zip(taken, inputs, strict=True):
        messages.insert(
            conn,
            tenant=session.tenant_id,
            session_pk=session.pk,
            seq=message.seq,
            parent_seq=message.parent_seq,
            depth=message.depth,
            message_id=message.id,
            role=content.role,
            content=content.text,
            status=turn.status,
            turn_id=turn.turn_id,
            at=at,
            key=index.new_message_key(conn, at),
            blocks=content.blocks,
        )


def _head_values(seq: int, depth: int) -> SessionValues:
    """The columns of a session whose newest message is its head."""
    return {"head_seq": seq, "last_seq": seq, "message_count": depth}


def _turn_context(
    conn: sa.Connection, session: SessionRow, turn: Turn, runner: RunnerConfig
) -> TurnContext:
    """Choose what a turn's model is sent, and store its system prompt."""
    default = None if turn.options.omits_default_prompt else runner.system_prompts.of(turn.model)
    prompts = (turn.options.system_prompt, session.system_prompt, default)
    system_prompt = next((prompt for prompt in prompts if prompt is not None), None) or None
    digest = None
    if system_prompt is not None:
        digest = rows.text_digest(system_prompt)
        rows.store_text(conn, session_pk=session.pk, digest=digest, content=system_prompt)
    return TurnContext(
        owner=runner.owner,
        system_prompt=system_prompt,
        system_prompt_digest=digest,
        context_messages=_context_size(session, runner, turn.options),
        context_seq=session.last_seq,
    )


def ask_window(
    conn: sa.Connection,
    session: SessionRow,
    runner: RunnerConfig,
    inputs: tuple[MessageContent, ...],
    options: TurnOptions,
) -> Answer[ContextMessage] | None:
    """Ask for what the model of a turn reads that follows the session's head."""
    return messages.ask_window(
        conn,
        session_pk=session.pk,
        head_seq=session.head_seq,
        limit=_context_size(session, runner, options),
        until=session.last_seq,
        is_open=tool_result(inputs[0].blocks) is not None,
    )


def _context_size(session: SessionRow, runner: RunnerConfig, options: TurnOptions) -> int:
    sizes = (options.context_messages, session.context_messages, runner.context_messages)
    return next(size for size in sizes if size is not None)


def _started(
    conn: sa.Connection,
    session: SessionRow,
    turn: Turn,
    taken: Sequence[TreeMessage],
    context: TurnContext,
    tools_digest: bytes | None,
    at: int,
    window: Answer[ContextMessage] | None = None,
) -> StartedTurn:
    """Read the messages that a turn's model is sent, unless they were asked for before."""
    if window is not None:
        read = window.all()
    else:
        read = messages.window(
            conn,
            session_pk=session.pk,
            head_seq=taken[0].parent_seq,
            limit=context.context_messages,
            until=context.context_seq,
            is_open=tool_result(load(taken[0].blocks)) is not None,
        )
    return StartedTurn(
        turn=turn,
        session_pk=session.pk,
        system_prompt=context.system_prompt,
        context=messages.context(read),
        messages=tuple(message.to_content() for message in taken),
        tools=rows.stored_text(conn, session_pk=session.pk, digest=tools_digest),
        started_at=at,
    )
