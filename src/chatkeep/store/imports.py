"""Lines of an export as sessions, in bounded pieces.

A session that comes in is hidden until it is whole (see `removal.py`).
"""

from collections.abc import Iterable
from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import TurnCancelled, TurnInterrupted
from chatkeep.domain.model import Role, Session, Status
from chatkeep.domain.records import (
    CallLine,
    Line,
    MessageLine,
    SessionLine,
    SystemPromptLine,
    TurnLine,
)
from chatkeep.domain.times import microseconds, rfc3339
from chatkeep.store import deletion, messages, rows, sessions
from chatkeep.store.tables import HIDDEN, calls, turns
from chatkeep.store.tables import messages as messages_table


class CannotImport(Exception):
    """A session cannot be imported; the message says why."""


def begin(conn: sa.Connection, *, tenant: str, line: SessionLine) -> int:
    """Make room for a session that comes in; return its key. Raises `CannotImport`."""
    there = sessions.find(conn, tenant=tenant, session_id=line.session_id)
    if there is not None:
        same = rfc3339(there.created_at) == line.created_at
        raise CannotImport("is here already" if same else "another session has this id")
    values = {
        "tenant_id": HIDDEN,
        "session_id": deletion.hidden_name(deletion.IMPORTED, tenant),
        "title": line.title,
        "title_source": line.title_source.value,
        "title_pending": line.title_pending,
        "pinned": line.pinned,
        "archived": line.archived,
        "model": line.model,
        "system_prompt": line.system_prompt,
        "context_messages": line.context_messages,
        "temperature": line.temperature,
        "max_tokens": line.max_tokens,
        "metadata": orjson.dumps(line.metadata).decode(),
        "last_seq": 0,
        "message_count": 0,
        "turn_count": 0,
        "created_at": microseconds(line.created_at),
        "updated_at": microseconds(line.updated_at),
    }
    return sessions.insert(conn, values, tenant=tenant)


def add(conn: sa.Connection, *, tenant: str, pk: int, lines: Iterable[Line]) -> None:
    """Add lines to a session that comes in. Raises `CannotImport`."""
    depths: dict[int, int] = {}
    try:
        for line in lines:
            if isinstance(line, MessageLine):
                depths[line.seq] = _add_message(conn, tenant, pk, line, depths)
            elif isinstance(line, TurnLine):
                conn.execute(turns.insert(), _turn_values(tenant, pk, line))
            elif isinstance(line, SystemPromptLine):
                digest = bytes.fromhex(line.digest)
                rows.keep_system_prompt(conn, session_pk=pk, digest=digest, content=line.content)
            elif isinstance(line, CallLine):
                conn.execute(calls.insert(), _call_values(tenant, pk, line))
    except sa.exc.IntegrityError:
        raise CannotImport("some of it is here already, or contradicts itself") from None


def finish(conn: sa.Connection, *, tenant: str, pk: int, line: SessionLine) -> Session:
    """Let a session be seen that has come in whole, and tell it. Raises `CannotImport`."""
    last = conn.execute(_LAST, {"session": pk}).one()
    if conn.execute(_LOOSE, {"session": pk}).first() is not None:
        raise CannotImport("a turn names a message that is not there")
    head = line.head_seq and rows.message_at(conn, session_pk=pk, seq=line.head_seq)
    if line.head_seq is not None and head is None:
        raise CannotImport("its head is a message that is not there")
    try:
        rows.update_session(
            conn,
            pk,
            tenant_id=tenant,
            session_id=line.session_id,
            head_seq=line.head_seq,
            last_seq=last.seq or 0,
            message_count=head.depth if head else 0,
            turn_count=conn.scalar(_LAST_TURN, {"session": pk}) or 0,
        )
    except sa.exc.IntegrityError:
        raise CannotImport("another session has this id") from None
    return sessions.listed(conn, tenant=tenant, pk=pk)


def discard(conn: sa.Connection, *, tenant: str, pk: int) -> None:
    """Leave what has come in of a session to the next sweep."""
    rows.update_session(conn, pk, session_id=deletion.hidden_name(deletion.DELETED, tenant))


def _add_message(
    conn: sa.Connection, tenant: str, pk: int, line: MessageLine, depths: dict[int, int]
) -> int:
    depth = 1
    if line.parent_seq is not None:
        known = depths.get(line.parent_seq)
        if known is None:
            parent = rows.message_at(conn, session_pk=pk, seq=line.parent_seq)
            if parent is None:
                raise CannotImport("a message follows one that is not there")
            known = parent.depth
        depth = known + 1
    if line.turn_id is not None and not _is_of(conn, pk, line.turn_id):
        raise CannotImport("a message names a turn that is not there")
    messages.insert(
        conn,
        tenant=tenant,
        session_pk=pk,
        seq=line.seq,
        parent_seq=line.parent_seq,
        depth=depth,
        message_id=line.id,
        role=line.role,
        content=line.content,
        status=line.status if line.status.is_end else Status.INTERRUPTED,
        turn_id=line.turn_id,
        at=microseconds(line.created_at),
    )
    return depth


def _is_of(conn: sa.Connection, pk: int, turn_id: str) -> bool:
    return conn.execute(_TURN_OF, {"session": pk, "turn": turn_id}).first() is not None


def _turn_values(tenant: str, pk: int, line: TurnLine) -> dict[str, Any]:
    """A turn's row. One that had not ended then does not go on: nobody waits for it here."""
    status, error = line.status, line.error_code
    if not status.is_end:
        waits = line.input is not None
        status = Status.CANCELLED if waits else Status.INTERRUPTED
        error = (TurnCancelled if waits else TurnInterrupted).code
    ended_at = line.ended_at or line.started_at or line.created_at
    given = line.model_dump(exclude={"type"})
    return {
        **given,
        "tenant_id": tenant,
        "session_pk": pk,
        "status": status.value,
        "error_code": error,
        "options": orjson.dumps(given["options"]).decode(),
        "system_prompt_digest": line.system_prompt_digest
        and bytes.fromhex(line.system_prompt_digest),
        "created_at": microseconds(line.created_at),
        "started_at": line.started_at and microseconds(line.started_at),
        "ended_at": microseconds(ended_at),
    }


def _call_values(tenant: str, pk: int, line: CallLine) -> dict[str, Any]:
    given = line.model_dump(exclude={"type"}, mode="json")
    whose = {"tenant_id": tenant, "session_pk": pk}
    return {**given, **whose, "created_at": microseconds(line.created_at)}


_LAST = sa.select(sa.func.max(messages_table.c.seq).label("seq")).where(
    messages_table.c.session_pk == sa.bindparam("session")
)
_LAST_TURN = sa.select(sa.func.max(turns.c.seq)).where(
    turns.c.session_pk == sa.bindparam("session")
)
_TURN_OF = sa.select(turns.c.id).where(
    turns.c.id == sa.bindparam("turn"), turns.c.session_pk == sa.bindparam("session")
)
_ASKED = messages_table.alias("asked")
_PLACE = messages_table.alias("place")
_SAME = messages_table.alias("same")
_NAMED = sa.exists().where(_SAME.c.id == turns.c.user_message_id).correlate(turns)
_NAMED_HERE = (
    sa.exists()
    .where(_SAME.c.id == turns.c.user_message_id, _SAME.c.session_pk == turns.c.session_pk)
    .correlate(turns)
)
_LOOSE = (
    sa.select(turns.c.id)
    .outerjoin_from(
        turns,
        _ASKED,
        sa.and_(
            _ASKED.c.session_pk == turns.c.session_pk,
            _ASKED.c.seq == turns.c.user_seq,
            _ASKED.c.id == turns.c.user_message_id,
            _ASKED.c.role == Role.USER.value,
        ),
    )
    .outerjoin(
        _PLACE,
        sa.and_(_PLACE.c.session_pk == turns.c.session_pk, _PLACE.c.seq == turns.c.branch_seq),
    )
    .where(
        turns.c.session_pk == sa.bindparam("session"),
        sa.or_(
            sa.and_(turns.c.user_seq.is_not(None), _ASKED.c.seq.is_(None)),
            sa.and_(turns.c.branch_seq > 0, _PLACE.c.seq.is_(None)),
            # One that waits brings its message along; one that answers again finds it there.
            sa.and_(turns.c.input.is_not(None), _NAMED),
            sa.and_(turns.c.input.is_(None), ~_NAMED_HERE),
        ),
    )
    .limit(1)
)
