"""Turns as they are stored: the record, the summary, the receipt of what a model was sent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import Block, Blocks, expanded, file_ids, text_of, tool_result
from chatkeep.domain.context import paired
from chatkeep.domain.errors import ChatError, TurnNotFound, TurnNotStarted, TurnRef, error_from_code
from chatkeep.domain.model import (
    FileContent,
    LeftOut,
    Message,
    MessageContent,
    Receipt,
    SentMessage,
    Status,
    TitleSource,
    Turn,
    TurnError,
    TurnRecord,
    TurnSummary,
    Usage,
)
from chatkeep.domain.times import rfc3339
from chatkeep.store import files, messages, rows, usage
from chatkeep.store.messages import ContextMessage
from chatkeep.store.rows import TreeMessage, TurnWithSession
from chatkeep.store.tables import turns
from chatkeep.store.turns import own_messages, waiting_messages

LEFT_OUT_NAMED = 100
"""Messages beyond the context's size that a receipt names; the others are counted."""

ALL = 2**31 - 1
"""More than a session has messages."""

SUMMARIZED = (
    *(turns.c.id, turns.c.status, turns.c.attempt, turns.c.model),
    *(turns.c.input_tokens, turns.c.output_tokens, turns.c.finish_reason),
    *(turns.c.error_code, turns.c.error_detail),
    *(turns.c.created_at, turns.c.started_at, turns.c.ended_at),
)
"""The columns of a turn that its summary needs: the others may be long."""


class AnsweringTurn(NamedTuple):
    """A turn's `SUMMARIZED` columns, and the message that it belongs to."""

    message: str
    id: str
    status: str
    attempt: int
    model: str
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error_code: str | None
    error_detail: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn that may have ended, with its reply or the error that it ended with.

    `steps` are the whole messages on the way to the reply, whose text and blocks are `reply` and
    `blocks`. `title` is its session's; `is_titled` is true if a model made that from this turn's
    message.
    """

    turn: Turn
    record: TurnRecord
    steps: tuple[Message, ...]
    reply: str
    blocks: Blocks | None
    failure: ChatError | None
    title: str
    is_titled: bool
    ended_at: int | None
    counted: Usage | None = None

    @property
    def written(self) -> tuple[Message, ...]:
        """Its steps and its reply, as they are stored."""
        ids = [message.id for message in self.record.messages]
        return self.record.messages[ids.index(self.record.user_message_id) + 1 :]


def find(conn: sa.Connection, *, tenant: str, turn_id: str) -> StoredTurn:
    """Read a turn and its messages. Raises `TurnNotFound`."""
    row = _row(conn, tenant, turn_id)
    turn_messages = messages.of_turn(
        conn,
        session_pk=row.session_pk,
        turn_id=row.id,
        user_message_id=row.user_message_id,
        first_seq=row.first_seq,
        last_seq=row.user_seq,
    )
    if row.input is not None:
        turn_messages[:0] = [_waiting_message(row, message) for message in waiting_messages(row)]
    failure = None
    if row.error_code is not None:
        turn = TurnRef(row.id, row.session_id)
        failure = error_from_code(row.error_code, row.error_detail).as_outcome_of(turn)
    summarized = summary(row)
    record = TurnRecord(
        **{name: getattr(summarized, name) for name in TurnSummary.__dataclass_fields__},
        session_id=row.session_id,
        user_message_id=row.user_message_id,
        message_id=row.message_id,
        messages=tuple(turn_messages),
    )
    ids = [message.id for message in turn_messages]
    written = turn_messages[ids.index(row.user_message_id) + 1 :]
    reply = written.pop() if written and written[-1].id == row.message_id else None
    return StoredTurn(
        turn=rows.turn(row, row.session_id),
        record=record,
        # As they were announced: whole, however the turn ended.
        steps=tuple(replace(step, status=Status.COMPLETED) for step in written),
        reply=text_of(reply.content, reply.blocks) if reply else "",
        blocks=reply.blocks if reply else None,
        failure=failure,
        title=row.title,
        is_titled=row.seq == 1 and row.title_source == TitleSource.MODEL.value,
        ended_at=row.ended_at,
        counted=_counted(conn, tenant, row),
    )


def _counted(conn: sa.Connection, tenant: str, row: TurnWithSession) -> Usage | None:
    """The tokens of a whole turn as they were counted, if its provider has not said them."""
    if row.status != Status.COMPLETED.value or row.input_tokens is not None:
        return None
    return usage.of_turn(conn, tenant=tenant, turn_id=row.id, at=row.ended_at or 0)


class LocatedMessage(NamedTuple):
    """A message and the session that it is in."""

    session_id: str
    message: Message


class Located(NamedTuple):
    """Turns and messages by their ids, and which of them are on a branch."""

    turns: dict[str, StoredTurn]
    messages: dict[str, LocatedMessage]
    on_branch: frozenset[str]


def locate(
    conn: sa.Connection,
    *,
    tenant: str,
    turn_ids: Sequence[str],
    message_ids: Sequence[str],
    session_id: str | None = None,
    after_turn: str | None = None,
) -> Located:
    """Read those of these turns and messages that the tenant has.

    Args:
        conn: The connection.
        tenant: Whose they are.
        turn_ids: Of turns.
        message_ids: Of messages.
        session_id: The session whose active branch is the branch in question.
        after_turn: The turn that ends the branch in question, in place of that.

    """
    session_pk, head_seq = _branch_head(conn, tenant, session_id, after_turn)
    seqs: frozenset[int] = frozenset()
    if session_pk is not None and head_seq is not None:
        seqs = frozenset(messages.path_seqs(conn, session_pk=session_pk, head=head_seq))
    on_branch: set[str] = set()
    turns_by_id: dict[str, StoredTurn] = {}
    for turn_id in turn_ids:
        row = rows.turn_of_tenant(conn, tenant=tenant, turn_id=turn_id)
        if row is None:
            continue
        turns_by_id[turn_id] = find(conn, tenant=tenant, turn_id=turn_id)
        if row.session_pk == session_pk and messages.last_of_turn(conn, turn_id=turn_id) in seqs:
            on_branch.add(turn_id)
    by_id: dict[str, LocatedMessage] = {}
    for message_id in message_ids:
        located = messages.of_tenant(conn, tenant=tenant, message_id=message_id)
        if located is None:
            continue
        by_id[message_id] = LocatedMessage(located.session_id, located.message)
        if located.session_pk == session_pk and located.seq in seqs:
            on_branch.add(message_id)
    return Located(turns_by_id, by_id, frozenset(on_branch))


def _branch_head(
    conn: sa.Connection, tenant: str, session_id: str | None, after_turn: str | None
) -> tuple[int | None, int | None]:
    """The session of a branch and the number of its last message, as far as there are any."""
    if after_turn is not None:
        row = rows.turn_of_tenant(conn, tenant=tenant, turn_id=after_turn)
        if row is None:
            return None, None
        return row.session_pk, messages.last_of_turn(conn, turn_id=after_turn)
    if session_id is None:
        return None, None
    head = messages.session_head(conn, tenant=tenant, session_id=session_id)
    return (None, None) if head is None else (head.pk, head.head_seq)


def tools(conn: sa.Connection, *, tenant: str, turn_id: str) -> tuple[Block, ...]:
    """The tools that a turn offers. Raises `TurnNotFound`."""
    row = _row(conn, tenant, turn_id)
    stored = rows.stored_text(conn, session_pk=row.session_pk, digest=row.tools_digest)
    return tuple(orjson.loads(stored)) if stored else ()


def conversation(
    conn: sa.Connection, *, tenant: str, turn_id: str
) -> tuple[tuple[MessageContent, ...], tuple[FileContent, ...]]:
    """Read everything up to the last message of a turn, as a model would read all of it.

    Returns:
        The messages, oldest first, without those that never got a reply, and the files that they
        show. Of a turn that still waits, those before it are not there either.

    Raises:
        TurnNotFound: The tenant has no such turn.

    """
    row = _row(conn, tenant, turn_id)
    walked = messages.window(
        conn,
        session_pk=row.session_pk,
        head_seq=messages.last_of_turn(conn, turn_id=turn_id),
        limit=ALL,
        until=ALL,
    )
    contents = messages.context(walked)
    shown = [file_id for message in contents for file_id in file_ids(message.blocks)]
    contained = files.read(conn, session_pk=row.session_pk, file_ids=shown) if shown else {}
    return contents, tuple(contained.values())


def summary(row: TurnWithSession | AnsweringTurn) -> TurnSummary:
    """Make a turn's summary of its row."""
    error = None
    if row.error_code is not None:
        failure = error_from_code(row.error_code, row.error_detail)
        error = TurnError(failure.uri, failure.title, failure.detail)
    return TurnSummary(
        turn_id=row.id,
        status=Status(row.status),
        attempt=row.attempt,
        model=row.model,
        usage=Usage(row.input_tokens, row.output_tokens),
        finish_reason=row.finish_reason,
        error=error,
        created_at=rfc3339(row.created_at),
        started_at=None if row.started_at is None else rfc3339(row.started_at),
        ended_at=None if row.ended_at is None else rfc3339(row.ended_at),
    )


def receipt(conn: sa.Connection, *, tenant: str, turn_id: str) -> Receipt:
    """Read from the tree again what a turn's model was sent, and what not.

    Nothing that a turn has read ever moves in the tree.

    Raises:
        TurnNotFound: The tenant has no such turn.
        TurnNotStarted: The turn still waits, or was cancelled while it did.

    """
    row = _row(conn, tenant, turn_id)
    if row.user_seq is None or row.context_messages is None or row.context_seq is None:
        raise TurnNotStarted(turn=TurnRef(turn_id))
    taken = own_messages(conn, row)
    own = [message.to_content() for message in taken]
    walked = messages.window(
        conn,
        session_pk=row.session_pk,
        head_seq=taken[0].parent_seq,
        limit=row.context_messages,
        until=row.context_seq,
        is_open=tool_result(own[0].blocks) is not None,
    )
    options = rows.turn(row, row.session_id).options
    tools = rows.stored_text(conn, session_pk=row.session_pk, digest=row.tools_digest)
    return Receipt(
        turn_id=turn_id,
        attempt=row.attempt,
        model=row.model,
        context_messages=row.context_messages,
        system_prompt=rows.stored_text(
            conn, session_pk=row.session_pk, digest=row.system_prompt_digest
        ),
        messages=tuple(map(_sent, paired((*messages.context(walked), *own)))),
        left_out=tuple(_left_out(conn, row.session_pk, taken[0], walked)),
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        tools=tuple(orjson.loads(tools)) if tools else (),
        tool_choice=options.tool_choice,
        response_format=options.response_format,
        reasoning_effort=options.reasoning_effort,
        top_p=options.top_p,
        stop=options.stop,
        parallel_tool_calls=options.parallel_tool_calls,
    )


def _sent(message: MessageContent) -> SentMessage:
    blocks = expanded(message.text, message.blocks)
    return SentMessage(message.id, message.role, message.text, blocks)


def _row(conn: sa.Connection, tenant: str, turn_id: str) -> TurnWithSession:
    row = rows.turn_of_tenant(conn, tenant=tenant, turn_id=turn_id)
    if row is None:
        raise TurnNotFound
    return row


def _left_out(
    conn: sa.Connection,
    session_pk: int,
    first: TreeMessage,
    walked: Sequence[ContextMessage],
) -> list[LeftOut]:
    """The messages before a turn's own that its model was not sent, by rule."""
    unanswered = tuple(message.id for message in walked if not message.is_read)
    left_out = [LeftOut("no_reply", len(unanswered), unanswered)] if unanswered else []
    oldest = walked[-1] if walked else first
    if oldest.parent_seq is not None:
        older = messages.newest_ids(
            conn, session_pk=session_pk, head_seq=oldest.parent_seq, limit=LEFT_OUT_NAMED
        )
        left_out.append(LeftOut("context_messages", oldest.depth - 1, older))
    return left_out


def _waiting_message(row: TurnWithSession, message: MessageContent) -> Message:
    """A message of a turn that waits, as it will be."""
    return Message(
        id=message.id or row.user_message_id,
        role=message.role,
        content=message.text,
        created_at=rfc3339(row.created_at),
        status=Status(row.status),
        turn_id=row.id,
        parent_id=None,
        blocks=expanded(message.text, message.blocks),
    )
