"""Statements on messages: the path through the tree, the newest of it, and a page of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain.errors import MessageNotFound, SessionNotFound
from chatkeep.domain.model import Message, Role, Status
from chatkeep.domain.times import rfc3339
from chatkeep.store import branches
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.search import hits as search
from chatkeep.store.tables import messages, sessions

MAX_UNANSWERED = 1_000
"""Messages without a reply that a search for context steps over at most."""


@dataclass(frozen=True, slots=True)
class Path:
    """A branch of a session, as the positions of its messages, newest first."""

    session_pk: int
    seqs: tuple[int, ...]


_INSERT = PreparedStatement(messages.insert())
_SET_STATUS = PreparedStatement(
    messages.update().where(
        messages.c.session_pk == sa.bindparam("session"), messages.c.seq == sa.bindparam("at_seq")
    )
)


def insert(
    conn: sa.Connection,
    *,
    tenant: str,
    session_pk: int,
    seq: int,
    parent_seq: int | None,
    depth: int,
    message_id: str,
    role: Role,
    content: str,
    status: Status,
    turn_id: str | None,
    at: int,
) -> None:
    """Add one message below its parent, and let the tenant find it."""
    key = search.message_key(conn, at)
    _INSERT.run(
        conn,
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
            "search_key": key,
        },
    )
    search.add(conn, [search.Entry(key, content, tenant, session_pk, role.value)])


def set_status(conn: sa.Connection, *, session_pk: int, seq: int, status: Status) -> None:
    """Give a message the status of its turn."""
    _SET_STATUS.run(conn, {"session": session_pk, "at_seq": seq, "status": status.value})


def window(
    conn: sa.Connection, *, session_pk: int, head_seq: int | None, limit: int, until: int
) -> Any:
    """What of the path to `head_seq` a model is sent: up to `limit` messages, newest first.

    `until` is the newest message of the session at that time: what came later is not seen. Each
    row is read by the model or, as a user's message that never got a reply, stepped over;
    then its `content` is `None`. `depth` of the last row is how many messages are before it.
    """
    if head_seq is None or limit == 0:
        return []
    place = {"session": session_pk, "head": head_seq, "limit": limit, "until": until}
    return _WINDOW.all(conn, place)


def context(
    conn: sa.Connection, *, session_pk: int, head_seq: int | None, limit: int, until: int
) -> tuple[tuple[Role, str], ...]:
    """The messages that a model is sent of the path to `head_seq`, oldest first; see `window`."""
    rows = window(conn, session_pk=session_pk, head_seq=head_seq, limit=limit, until=until)
    return tuple((Role(row.role), row.content) for row in reversed(rows) if row.read)


def _window_statement() -> sa.Select[Any]:
    replies = messages.alias("replies")
    answered = (
        sa.exists()
        .where(
            replies.c.session_pk == messages.c.session_pk,
            replies.c.parent_seq == messages.c.seq,
            # In an imported conversation it may be a tool that answers.
            replies.c.role != Role.USER.value,
            # The sum keeps SQLite from looking through the whole session for it.
            replies.c.seq + 0 <= sa.bindparam("until", type_=sa.BigInteger),
        )
        .correlate(messages)
    )
    counts = sa.case((messages.c.role != Role.USER.value, 1), (answered, 1), else_=0)
    columns = (
        messages.c.seq,
        messages.c.id,
        messages.c.parent_seq,
        messages.c.depth,
        messages.c.role,
        sa.case((counts == 1, messages.c.content)).label("content"),
    )
    in_session = messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger)
    walk = (
        sa.select(
            *columns,
            counts.label("read"),
            counts.label("taken"),
            sa.literal_column("1").label("step"),
        )
        .where(in_session, messages.c.seq == sa.bindparam("head", type_=sa.BigInteger))
        .cte("walk", recursive=True)
    )
    walk = walk.union_all(
        sa.select(*columns, counts, walk.c.taken + counts, walk.c.step + 1).where(
            in_session,
            messages.c.seq == walk.c.parent_seq,
            walk.c.taken < sa.bindparam("limit", type_=sa.Integer),
            walk.c.step - walk.c.taken < MAX_UNANSWERED,
        )
    )
    return sa.select(
        walk.c.id, walk.c.parent_seq, walk.c.depth, walk.c.role, walk.c.content, walk.c.read
    ).order_by(walk.c.step)


_WINDOW = PreparedStatement(_window_statement())


_HEAD = PreparedStatement(
    sa.select(sessions.c.pk, sessions.c.head_seq).where(
        sessions.c.tenant_id == sa.bindparam("tenant"),
        sessions.c.session_id == sa.bindparam("name"),
    )
)
_PARENT = PreparedStatement(
    sa.select(messages.c.parent_seq).where(
        messages.c.session_pk == sa.bindparam("session"), messages.c.id == sa.bindparam("message")
    )
)


def path(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    limit: int | None,
    before: str | None = None,
    head: str | None = None,
) -> Path:
    """A branch, or its newest `limit` messages, or those before the message `before`.

    It is the active one, or with `head` the one through that message to the newest below it.
    Raises `SessionNotFound`, or `MessageNotFound` when `before` or `head` is not in the session.
    """
    session = _HEAD.one(conn, {"tenant": tenant, "name": session_id})
    if session is None:
        raise SessionNotFound
    start = session.head_seq
    if before is not None:
        # What is before a message does not depend on the branch that is read through it.
        start = _parent_seq(conn, session.pk, before)
        if head is not None:
            _parent_seq(conn, session.pk, head)
    elif head is not None:
        start = branches.last_of_branch(conn, session_pk=session.pk, message_id=head).seq
    if start is None:
        return Path(session.pk, ())
    rows = _PATH.all(conn, {"session": session.pk, "head": start, "limit": limit or -1})
    return Path(session.pk, tuple(row.seq for row in rows))


def _parent_seq(conn: sa.Connection, session_pk: int, message_id: str) -> int | None:
    row = _PARENT.one(conn, {"session": session_pk, "message": message_id})
    if row is None:
        raise MessageNotFound("There is no such message in this session.")
    parent_seq: int | None = row.parent_seq
    return parent_seq


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


_PATH = PreparedStatement(_path_statement())


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


_SEQS = sa.select(messages.c.seq).where(
    messages.c.session_pk == sa.bindparam("session"),
    messages.c.id.in_(sa.bindparam("ids", expanding=True)),
)


def named(conn: sa.Connection, *, session_pk: int, ids: Sequence[str]) -> list[Message]:
    """Those of a session's messages that have these ids, oldest first."""
    seqs = conn.scalars(_SEQS, {"session": session_pk, "ids": ids}).all()
    return of_path(conn, session_pk=session_pk, seqs=sorted(seqs))


def newest_ids(
    conn: sa.Connection, *, session_pk: int, head_seq: int, limit: int
) -> tuple[str, ...]:
    """The ids of the newest `limit` messages of the path to `head_seq`, newest first."""
    rows = _PATH.all(conn, {"session": session_pk, "head": head_seq, "limit": limit})
    found = of_path(conn, session_pk=session_pk, seqs=[row.seq for row in rows])
    return tuple(message.id for message in found)


_OF_TENANT = (
    sa.select(messages.c.session_pk, messages.c.seq, messages.c.parent_seq)
    .join(sessions, sessions.c.pk == messages.c.session_pk)
    .where(sessions.c.tenant_id == sa.bindparam("tenant"), messages.c.id == sa.bindparam("message"))
)
_CHILDREN = sa.select(messages.c.seq).where(
    messages.c.session_pk == sa.bindparam("session"),
    messages.c.parent_seq.is_not_distinct_from(sa.bindparam("parent", type_=sa.BigInteger)),
)


def siblings(conn: sa.Connection, *, tenant: str, message_id: str) -> list[Message]:
    """All messages with the same parent as this one, oldest first, this one included.

    Raises `MessageNotFound`.
    """
    found = conn.execute(_OF_TENANT, {"tenant": tenant, "message": message_id}).one_or_none()
    if found is None:
        raise MessageNotFound
    place = {"session": found.session_pk, "parent": found.parent_seq}
    seqs = conn.scalars(_CHILDREN, place).all()
    return of_path(conn, session_pk=found.session_pk, seqs=sorted(seqs))


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
