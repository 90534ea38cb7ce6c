"""Sessions from the lines of an export, in bounded pieces.

A session is hidden until its import is whole (see `deletion.py`).
"""

from collections.abc import Iterable
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import compacted
from chatkeep.domain.errors import TurnCancelled, TurnInterrupted
from chatkeep.domain.model import Role, Session, Status, TurnOptions
from chatkeep.domain.records import (
    CallLine,
    FileLine,
    Line,
    MessageLine,
    SessionLine,
    SystemPromptLine,
    TurnLine,
)
from chatkeep.domain.times import microseconds, rfc3339
from chatkeep.store import audit, deletion, files, messages, rows, sessions, tenants
from chatkeep.store.prepared import TypedSelect, is_passing
from chatkeep.store.search import index
from chatkeep.store.tables import (
    HIDDEN,
    CallValues,
    SessionValues,
    TurnValues,
    calls,
    turns,
)
from chatkeep.store.tables import messages as messages_table


class CannotImport(Exception):
    """Raised for a session that cannot be imported; its text is the reason, for people."""


class Counters(NamedTuple):
    """The highest numbers of a session's messages and turns; `None` if it has none."""

    last_seq: int | None
    turn_count: int | None


def start(conn: sa.Connection, *, tenant: str, actor: str, at: int) -> None:
    """Write down that somebody imports sessions for a tenant. Raises `TenantNotFound`."""
    tenants.ensure(conn, tenant=tenant, at=at)
    imported = audit.Action.IMPORTED
    audit.add(conn, actor=actor, tenant=tenant, action=imported, target=None, at=at)


def begin(conn: sa.Connection, *, tenant: str, line: SessionLine, owner: str) -> int:
    """Create a hidden session, and return its key.

    Args:
        conn: The connection.
        tenant: Whose session it will be.
        line: The line that it begins with.
        owner: The process that imports it, by its lease.

    Raises:
        CannotImport: Its id is not free.
        TenantNotFound: The tenant or the user is being erased.

    """
    tenants.ensure(conn, tenant=tenant, at=microseconds(line.created_at))
    existing = sessions.find(conn, tenant=tenant, session_id=line.session_id)
    if existing is not None:
        is_same = rfc3339(existing.created_at) == line.created_at
        raise CannotImport("is here already" if is_same else "another session has this id")
    values: SessionValues = {
        "tenant_id": HIDDEN,
        "session_id": deletion.hidden_name(deletion.IMPORTED, tenant, owner),
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
    pk = sessions.insert(conn, values, tenant=tenant)
    if pk is None:
        raise CannotImport("another session has this id")
    return pk


def add(conn: sa.Connection, *, tenant: str, pk: int, lines: Iterable[Line]) -> None:
    """Add lines to a hidden session.

    Args:
        conn: The connection.
        tenant: Whose session it will be.
        pk: Its key, from `begin`.
        lines: Its lines, each after those that it refers to.

    Raises:
        CannotImport: A line refers to what is not there, or contradicts another.

    """
    _check_hidden(conn, pk)
    depths: dict[int, int] = {}
    try:
        for line in lines:
            if isinstance(line, MessageLine):
                depths[line.seq] = _add_message(conn, tenant, pk, line, depths)
            elif isinstance(line, TurnLine):
                conn.execute(turns.insert(), _turn_values(tenant, pk, line))
            elif isinstance(line, SystemPromptLine):
                digest = bytes.fromhex(line.digest)
                rows.store_text(conn, session_pk=pk, digest=digest, content=line.content)
            elif isinstance(line, FileLine):
                files.insert(conn, session_pk=pk, contents=[line.content])
            elif isinstance(line, CallLine):
                conn.execute(calls.insert(), _call_values(tenant, pk, line))
    except sa.exc.IntegrityError as error:
        if is_passing(error):
            raise
        raise CannotImport("some of it already exists, or contradicts itself") from None


def finish(conn: sa.Connection, *, tenant: str, pk: int, line: SessionLine) -> Session:
    """Make a session visible whose lines are all there, and return it.

    Args:
        conn: The connection.
        tenant: Whose session it becomes.
        pk: Its key, from `begin`.
        line: The line that it began with.

    Raises:
        CannotImport: Its lines do not fit together, or another session has its id by now.
        TenantNotFound: The tenant or the user is being erased.

    """
    tenants.ensure(conn, tenant=tenant, at=microseconds(line.created_at))
    _check_hidden(conn, pk)
    counters = _COUNTERS.one(conn, {"session": pk})
    if conn.execute(_TURN_WITHOUT_MESSAGE, {"session": pk}).first() is not None:
        raise CannotImport("a turn refers to a message that is missing")
    head = line.head_seq and rows.message_by_seq(conn, session_pk=pk, seq=line.head_seq)
    if line.head_seq is not None and head is None:
        raise CannotImport("its head is a message that is missing")
    try:
        rows.update_session(
            conn,
            pk,
            {
                "tenant_id": tenant,
                "session_id": line.session_id,
                "head_seq": line.head_seq,
                "last_seq": counters.last_seq or 0,
                "message_count": head.depth if head else 0,
                "turn_count": counters.turn_count or 0,
            },
        )
    except sa.exc.IntegrityError:
        raise CannotImport("another session has this id") from None
    return sessions.listed(conn, tenant=tenant, pk=pk)


def _check_hidden(conn: sa.Connection, pk: int) -> None:
    """Lock a session that is being imported: another process may have taken this one for dead."""
    session = rows.find_session(conn, pk)
    name = session.session_id if session is not None and session.tenant_id == HIDDEN else ""
    if not name.startswith(f"{deletion.IMPORTED}:"):
        raise CannotImport("its import was given up, because the server seemed to be dead")


def discard(conn: sa.Connection, *, tenant: str, pk: int) -> None:
    """Delete a hidden session: the next purge removes its rows.

    Args:
        conn: The connection.
        tenant: Whose session it would have been.
        pk: Its key, from `begin`.

    """
    name = deletion.hidden_name(deletion.DELETED, tenant)
    rows.update_session(conn, pk, {"session_id": name})


def _add_message(
    conn: sa.Connection, tenant: str, pk: int, line: MessageLine, depths: dict[int, int]
) -> int:
    depth = 1
    if line.parent_seq is not None:
        parent_depth = depths.get(line.parent_seq)
        if parent_depth is None:
            parent = rows.message_by_seq(conn, session_pk=pk, seq=line.parent_seq)
            if parent is None:
                raise CannotImport("a message follows one that is missing")
            parent_depth = parent.depth
        depth = parent_depth + 1
    if line.turn_id is not None and not _has_turn(conn, pk, line.turn_id):
        raise CannotImport("a message refers to a turn that is missing")
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
        key=index.message_key(conn, microseconds(line.created_at)),
        blocks=compacted(line.content, line.blocks),
    )
    return depth


def _has_turn(conn: sa.Connection, pk: int, turn_id: str) -> bool:
    return conn.execute(_TURN_OF, {"session": pk, "turn": turn_id}).first() is not None


def _turn_values(tenant: str, pk: int, line: TurnLine) -> TurnValues:
    """A turn's row. One that had not ended does not go on here, where nobody waits for it."""
    status, error = line.status, line.error_code
    if not status.is_end:
        waits = line.input is not None
        status = Status.CANCELLED if waits else Status.INTERRUPTED
        error = (TurnCancelled if waits else TurnInterrupted).code
    ended_at = line.ended_at or line.started_at or line.created_at
    digest, tools = line.system_prompt_digest, line.tools_digest
    inputs = line.input_messages and [message.model_dump() for message in line.input_messages]
    options = TurnOptions(**line.options.model_dump())
    return {
        "id": line.id,
        "tenant_id": tenant,
        "session_pk": pk,
        "seq": line.seq,
        "status": status.value,
        "attempt": line.attempt,
        "model": line.model,
        "options": orjson.dumps(options.stored()).decode(),
        "input": line.input,
        "input_messages": orjson.dumps(inputs).decode() if inputs else None,
        "first_seq": line.first_seq,
        "tools_digest": None if tools is None else bytes.fromhex(tools),
        "branch_seq": line.branch_seq,
        "regenerates": line.regenerates,
        "context_messages": line.context_messages,
        "context_seq": line.context_seq,
        "system_prompt_digest": None if digest is None else bytes.fromhex(digest),
        "user_message_id": line.user_message_id,
        "message_id": line.message_id,
        "user_seq": line.user_seq,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "finish_reason": line.finish_reason,
        "error_code": error,
        "error_detail": line.error_detail,
        "created_at": microseconds(line.created_at),
        "started_at": None if line.started_at is None else microseconds(line.started_at),
        "ended_at": microseconds(ended_at),
    }


def _call_values(tenant: str, pk: int, line: CallLine) -> CallValues:
    return {
        "tenant_id": tenant,
        "session_pk": pk,
        "turn_id": line.turn_id,
        "kind": line.kind.value,
        "model": line.model,
        "status": line.status.value,
        "is_retry": line.is_retry,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "is_estimated": line.is_estimated,
        "created_at": microseconds(line.created_at),
    }


_COUNTERS = TypedSelect(
    sa.select(
        sa.select(sa.func.max(messages_table.c.seq))
        .where(messages_table.c.session_pk == sa.bindparam("session"))
        .scalar_subquery()
        .label("last_seq"),
        sa.select(sa.func.max(turns.c.seq))
        .where(turns.c.session_pk == sa.bindparam("session"))
        .scalar_subquery()
        .label("turn_count"),
    ),
    Counters,
)
_TURN_OF = sa.select(turns.c.id).where(
    turns.c.id == sa.bindparam("turn"), turns.c.session_pk == sa.bindparam("session")
)
_ANSWERED = messages_table.alias("answered")
_PARENT = messages_table.alias("parent")
_SAME = messages_table.alias("same")
_IS_ANYWHERE = sa.exists().where(_SAME.c.id == turns.c.user_message_id).correlate(turns)
_IS_IN_SESSION = (
    sa.exists()
    .where(_SAME.c.id == turns.c.user_message_id, _SAME.c.session_pk == turns.c.session_pk)
    .correlate(turns)
)
_TURN_WITHOUT_MESSAGE = (
    sa.select(turns.c.id)
    .outerjoin_from(
        turns,
        _ANSWERED,
        sa.and_(
            _ANSWERED.c.session_pk == turns.c.session_pk,
            _ANSWERED.c.seq == turns.c.user_seq,
            _ANSWERED.c.id == turns.c.user_message_id,
            _ANSWERED.c.role != Role.ASSISTANT.value,
        ),
    )
    .outerjoin(
        _PARENT,
        sa.and_(_PARENT.c.session_pk == turns.c.session_pk, _PARENT.c.seq == turns.c.branch_seq),
    )
    .where(
        turns.c.session_pk == sa.bindparam("session"),
        sa.or_(
            sa.and_(turns.c.user_seq.is_not(None), _ANSWERED.c.seq.is_(None)),
            sa.and_(turns.c.branch_seq > 0, _PARENT.c.seq.is_(None)),
            # One that waits has its message in `input`; one that regenerates, in the tree.
            sa.and_(turns.c.input.is_not(None), _IS_ANYWHERE),
            sa.and_(turns.c.input.is_(None), ~_IS_IN_SESSION),
        ),
    )
    .limit(1)
)
