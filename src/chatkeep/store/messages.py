"""Statements on messages: the path through the tree, the newest of it, and a page of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain import Message, MessageNotFound, Role, SessionNotFound, Status, rfc3339
from chatkeep.store.tables import messages, sessions

MAX_UNANSWERED = 1_000
"""Messages without a reply that a search for context steps over at most."""


@dataclass(frozen=True, slots=True)
class Path:
    """The active branch of a session, as the positions of its messages, newest first."""

    session_pk: int
    seqs: tuple[int, ...]


_INSERT = messages.insert()
_SET_STATUS = messages.update().where(
    messages.c.session_pk == sa.bindparam("session"), messages.c.seq == sa.bindparam("at_seq")
)


def insert(
    conn: sa.Connection,
    *,
    session_pk: int,
    seq: int,
    parent_seq: int | None,
    depth: int,
    message_id: str,
    role: Role,
    content: str,
    status: Status,
    turn_id: str,
    at: int,
) -> None:
    """Add one message below its parent."""
    conn.execute(
        _INSERT,
        {
            "session_pk": session_pk,
            "seq": seq,
            "id": message_id,
            "parent_seq": parent_seq,
            "depth": depth,
            "role": role.value,
            "content": content,
            "status": status.value,
            "turn_id": turn_id,
            "created_at": at,
        },
    )


def set_status(conn: sa.Connection, *, session_pk: int, seq: int, status: Status) -> None:
    """Give a message the status of its turn."""
    conn.execute(_SET_STATUS, {"session": session_pk, "at_seq": seq, "status": status.value})


def context(
    conn: sa.Connection, *, session_pk: int, head_seq: int | None, limit: int
) -> tuple[tuple[Role, str], ...]:
    """The newest `limit` messages that a model reads, oldest first, on the path to `head_seq`.

    A user's message that no reply follows is stepped over: its turn ended without any text.
    """
    if head_seq is None or limit == 0:
        return ()
    rows = conn.execute(_CONTEXT, {"session": session_pk, "head": head_seq, "limit": limit}).all()
    return tuple((Role(row.role), row.content) for row in reversed(rows))


def _context_statement() -> sa.Select[tuple[str, str]]:
    head = sa.select(
        messages.c.parent_seq,
        messages.c.role,
        messages.c.content,
        sa.case((messages.c.role == Role.USER.value, 0), else_=1).label("read"),
        sa.case((messages.c.role == Role.USER.value, 0), else_=1).label("taken"),
        sa.literal_column("1").label("step"),
    ).where(
        messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger),
        messages.c.seq == sa.bindparam("head", type_=sa.BigInteger),
    )
    walk = head.cte("walk", recursive=True)
    unanswered = sa.and_(messages.c.role == Role.USER.value, walk.c.role == Role.USER.value)
    counts = sa.case((unanswered, 0), else_=1)
    walk = walk.union_all(
        sa.select(
            messages.c.parent_seq,
            messages.c.role,
            messages.c.content,
            counts,
            walk.c.taken + counts,
            walk.c.step + 1,
        ).where(
            messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger),
            messages.c.seq == walk.c.parent_seq,
            walk.c.taken < sa.bindparam("limit", type_=sa.Integer),
            walk.c.step - walk.c.taken < MAX_UNANSWERED,
        )
    )
    return sa.select(walk.c.role, walk.c.content).where(walk.c.read == 1).order_by(walk.c.step)


_CONTEXT = _context_statement()


_HEAD = sa.select(sessions.c.pk, sessions.c.head_seq).where(
    sessions.c.tenant_id == sa.bindparam("tenant"), sessions.c.session_id == sa.bindparam("name")
)
_PARENT = sa.select(messages.c.parent_seq).where(
    messages.c.session_pk == sa.bindparam("session"), messages.c.id == sa.bindparam("message")
)


def path(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    limit: int | None,
    before: str | None = None,
) -> Path:
    """The active branch, or its newest `limit` messages, or those before the message `before`.

    Raises `SessionNotFound`, or `MessageNotFound` when `before` is not in the session.
    """
    session = conn.execute(_HEAD, {"tenant": tenant, "name": session_id}).one_or_none()
    if session is None:
        raise SessionNotFound
    start = session.head_seq
    if before is not None:
        known = conn.execute(_PARENT, {"session": session.pk, "message": before}).one_or_none()
        if known is None:
            raise MessageNotFound
        start = known.parent_seq
    if start is None:
        return Path(session.pk, ())
    rows = conn.execute(_PATH, {"session": session.pk, "head": start, "limit": limit or -1}).all()
    return Path(session.pk, tuple(row.seq for row in rows))


def _path_statement() -> sa.Select[tuple[int]]:
    walk = (
        sa.select(messages.c.seq, messages.c.parent_seq, sa.literal_column("1").label("step"))
        .where(
            messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger),
            messages.c.seq == sa.bindparam("head", type_=sa.BigInteger),
        )
        .cte("walk", recursive=True)
    )
    walk = walk.union_all(
        sa.select(messages.c.seq, messages.c.parent_seq, walk.c.step + 1).where(
            messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger),
            messages.c.seq == walk.c.parent_seq,
            walk.c.step != sa.bindparam("limit", type_=sa.BigInteger),
        )
    )
    return sa.select(walk.c.seq).order_by(walk.c.step)


_PATH = _path_statement()


_PARENTS = messages.alias("parent")
_OF_PATH = (
    sa.select(
        messages.c.seq,
        messages.c.id,
        messages.c.role,
        messages.c.content,
        messages.c.created_at,
        messages.c.status,
        messages.c.turn_id,
        _PARENTS.c.id.label("parent_id"),
    )
    .outerjoin_from(
        messages,
        _PARENTS,
        sa.and_(
            _PARENTS.c.session_pk == messages.c.session_pk,
            _PARENTS.c.seq == messages.c.parent_seq,
        ),
    )
    .where(
        messages.c.session_pk == sa.bindparam("session"),
        messages.c.seq.in_(sa.bindparam("seqs", expanding=True)),
    )
)


def of_path(conn: sa.Connection, *, session_pk: int, seqs: Sequence[int]) -> list[Message]:
    """The messages at these positions of one path, in this order."""
    rows = conn.execute(_OF_PATH, {"session": session_pk, "seqs": seqs}).all()
    found = {row.seq: _message(row) for row in rows}
    return [found[seq] for seq in seqs if seq in found]


def _message(row: Any) -> Message:
    return Message(
        id=row.id,
        role=Role(row.role),
        content=row.content,
        created_at=rfc3339(row.created_at),
        status=Status(row.status),
        turn_id=row.turn_id,
        parent_id=row.parent_id,
    )
