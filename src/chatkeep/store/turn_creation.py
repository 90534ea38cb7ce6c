"""Before a turn runs: create it, unless the request made it before, or cancel it in the queue."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import sqlalchemy as sa

from chatkeep.domain.errors import (
    MessageNotFound,
    QueueFull,
    SessionBusy,
    SessionNotFound,
    TurnNotEnded,
    TurnNotFound,
    TurnRef,
)
from chatkeep.domain.ids import message_id, turn_id
from chatkeep.domain.model import (
    NO_OPTIONS,
    MessageContent,
    OnBusy,
    Role,
    Session,
    Status,
    Turn,
    TurnOptions,
    TurnRequest,
)
from chatkeep.store import (
    files,
    idempotency,
    messages,
    open_calls,
    rows,
    session_changes,
    sessions,
)
from chatkeep.store.prepared import pipelined
from chatkeep.store.rows import QueueState, TurnWithSession
from chatkeep.store.tables import SessionRow, SessionValues
from chatkeep.store.turns import (
    ROOT,
    NewTurn,
    RunnerConfig,
    StartedTurn,
    ask_window,
    start_next_turn,
    start_turn,
    waiting_values,
)

INTERRUPTED = "A newer message interrupted this turn."
"""Why a turn is stopped by a message that does not want to wait for it."""

QUEUE_RETRY_SECONDS = 5
"""After how long a client may try again whose session's queue is full."""


@dataclass(frozen=True, slots=True)
class CreatedTurn:
    """A turn that is stored.

    Attributes:
        turn: The turn.
        session_pk: Its session.
        started: What its run needs, or that of the turn that was queued longest; `None` while
            another turn of the session runs.
        running: That other turn's id.
        is_first: Whether it is its session's first one.
        new_session: The session as it is listed, if it was created with this turn.
        changed_session: The session as it is listed, if this turn has brought it back from the
            archive, or is the first from which it gets a title.
        first_message: What the model makes the title from, until there is such a title.

    """

    turn: Turn
    session_pk: int
    started: StartedTurn | None
    running: str | None
    is_first: bool
    new_session: Session | None
    changed_session: Session | None
    first_message: str | None


@dataclass(frozen=True, slots=True)
class _Target:
    """Below which message a turn's own goes (see `NewTurn`), or the turn that it regenerates."""

    branch_seq: int | None = None
    original: TurnWithSession | None = None


class _OpenedSession(NamedTuple):
    """A turn's session, and what this transaction has done to it."""

    row: SessionRow
    is_new: bool
    is_changed: bool


@dataclass(frozen=True, slots=True)
class NewIds:
    """The ids of a turn and its messages, made before the transaction, which may run twice.

    `others` are those of the messages that it takes in before the last one.
    """

    others: tuple[str, ...] = ()
    turn: str = field(default_factory=turn_id)
    user_message: str = field(default_factory=message_id)
    message: str = field(default_factory=message_id)

    @classmethod
    def of(cls, request: TurnRequest) -> Self:
        """The ids that a request needs."""
        others = request.messages[1:]
        return cls(tuple(message_id() for _ in others)) if others else cls()

    def inputs(self, request: TurnRequest) -> tuple[MessageContent, ...]:
        """The messages of a request with their ids."""
        if len(request.messages) == 1:
            role, text, blocks, _ = request.messages[0]
            return (MessageContent(role, text, blocks, self.user_message),)
        ids = (*self.others, self.user_message)
        return tuple(
            message._replace(id=new_id)
            for message, new_id in zip(request.messages, ids, strict=False)
        )


@pipelined
def create_turn(
    conn: sa.Connection,
    *,
    tenant: str,
    request: TurnRequest,
    ids: NewIds,
    runner: RunnerConfig,
    max_queued: int,
    make_title: Callable[[str, int], str],
    at: int,
    check_model: Callable[[Turn, bool], None] | None = None,
) -> CreatedTurn | idempotency.DuplicateRequest:
    """Store a turn, creating its session where needed, and start it if none runs or waits.

    Args:
        conn: The connection.
        tenant: Whose session it is.
        request: What was posted.
        ids: Those of the turn.
        runner: Who runs the turn, or the one that waits longest.
        max_queued: Turns of a session that may wait.
        make_title: Makes the provisional title from the message and the time.
        at: The time, in microseconds since 1970.
        check_model: Called with the turn, and whether it offers tools, before anything is stored;
            raises an error if its model, whoever has chosen it, may not or cannot answer it.

    Returns:
        The turn, or with `DuplicateRequest` the one that the same request made before.

    Raises:
        QueueFull: `max_queued` turns wait already.
        TurnNotEnded: The turn to follow has not ended, and is not the newest.
        SessionBusy: A turn runs, and the request does not want to wait.
        MessageNotFound: The request's branch is not in the session.
        TurnNotFound: The turn to regenerate is not in the session.
        InvalidRequest: A result is of no call that the branch ends with.
        IdempotencyKeyReused: The key belongs to another request.
        SessionNotFound: The session of the same request was deleted, or it needs one that exists.
        ChatError: What `check_model` raises.

    """
    session = _find_session(conn, tenant, request)
    duplicate = idempotency.find(conn, tenant=tenant, session=session, request=request, at=at)
    if duplicate is not None:
        return duplicate
    request = _without_repetition(conn, session, request, at)
    target = _target(conn, tenant, session, request)
    if any(message.role is Role.TOOL for message in request.messages):
        _check_results(conn, session, target, request)
    inputs = ids.inputs(request)
    opened = _open_session(conn, tenant, session, request, make_title, runner.owner, at)
    session = opened.row
    queue_answer = rows.ask_queue_state(conn, session.pk)
    follows_head = request.branch is None and request.regenerate is None
    window = None
    if follows_head:
        window = ask_window(conn, session, runner, inputs, request.options)
    queue = queue_answer.one()
    _check_queue(queue, session, request, max_queued)
    turn = _queued_turn(session, request, ids, target, runner)
    tools_digest = _store_tools(conn, session, target, request)
    if check_model is not None:
        check_model(turn, tools_digest is not None)
    new = NewTurn(
        tenant=tenant,
        session_pk=session.pk,
        seq=session.turn_count + 1,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest,
        branch_seq=target.branch_seq,
        regenerates=target.original.id if target.original else None,
        created_at=max(at, session.updated_at),
        tools_digest=tools_digest,
    )
    files.insert(conn, session_pk=session.pk, contents=request.files)
    if queue.running and request.on_busy is OnBusy.INTERRUPT:
        rows.update_turn(conn, queue.running, {"stop": INTERRUPTED})
    if queue.running or queue.waiting:
        started = _enqueue(conn, session, turn, inputs, new, runner, queue)
    else:
        started = start_turn(conn, session, turn, inputs, new, runner, window)
        turn = started.turn
    title = session_changes.start_title(
        conn,
        session,
        text=request.text,
        owner=runner.owner,
        make_title=None if opened.is_new else make_title,
        at=at,
    )
    is_changed = opened.is_changed or title.is_renamed
    listed = None
    if opened.is_new or is_changed:
        listed = sessions.listed(conn, tenant=tenant, pk=session.pk)
    return CreatedTurn(
        turn=turn,
        session_pk=session.pk,
        started=started,
        running=queue.running,
        is_first=session.turn_count == 0,
        new_session=listed if opened.is_new else None,
        changed_session=listed if is_changed else None,
        first_message=title.first_message,
    )


def is_created(conn: sa.Connection, result: CreatedTurn | idempotency.DuplicateRequest) -> bool:
    """True if the transaction that returned this took effect: see `Store.write_once`."""
    if isinstance(result, idempotency.DuplicateRequest):
        return False
    # The transaction may still be at its commit, and has locked the session.
    rows.find_session(conn, result.session_pk)
    return rows.BY_ID.first(conn, {"turn": result.turn.turn_id}) is not None


def cancel(
    conn: sa.Connection, *, tenant: str, turn_id: str, error_code: str, error_detail: str, at: int
) -> Status:
    """Cancel a queued turn, and have one that runs stopped by whoever runs it.

    The message of a queued one stays, and moves into the tree when the turn would have started.

    Args:
        conn: The connection.
        tenant: Whose turn it is.
        turn_id: The turn.
        error_code: Why it was cancelled: the code of an error.
        error_detail: The same as a sentence.
        at: The time, in microseconds since 1970.

    Returns:
        The status before.

    Raises:
        TurnNotFound: The tenant has no such turn.

    """
    # First its session: another process may be starting the turn.
    session = rows.session_of_turn(conn, turn_id)
    row = rows.turn_of_tenant(conn, tenant=tenant, turn_id=turn_id)
    if session is None or row is None:
        raise TurnNotFound
    if row.status == Status.QUEUED.value:
        rows.update_turn(
            conn,
            turn_id,
            {
                "status": Status.CANCELLED.value,
                "error_code": error_code,
                "error_detail": error_detail,
                "ended_at": max(at, row.created_at),
            },
        )
    elif row.status == Status.RUNNING.value:
        rows.update_turn(conn, turn_id, {"stop": error_detail})
    return Status(row.status)


def is_cancelled(conn: sa.Connection, before: Status, *, turn_id: str) -> bool:
    """True if the `cancel` of a queued turn took effect: see `Store.write_once`."""
    # The transaction may still be at its commit.
    rows.session_of_turn(conn, turn_id)
    row = rows.BY_ID.first(conn, {"turn": turn_id})
    is_queued_before = before is Status.QUEUED
    return is_queued_before and row is not None and row.status == Status.CANCELLED.value


def _without_repetition(
    conn: sa.Connection, session: SessionRow | None, request: TurnRequest, at: int
) -> TurnRequest:
    """The request, as one that answers a failed turn again if it is one: see `TurnRequest`."""
    if session is None or not request.answers_failed:
        return request
    failed = idempotency.find_failed(conn, session=session, request=request, at=at)
    # Whatever came after it would be left on another branch.
    if failed is None or messages.last_of_turn(conn, turn_id=failed) != session.head_seq:
        return request
    return replace(request, regenerate=failed, messages=(), files=(), branch=None)


def _target(
    conn: sa.Connection, tenant: str, session: SessionRow | None, request: TurnRequest
) -> _Target:
    """Find the message or the turn that a request names, in its session."""
    if request.regenerate is not None:
        original = rows.turn_of_tenant(conn, tenant=tenant, turn_id=request.regenerate)
        if original is None or session is None or original.session_pk != session.pk:
            raise TurnNotFound("There is no such turn in this session.")
        return _Target(original=original)
    if request.branch is None:
        return _Target()
    if request.branch.after_turn is not None:
        return _after_turn(conn, tenant, session, request.branch.after_turn)
    if request.branch.parent_id is None:
        return _Target(ROOT)
    parent = session and rows.message_by_id(
        conn, session_pk=session.pk, message_id=request.branch.parent_id
    )
    if parent is None:
        raise MessageNotFound("There is no such message in this session.")
    return _Target(parent.seq)


def _after_turn(
    conn: sa.Connection, tenant: str, session: SessionRow | None, turn_id: str
) -> _Target:
    """Below the last message of a turn; of one that has not ended, where that will be."""
    row = rows.turn_of_tenant(conn, tenant=tenant, turn_id=turn_id)
    if row is None or session is None or row.session_pk != session.pk:
        raise TurnNotFound("There is no such turn in this session.")
    if Status(row.status).is_end:
        # One that regenerates in vain has written nothing, and goes with what it should answer.
        seq = messages.last_of_turn(conn, turn_id=turn_id) or row.user_seq
        if seq is None:
            raise MessageNotFound("That turn has no message.")
        return _Target(seq)
    newest = rows.newest_turns(conn, session_pk=session.pk, limit=1)
    if newest[0].id != turn_id or row.regenerates is not None:
        raise TurnNotEnded(turn=TurnRef(turn_id))
    # Its reply will be the head when the new turn starts.
    return _Target()


def _check_queue(
    queue: QueueState, session: SessionRow, request: TurnRequest, max_queued: int
) -> None:
    if not queue.running:
        return
    if request.on_busy is OnBusy.REJECT:
        raise SessionBusy(turn=TurnRef(queue.running, session.session_id), forbids_retry=True)
    if queue.waiting >= max_queued:
        raise QueueFull(retry_after=QUEUE_RETRY_SECONDS, turn=TurnRef(queue.running))


def _enqueue(
    conn: sa.Connection,
    session: SessionRow,
    turn: Turn,
    inputs: tuple[MessageContent, ...],
    new: NewTurn,
    runner: RunnerConfig,
    queue: QueueState,
) -> StartedTurn | None:
    """Store a turn that waits; where none runs, start the one that waits longest."""
    rows.insert_turn(conn, turn, {**new.values, **waiting_values(inputs)})
    counters: SessionValues = {"turn_count": session.turn_count + 1, "updated_at": new.created_at}
    rows.update_session(conn, session.pk, counters)
    if queue.running:
        return None
    return start_next_turn(conn, session_pk=session.pk, runner=runner, at=new.created_at)


def _queued_turn(
    session: SessionRow,
    request: TurnRequest,
    ids: NewIds,
    target: _Target,
    runner: RunnerConfig,
) -> Turn:
    """A turn that waits. What the request leaves open is as its session has it set.

    One that regenerates has the options of the original, whatever has been set since, unless its
    request inherits none.
    """
    model, user_message_id = session.model or runner.model, ids.user_message
    settings = _session_options(session)
    if target.original is not None:
        original = rows.turn(target.original, session.session_id)
        user_message_id = original.user_message_id
        if request.inherits_options:
            model, settings = original.model, original.options
    options = request.options.over(settings)
    return Turn(
        turn_id=ids.turn,
        session_id=session.session_id,
        status=Status.QUEUED,
        attempt=0,
        model=options.model or model,
        user_message_id=user_message_id,
        message_id=ids.message,
        options=options,
    )


def _session_options(session: SessionRow) -> TurnOptions:
    if session.temperature is None and session.max_tokens is None:
        return NO_OPTIONS
    return TurnOptions(temperature=session.temperature, max_tokens=session.max_tokens)


def _check_results(
    conn: sa.Connection, session: SessionRow | None, target: _Target, request: TurnRequest
) -> None:
    """Check that each result answers a call that its branch ends with, or that came before it.

    A result whose call is not there would make the conversation one that no provider accepts.
    """
    head: int | None = None
    if session is not None:
        queue = rows.queue_state(conn, session.pk)
        is_head_known = target.branch_seq is not None or not (queue.running or queue.waiting)
        if is_head_known:
            head = session.head_seq if target.branch_seq is None else target.branch_seq
    open_calls.check_results(
        conn,
        session_pk=None if session is None else session.pk,
        head_seq=head,
        messages=request.messages,
        pointer="#/tool_results/{}/tool_call_id",
    )


def _store_tools(
    conn: sa.Connection, session: SessionRow, target: _Target, request: TurnRequest
) -> bytes | None:
    """Store the tools on offer, if there are any; a turn that is regenerated may have them."""
    if request.tools is None:
        original = target.original if request.inherits_options else None
        return None if original is None else original.tools_digest
    digest = rows.text_digest(request.tools)
    rows.store_text(conn, session_pk=session.pk, digest=digest, content=request.tools)
    return digest


def _find_session(conn: sa.Connection, tenant: str, request: TurnRequest) -> SessionRow | None:
    """The session of a request, locked: by its name, or by the turn that the request follows."""
    branch = request.branch
    if branch is None or branch.after_turn is None:
        session = sessions.find(conn, tenant=tenant, session_id=request.session_id)
        if session is None and request.needs_session:
            raise SessionNotFound
        return session
    session = rows.session_of_turn(conn, branch.after_turn)
    if session is None or session.tenant_id != tenant:
        raise TurnNotFound
    return session


def _open_session(
    conn: sa.Connection,
    tenant: str,
    session: SessionRow | None,
    request: TurnRequest,
    make_title: Callable[[str, int], str],
    owner: str,
    at: int,
) -> _OpenedSession:
    """Create a turn's session where there is none, or bring it back from the archive."""
    if session is None:
        row, is_new = sessions.create(
            conn,
            tenant=tenant,
            session_id=request.session_id,
            title=make_title(request.text, at),
            # Without a text there is nothing to make a title of yet.
            owner=owner if request.text else None,
            at=at,
            is_detached=request.is_detached,
        )
        return _OpenedSession(row, is_new, is_changed=False)
    back = sessions.bring_back(conn, session)
    return _OpenedSession(back or session, is_new=False, is_changed=back is not None)
