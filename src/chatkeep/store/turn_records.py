"""What is kept of a turn: its record, the list of those that have not ended, its receipt."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain.errors import ChatError, TurnNotFound, TurnNotStarted, TurnRef, error_from_code
from chatkeep.domain.model import (
    LeftOut,
    Message,
    Receipt,
    Role,
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
from chatkeep.store import messages, rows
from chatkeep.store.tables import turns

LEFT_OUT_NAMED = 100
"""Messages beyond the context's size that a receipt names; the others are counted."""

SUMMARIZED = (
    *(turns.c.id, turns.c.status, turns.c.attempt, turns.c.model),
    *(turns.c.input_tokens, turns.c.output_tokens, turns.c.finish_reason),
    *(turns.c.error_code, turns.c.error_detail),
    *(turns.c.created_at, turns.c.started_at, turns.c.ended_at),
)
"""The columns of a turn that its summary needs: the others may be long."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A turn as it is kept, with its session's title, and whether that came with this turn."""

    turn: Turn
    record: TurnRecord
    reply: str
    failure: ChatError | None
    title: str
    is_titled: bool


def find(conn: sa.Connection, *, tenant: str, turn_id: str) -> Kept:
    """A turn and its messages. Raises `TurnNotFound`."""
    row = rows.turn_of(conn, tenant=tenant, turn_id=turn_id)
    if row is None:
        raise TurnNotFound
    ids = [row.user_message_id, row.message_id]
    found = messages.named(conn, session_pk=row.session_pk, ids=ids)
    if row.input is not None:
        found.insert(0, _waiting(row))
    failure = None
    if row.error_code is not None:
        failure = error_from_code(row.error_code, row.error_detail).as_outcome_of(
            TurnRef(row.id, row.session_id)
        )
    told = summary(row)
    record = TurnRecord(
        **{name: getattr(told, name) for name in TurnSummary.__dataclass_fields__},
        session_id=row.session_id,
        user_message_id=row.user_message_id,
        message_id=row.message_id,
        messages=tuple(found),
    )
    reply = next((message.content for message in found if message.id == row.message_id), "")
    is_titled = row.seq == 1 and row.title_source == TitleSource.MODEL.value
    return Kept(rows.turn(row, row.session_id), record, reply, failure, row.title, is_titled)


def summary(row: Any) -> TurnSummary:
    """Make of a turn's row what is told of it beside its messages."""
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
    """What a turn's model was sent, and what not. Raises `TurnNotFound` and `TurnNotStarted`.

    It is read from the tree again: nothing that a turn has read changes its place there.
    """
    row = rows.turn_of(conn, tenant=tenant, turn_id=turn_id)
    if row is None:
        raise TurnNotFound
    if row.user_seq is None or row.context_messages is None:
        raise TurnNotStarted(turn=TurnRef(turn_id))
    asked = rows.message_at(conn, session_pk=row.session_pk, seq=row.user_seq)
    walked = messages.window(
        conn,
        session_pk=row.session_pk,
        head_seq=asked.parent_seq,
        limit=row.context_messages,
        until=row.context_seq,
    )
    sent = [
        SentMessage(found.id, Role(found.role), found.content)
        for found in reversed(walked)
        if found.read
    ]
    sent.append(SentMessage(asked.id, Role.USER, asked.content))
    unanswered = tuple(found.id for found in walked if not found.read)
    left_out = [LeftOut("no_reply", len(unanswered), unanswered)] if unanswered else []
    before = walked[-1] if walked else asked
    if before.parent_seq is not None:
        older = messages.newest_ids(
            conn, session_pk=row.session_pk, head_seq=before.parent_seq, limit=LEFT_OUT_NAMED
        )
        left_out.append(LeftOut("context_messages", before.depth - 1, older))
    options = rows.turn(row, row.session_id).options
    return Receipt(
        turn_id=turn_id,
        attempt=row.attempt,
        model=row.model,
        context_messages=row.context_messages,
        system_prompt=rows.system_prompt(
            conn, session_pk=row.session_pk, digest=row.system_prompt_digest
        ),
        messages=tuple(sent),
        left_out=tuple(left_out),
        temperature=options.temperature,
        max_tokens=options.max_tokens,
    )


def _waiting(row: Any) -> Message:
    """The message of a turn that waits, as it will be."""
    return Message(
        id=row.user_message_id,
        role=Role.USER,
        content=row.input,
        created_at=rfc3339(row.created_at),
        status=Status(row.status),
        turn_id=row.id,
        parent_id=None,
    )
