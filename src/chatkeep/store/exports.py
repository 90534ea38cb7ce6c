"""Sessions as lines of an export, in bounded pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain import SessionNotFound, rfc3339
from chatkeep.records import CallLine, MessageLine, TurnLine
from chatkeep.store.tables import calls, messages, sessions, system_prompts, turns


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines of one kind of a session, and where the next begin; `None` after the last."""

    lines: Sequence[dict[str, Any]]
    following: int | None


def pks(conn: sa.Connection, *, tenant: str, after: int, limit: int) -> list[int]:
    """The keys of a tenant's sessions in the order of their creation, those after one of them."""
    place = {"tenant": tenant, "after": after, "limit": limit}
    return list(conn.scalars(_PKS, place).all())


def pk_of(conn: sa.Connection, *, tenant: str, session_id: str) -> int:
    """A session's key. Raises `SessionNotFound`."""
    row = conn.execute(_PK_OF, {"tenant": tenant, "name": session_id}).one_or_none()
    if row is None:
        raise SessionNotFound
    return int(row.pk)


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
        "metadata": orjson.loads(row.metadata),
        "head_seq": row.head_seq,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def part(
    conn: sa.Connection, *, tenant: str, pk: int, kind: str, after: int, limit: int
) -> Part | None:
    """Up to `limit` lines of a session after a place; `None` if it is not there any more.

    The kinds are `prompts`, `turns`, `messages`, `calls`.
    """
    if conn.execute(_SESSION, {"tenant": tenant, "key": pk}).first() is None:
        return None
    statement, line = _KINDS[kind]
    found = conn.execute(statement, {"session": pk, "after": after, "limit": limit}).all()
    following = None
    if len(found) == limit and kind != "prompts":
        following = found[-1].pk if kind == "calls" else found[-1].seq
    return Part([line(row) for row in found], following)


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

_LIMIT = sa.bindparam("limit", type_=sa.Integer)
_AFTER = sa.bindparam("after", type_=sa.BigInteger)
_OF_TENANT = sessions.c.tenant_id == sa.bindparam("tenant")
_PKS = (
    sa.select(sessions.c.pk)
    .where(_OF_TENANT, sessions.c.pk > _AFTER)
    .order_by(sessions.c.pk)
    .limit(_LIMIT)
)
_PK_OF = sa.select(sessions.c.pk).where(_OF_TENANT, sessions.c.session_id == sa.bindparam("name"))
_SESSION = sa.select(sessions).where(_OF_TENANT, sessions.c.pk == sa.bindparam("key"))
_KINDS: dict[str, tuple[sa.Select[Any], Any]] = {
    "prompts": (
        sa.select(system_prompts)
        .where(system_prompts.c.session_pk == sa.bindparam("session"))
        .order_by(system_prompts.c.digest),
        _prompt_line,
    ),
    "turns": (
        sa.select(turns)
        .where(turns.c.session_pk == sa.bindparam("session"), turns.c.seq > _AFTER)
        .order_by(turns.c.seq)
        .limit(_LIMIT),
        _turn_line,
    ),
    "messages": (
        sa.select(messages)
        .where(messages.c.session_pk == sa.bindparam("session"), messages.c.seq > _AFTER)
        .order_by(messages.c.seq)
        .limit(_LIMIT),
        _message_line,
    ),
    "calls": (
        sa.select(calls)
        .where(calls.c.session_pk == sa.bindparam("session"), calls.c.pk > _AFTER)
        .order_by(calls.c.pk)
        .limit(_LIMIT),
        _call_line,
    ),
}
