"""Sessions as lines of an export, each as it is in one snapshot of the database."""

import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple, TypeVar

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import load
from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.model import DEFAULT_TENANT
from chatkeep.domain.records import CallLine, MessageLine, SessionLine, TurnLine
from chatkeep.domain.times import rfc3339
from chatkeep.store import audit, tenants
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.tables import (
    CallRow,
    FileRow,
    MessageRow,
    SessionRow,
    SystemPromptRow,
    TurnRow,
    calls,
    files,
    messages,
    sessions,
    system_prompts,
    turns,
)

MEMORY_BYTES = 1_048_576
"""How much of a session waits in memory for its reader; the rest is in a file without a name."""

ROWS_AT_ONCE = 100
"""Rows in memory at a time; a message may be long."""

FILES_AT_ONCE = 2
"""Pictures and documents in memory at a time."""

RowT = TypeVar("RowT", bound=tuple[Any, ...])

Line = dict[str, object]
"""A line of an export, before it is JSON: see `domain/records.py`."""


def note(conn: sa.Connection, *, tenant: str, actor: str, at: int) -> None:
    """Write down that somebody exports a tenant's sessions; of nobody there is nothing to note."""
    if tenant == DEFAULT_TENANT or tenants.find(conn, tenant=tenant) is not None:
        exported = audit.Action.EXPORTED
        audit.add(conn, actor=actor, tenant=tenant, action=exported, target=None, at=at)


def pks(conn: sa.Connection, *, tenant: str, after: int, limit: int) -> list[int]:
    """The keys of a tenant's sessions in the order of their creation.

    Args:
        conn: The connection.
        tenant: Whose sessions.
        after: Only keys above this one; 0 for the first page.
        limit: Keys at most.

    """
    params = {"tenant": tenant, "after": after, "limit": limit}
    return list(conn.scalars(_PKS, params).all())


class NamedSession(NamedTuple):
    """A session that a request named by its id."""

    pk: int
    title: str


def sessions_by_id(
    conn: sa.Connection, *, tenant: str, session_ids: Iterable[str]
) -> list[NamedSession]:
    """The sessions with these ids, in this order, each once. Raises `SessionNotFound`."""
    rows = []
    for session_id in dict.fromkeys(session_ids):
        row = _SESSION_BY_ID.first(conn, {"tenant": tenant, "name": session_id})
        if row is None:
            raise SessionNotFound
        rows.append(row)
    return rows


def session(conn: sa.Connection, *, tenant: str, pk: int) -> SessionRow | None:
    """A session's row; `None` if it was deleted meanwhile."""
    return _SESSION.first(conn, {"tenant": tenant, "key": pk})


def _session_line(row: SessionRow) -> Line:
    columns = {name: getattr(row, name) for name in _SESSION_COLUMNS}
    columns["metadata"] = orjson.loads(row.metadata)
    for name in ("created_at", "updated_at"):
        columns[name] = rfc3339(columns[name])
    return {"type": "session", **columns}


def lines(conn: sa.Connection, *, tenant: str, pk: int) -> IO[bytes] | None:
    """All lines of a session, in a file that the caller closes; `None` if it was deleted meanwhile.

    The file is complete when this returns: so the lines fit together although turns go on, and a
    slow reader holds no transaction open.
    """
    row = session(conn, tenant=tenant, pk=pk)
    if row is None:
        return None
    # The caller closes it.
    spool = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
    spool.write(_encoded(_session_line(row)))
    for lines_of_kind in (
        _lines_of(conn, pk, _SYSTEM_PROMPTS, _prompt_line),
        _lines_of(conn, pk, _FILES, _file_line, size=FILES_AT_ONCE),
        _lines_of(conn, pk, _TURNS, _turn_line),
        _lines_of(conn, pk, _MESSAGES, _message_line),
        _lines_of(conn, pk, _CALLS, _call_line),
    ):
        for line in lines_of_kind:
            spool.write(_encoded(line))
    spool.write(_encoded({"type": "end", "session_id": row.session_id}))
    spool.seek(0)
    return spool


def _lines_of(
    conn: sa.Connection,
    pk: int,
    select: TypedSelect[RowT],
    to_line: Callable[[RowT], Line],
    *,
    size: int = ROWS_AT_ONCE,
) -> Iterator[Line]:
    for row in select.in_pieces(conn, {"session": pk}, size=size):
        yield to_line(row)


def _encoded(line: Line) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _turn_line(row: TurnRow) -> Line:
    columns = {name: getattr(row, name) for name in _TURN_COLUMNS}
    digest = row.system_prompt_digest
    columns["options"] = {
        name: value for name, value in orjson.loads(row.options).items() if value is not None
    }
    columns["system_prompt_digest"] = None if digest is None else digest.hex()
    if row.tools_digest is not None:
        columns["tools_digest"] = row.tools_digest.hex()
    if row.input_messages is not None:
        columns["input_messages"] = orjson.loads(row.input_messages)
    for name in ("created_at", "started_at", "ended_at"):
        at = columns[name]
        columns[name] = None if at is None else rfc3339(at)
    return {"type": "turn", **_without_nulls(columns, _NEW_TURN_COLUMNS)}


def _message_line(row: MessageRow) -> Line:
    columns = {name: getattr(row, name) for name in _MESSAGE_COLUMNS}
    columns["blocks"] = load(row.blocks)
    columns["created_at"] = rfc3339(row.created_at)
    return {"type": "message", **_without_nulls(columns, ("blocks",))}


def _without_nulls(columns: Line, names: Iterable[str]) -> Line:
    """The columns without those of these names that are null: nearly every row has none of them."""
    for name in names:
        if columns[name] is None:
            del columns[name]
    return columns


def _file_line(row: FileRow) -> Line:
    return {
        "type": "file",
        "file_id": row.digest.hex(),
        "mime_type": row.mime_type,
        "data": b64encode(row.data).decode(),
    }


def _prompt_line(row: SystemPromptRow) -> Line:
    return {"type": "system_prompt", "digest": row.digest.hex(), "content": row.content}


def _call_line(row: CallRow) -> Line:
    columns = {name: getattr(row, name) for name in _CALL_COLUMNS}
    return {"type": "call", **columns, "created_at": rfc3339(row.created_at)}


_SESSION_COLUMNS = tuple(name for name in SessionLine.model_fields if name != "type")
_TURN_COLUMNS = tuple(name for name in TurnLine.model_fields if name != "type")
_NEW_TURN_COLUMNS = ("input_messages", "first_seq", "tools_digest")
_MESSAGE_COLUMNS = tuple(name for name in MessageLine.model_fields if name != "type")
_CALL_COLUMNS = tuple(name for name in CallLine.model_fields if name != "type")

_OF_TENANT = sessions.c.tenant_id == sa.bindparam("tenant")
_PKS = (
    sa.select(sessions.c.pk)
    .where(_OF_TENANT, sessions.c.pk > sa.bindparam("after", type_=sa.BigInteger))
    .order_by(sessions.c.pk)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_SESSION_BY_ID = TypedSelect(
    sa.select(sessions.c.pk, sessions.c.title).where(
        _OF_TENANT, sessions.c.session_id == sa.bindparam("name")
    ),
    NamedSession,
)
_SESSION = TypedSelect(
    sa.select(sessions).where(_OF_TENANT, sessions.c.pk == sa.bindparam("key")), SessionRow
)
_PK: sa.BindParameter[int] = sa.bindparam("session")
_SYSTEM_PROMPTS = TypedSelect(
    sa.select(system_prompts)
    .where(system_prompts.c.session_pk == _PK)
    .order_by(system_prompts.c.digest),
    SystemPromptRow,
)
_FILES = TypedSelect(
    sa.select(files).where(files.c.session_pk == _PK).order_by(files.c.digest), FileRow
)
_TURNS = TypedSelect(
    sa.select(turns).where(turns.c.session_pk == _PK).order_by(turns.c.seq), TurnRow
)
_MESSAGES = TypedSelect(
    sa.select(messages).where(messages.c.session_pk == _PK).order_by(messages.c.seq), MessageRow
)
_CALLS = TypedSelect(
    sa.select(calls).where(calls.c.session_pk == _PK).order_by(calls.c.pk), CallRow
)
