"""A session as lines of an export, as it is in one snapshot of the database."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.records import CallLine, MessageLine, TurnLine
from chatkeep.domain.times import rfc3339
from chatkeep.store.tables import calls, messages, sessions, system_prompts, turns

MEMORY_BYTES = 1_048_576
"""What of a session waits in memory for its reader; the rest waits in a file without a name."""

ROWS_AT_ONCE = 100


def pks(conn: sa.Connection, *, tenant: str, after: int, limit: int) -> list[int]:
    """The keys of a tenant's sessions in the order of their creation, those after one of them."""
    place = {"tenant": tenant, "after": after, "limit": limit}
    return list(conn.scalars(_PKS, place).all())


class Named(NamedTuple):
    """A session that was asked for by its id."""

    pk: int
    title: str


def named(conn: sa.Connection, *, tenant: str, session_ids: Iterable[str]) -> list[Named]:
    """The sessions with these ids, in this order, each once. Raises `SessionNotFound`."""
    found = []
    for session_id in dict.fromkeys(session_ids):
        row = conn.execute(_NAMED, {"tenant": tenant, "name": session_id}).one_or_none()
        if row is None:
            raise SessionNotFound
        found.append(Named(row.pk, row.title))
    return found


def session(conn: sa.Connection, *, tenant: str, pk: int) -> dict[str, Any] | None:
    """A session's line; `None` if it is not there any more."""
    row = conn.execute(_SESSION, {"tenant": tenant, "key": pk}).one_or_none()
    if row is None:
        return None
    return {
        "type": "session",
        "session_id": row.session_id,
        "title": row.title,
        "title_source": row.title_source,
        "title_pending": row.title_pending,
        "pinned": row.pinned,
        "archived": row.archived,
        "model": row.model,
        "system_prompt": row.system_prompt,
        "context_messages": row.context_messages,
        "temperature": row.temperature,
        "max_tokens": row.max_tokens,
        "metadata": orjson.loads(row.metadata),
        "head_seq": row.head_seq,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def lines(conn: sa.Connection, *, tenant: str, pk: int) -> IO[bytes] | None:
    """All lines of a session, to be read and closed; `None` if it is not there any more.

    They are written down at once, so that turns which go on meanwhile tear nothing, and no reader
    who takes his time holds a transaction open.
    """
    first = session(conn, tenant=tenant, pk=pk)
    if first is None:
        return None
    # Kept open for whoever reads it.
    spool = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
    spool.write(_encoded(first))
    for statement, line in _KINDS:
        for row in _rows(conn, statement, pk):
            spool.write(_encoded(line(row)))
    spool.write(_encoded({"type": "end", "session_id": first["session_id"]}))
    spool.seek(0)
    return spool


def _rows(conn: sa.Connection, statement: sa.Select[Any], pk: int) -> Iterator[Any]:
    in_pieces = statement.execution_options(yield_per=ROWS_AT_ONCE)
    yield from conn.execute(in_pieces, {"session": pk})


def _encoded(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _turn_line(row: Any) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in _TURN_COLUMNS}
    digest = row.system_prompt_digest
    columns["options"] = {
        name: value for name, value in orjson.loads(row.options).items() if value is not None
    }
    columns["system_prompt_digest"] = None if digest is None else digest.hex()
    for name in ("created_at", "started_at", "ended_at"):
        at = columns[name]
        columns[name] = None if at is None else rfc3339(at)
    return {"type": "turn", **columns}


def _message_line(row: Any) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in _MESSAGE_COLUMNS}
    return {"type": "message", **columns, "created_at": rfc3339(row.created_at)}


def _prompt_line(row: Any) -> dict[str, Any]:
    return {"type": "system_prompt", "digest": row.digest.hex(), "content": row.content}


def _call_line(row: Any) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in _CALL_COLUMNS}
    return {"type": "call", **columns, "created_at": rfc3339(row.created_at)}


_TURN_COLUMNS = tuple(name for name in TurnLine.model_fields if name != "type")
_MESSAGE_COLUMNS = tuple(name for name in MessageLine.model_fields if name != "type")
_CALL_COLUMNS = tuple(name for name in CallLine.model_fields if name != "type")

_OF_TENANT = sessions.c.tenant_id == sa.bindparam("tenant")
_PKS = (
    sa.select(sessions.c.pk)
    .where(_OF_TENANT, sessions.c.pk > sa.bindparam("after", type_=sa.BigInteger))
    .order_by(sessions.c.pk)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_NAMED = sa.select(sessions.c.pk, sessions.c.title).where(
    _OF_TENANT, sessions.c.session_id == sa.bindparam("name")
)
_SESSION = sa.select(sessions).where(_OF_TENANT, sessions.c.pk == sa.bindparam("key"))
_PK: sa.BindParameter[int] = sa.bindparam("session")
_KINDS: tuple[tuple[sa.Select[Any], Callable[[Any], dict[str, Any]]], ...] = (
    (
        sa.select(system_prompts)
        .where(system_prompts.c.session_pk == _PK)
        .order_by(system_prompts.c.digest),
        _prompt_line,
    ),
    (sa.select(turns).where(turns.c.session_pk == _PK).order_by(turns.c.seq), _turn_line),
    (
        sa.select(messages).where(messages.c.session_pk == _PK).order_by(messages.c.seq),
        _message_line,
    ),
    (sa.select(calls).where(calls.c.session_pk == _PK).order_by(calls.c.pk), _call_line),
)
