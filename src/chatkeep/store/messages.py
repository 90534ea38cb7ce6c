"""Statements on messages: the path through the tree, the newest of it, and a page of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from chatkeep.domain.blocks import Blocks, dump, expanded, is_step, load
from chatkeep.domain.errors import MessageNotFound, SessionNotFound
from chatkeep.domain.model import Message, MessageContent, Role, Status
from chatkeep.domain.times import rfc3339
from chatkeep.store import branches
from chatkeep.store.prepared import Answer, PreparedSelect, PreparedStatement, TypedSelect
from chatkeep.store.search import index
from chatkeep.store.search.active_runs import run_start
from chatkeep.store.tables import messages, sessions, turns

MAX_UNANSWERED = 1_000
"""Messages without a reply that the walk for a context leaves out at most."""


@dataclass(frozen=True, slots=True)
class Path:
    """A branch of a session, as the numbers of its messages, newest first."""

    session_pk: int
    seqs: tuple[int, ...]


class ContextMessage(NamedTuple):
    """A message on the way to a turn's own; `is_read` is 1 if the turn's model reads it.

    It is 0 for a user's message that never got a reply; its `content` is `None` then.
    """

    id: str
    parent_seq: int | None
    depth: int
    role: str
    content: str | None
    blocks: str | None
    is_read: int


class PathMessage(NamedTuple):
    """A message with the id of the one before it."""

    seq: int
    id: str
    role: str
    content: str
    created_at: int
    status: str
    turn_id: str | None
    blocks: str | None
    parent_id: str | None


class SessionHead(NamedTuple):
    """A session and the newest message of its active branch."""

    pk: int
    head_seq: int | None


class MessageParent(NamedTuple):
    """A message and the one before it."""

    session_pk: int
    seq: int
    parent_seq: int | None


class _Seq(NamedTuple):
    seq: int


class _Content(NamedTuple):
    content: str


class _ParentSeq(NamedTuple):
    parent_seq: int | None


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
    key: int,
    blocks: Blocks | None = None,
) -> None:
    """Add a message to a session's tree and to the search index.

    Args:
        conn: The connection.
        tenant: Who may find it.
        session_pk: Its session.
        seq: Its number in the session.
        parent_seq: The message before it; `None` if it is the first of its branch.
        depth: How many messages its path has, itself included.
        message_id: Its id.
        role: Whose message it is.
        content: Its text.
        status: The status of its turn.
        turn_id: Its turn; `None` for one that was imported without any.
        at: Its time, in microseconds since 1970.
        key: Its key of the index.
        blocks: What it is beside its text; `None` for a plain text.

    """
    params: dict[str, object] = {
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
    }
    if blocks is not None:
        params |= {"blocks": dump(blocks), "is_step": is_step(blocks)}
    _INSERT.run(conn, params)
    index.add(conn, [index.Entry(key, content, tenant, session_pk, role.value)])


def set_status(conn: sa.Connection, *, session_pk: int, seq: int, status: Status) -> None:
    """Give a message the status of its turn."""
    _SET_STATUS.run(conn, {"session": session_pk, "at_seq": seq, "status": status.value})


def window(
    conn: sa.Connection,
    *,
    session_pk: int,
    head_seq: int | None,
    limit: int,
    until: int,
    is_open: bool = False,
) -> list[ContextMessage]:
    """Walk from a message towards the root, until a model has enough to read.

    Args:
        conn: The connection.
        session_pk: The session.
        head_seq: Where the walk begins; `None` for an empty path.
        limit: Messages that the model reads at most. Steps do not count, so that the walk never
            ends between a call and its result.
        until: The newest message of the session at the time in question: replies that came later
            do not count.
        is_open: Whether what follows are results of tools: then the question and all steps since
            do not count either.

    Returns:
        The messages of the path, newest first, those included that the model does not read.

    """
    answer = ask_window(
        conn, session_pk=session_pk, head_seq=head_seq, limit=limit, until=until, is_open=is_open
    )
    return [] if answer is None else answer.all()


def ask_window(
    conn: sa.Connection,
    *,
    session_pk: int,
    head_seq: int | None,
    limit: int,
    until: int,
    is_open: bool = False,
) -> Answer[ContextMessage] | None:
    """Ask for `window`; `None` if that is empty."""
    if head_seq is None or (limit == 0 and not is_open):
        return None
    params = {"session": session_pk, "head": head_seq, "limit": limit, "until": until}
    return (_OPEN_WINDOW if is_open else _WINDOW).ask(conn, params)


def context(rows: Sequence[ContextMessage]) -> tuple[MessageContent, ...]:
    """What a model reads of a `window`, oldest first."""
    return tuple(
        [
            MessageContent(
                Role(role), content or "", None if blocks is None else load(blocks), message_id
            )
            for message_id, _, _, role, content, blocks, is_read in reversed(rows)
            if is_read
        ]
    )


def _window_statement(*, is_open: bool) -> sa.Select[Any]:
    replies = messages.alias("replies")
    answered = (
        sa.exists()
        .where(
            replies.c.session_pk == messages.c.session_pk,
            replies.c.parent_seq == messages.c.seq,
            # In an imported conversation it may be a tool that answers; and a turn that has taken
            # in several messages answers them all, if it answers.
            sa.or_(
                replies.c.role != Role.USER.value,
                (replies.c.turn_id == messages.c.turn_id) & _is_turn_answered(),
            ),
            # The sum keeps SQLite from looking through the whole session for it.
            replies.c.seq + 0 <= sa.bindparam("until", type_=sa.BigInteger),
        )
        .correlate(messages)
    )
    is_user = messages.c.role == Role.USER.value
    # To what no turn has taken in, there never was to be a reply.
    is_added = messages.c.turn_id.is_(None) & (messages.c.status == Status.COMPLETED.value)
    read = sa.case((~is_user | is_added, 1), (answered, 1), else_=0)
    counts = sa.case((messages.c.is_step, 0), else_=read)
    columns = (
        *(messages.c.seq, messages.c.id, messages.c.parent_seq, messages.c.depth, messages.c.role),
        *(messages.c.content, messages.c.blocks),
    )
    in_session = messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger)
    walk = (
        sa.select(
            *columns,
            read.label("is_read"),
            (sa.literal_column("0") if is_open else counts).label("taken"),
            (1 - read).label("unread"),
            # Whether the question of the exchange that is still open is yet to come.
            (sa.case((is_user, 0), else_=1) if is_open else sa.literal_column("0")).label("open"),
            sa.literal_column("1").label("step"),
        )
        .where(in_session, messages.c.seq == sa.bindparam("head", type_=sa.BigInteger))
        .cte("walk", recursive=True)
    )
    in_limit = walk.c.taken < sa.bindparam("limit", type_=sa.Integer)
    if is_open:
        counts = sa.case((walk.c.open == 1, 0), else_=counts)
        in_limit = in_limit | (walk.c.open == 1)
        still_open = sa.case((is_user, 0), else_=walk.c.open)
    walk = walk.union_all(
        sa.select(
            *columns,
            read,
            walk.c.taken + counts,
            walk.c.unread + 1 - read,
            still_open if is_open else sa.literal_column("0"),
            walk.c.step + 1,
        ).where(
            in_session,
            messages.c.seq == walk.c.parent_seq,
            in_limit,
            walk.c.unread < MAX_UNANSWERED,
        )
    )
    return sa.select(
        *(walk.c.id, walk.c.parent_seq, walk.c.depth, walk.c.role),
        sa.case((walk.c.is_read == 1, walk.c.content)).label("content"),
        *(walk.c.blocks, walk.c.is_read),
    ).order_by(walk.c.step)


def _is_turn_answered() -> sa.Exists:
    """Whether the last of the messages that a message's turn has taken in has a reply."""
    last = messages.alias("last_replies")
    return (
        sa.exists()
        .where(
            turns.c.id == messages.c.turn_id,
            last.c.session_pk == turns.c.session_pk,
            last.c.parent_seq == turns.c.user_seq,
            last.c.role != Role.USER.value,
            last.c.seq + 0 <= sa.bindparam("until", type_=sa.BigInteger),
        )
        .correlate(messages)
    )


_WINDOW = PreparedSelect(_window_statement(is_open=False), ContextMessage)
_OPEN_WINDOW = PreparedSelect(_window_statement(is_open=True), ContextMessage)


_HEAD = PreparedSelect(
    sa.select(sessions.c.pk, sessions.c.head_seq).where(
        sessions.c.tenant_id == sa.bindparam("tenant"),
        sessions.c.session_id == sa.bindparam("name"),
    ),
    SessionHead,
)
_PARENT = PreparedSelect(
    sa.select(messages.c.parent_seq).where(
        messages.c.session_pk == sa.bindparam("session"), messages.c.id == sa.bindparam("message")
    ),
    _ParentSeq,
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
    """Read the path to the newest message of a branch, or a page of it.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session.
        limit: Messages of the path at most, the newest; `None` for all.
        before: Only messages before this one.
        head: A message of the branch, which goes on to the newest below it; the active branch by
            default.

    Raises:
        SessionNotFound: The tenant has no such session.
        MessageNotFound: `before` or `head` is not in the session.

    """
    session = session_head(conn, tenant=tenant, session_id=session_id)
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
    return Path(session.pk, path_seqs(conn, session_pk=session.pk, head=start, limit=limit))


def session_head(conn: sa.Connection, *, tenant: str, session_id: str) -> SessionHead | None:
    """Where a session's active branch ends; `None` without such a session."""
    return _HEAD.first(conn, {"tenant": tenant, "name": session_id})


def path_seqs(
    conn: sa.Connection, *, session_pk: int, head: int, limit: int | None = None
) -> tuple[int, ...]:
    """The numbers of the newest messages of the path to this one, newest first."""
    rows = _PATH.all(conn, {"session": session_pk, "head": head, "limit": limit or -1})
    return tuple(row.seq for row in rows)


def _parent_seq(conn: sa.Connection, session_pk: int, message_id: str) -> int | None:
    row = _PARENT.first(conn, {"session": session_pk, "message": message_id})
    if row is None:
        raise MessageNotFound("There is no such message in this session.")
    return row.parent_seq


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


_PATH = PreparedSelect(_path_statement(), _Seq)


_PARENTS = messages.alias("parent")
_PARENT_TURN = sa.select(_PARENTS.c.turn_id).where(
    messages.c.session_pk == sa.bindparam("session"),
    messages.c.id == sa.bindparam("message"),
    _PARENTS.c.session_pk == messages.c.session_pk,
    _PARENTS.c.seq == messages.c.parent_seq,
)


def parent_turn(conn: sa.Connection, *, session_pk: int, message_id: str) -> str | None:
    """The turn of the message before this one; `None` if there is none."""
    turn_id: str | None = conn.scalar(_PARENT_TURN, {"session": session_pk, "message": message_id})
    return turn_id


_OF_PATH = TypedSelect(
    sa.select(
        messages.c.seq,
        messages.c.id,
        messages.c.role,
        messages.c.content,
        messages.c.created_at,
        messages.c.status,
        messages.c.turn_id,
        messages.c.blocks,
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
    ),
    PathMessage,
)


def of_path(conn: sa.Connection, *, session_pk: int, seqs: Sequence[int]) -> list[Message]:
    """The messages of a session with these numbers, in this order."""
    rows = _OF_PATH.all(conn, {"session": session_pk, "seqs": seqs})
    by_seq = {row.seq: _message(row) for row in rows}
    return [by_seq[seq] for seq in seqs if seq in by_seq]


def first_user_message(conn: sa.Connection, *, session_pk: int, head_seq: int | None) -> str | None:
    """The text of the first message of the user on the path to `head_seq` that has one."""
    if head_seq is None:
        return None
    row = _FIRST_OF_USER.first(conn, {"session": session_pk, "head": head_seq})
    return None if row is None else row.content


def _first_of_user_statement() -> sa.Select[tuple[str]]:
    in_session = messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger)
    head = sa.bindparam("head", type_=sa.BigInteger)
    session = sa.bindparam("session", type_=sa.BigInteger)
    # The path as runs of messages, of which it has a few however long it is.
    walk = sa.select(
        run_start(session, head).label("first"), sa.cast(head, sa.BigInteger).label("last")
    ).cte("walk", recursive=True)
    walk = walk.union_all(
        sa.select(run_start(messages.c.session_pk, messages.c.parent_seq), messages.c.parent_seq)
        .join(walk, messages.c.seq == walk.c.first)
        .where(in_session, messages.c.parent_seq.is_not(None))
    )
    of_user = messages.alias("of_user")
    first_of_run = (
        sa.select(of_user.c.seq)
        .where(
            of_user.c.session_pk == session,
            of_user.c.seq.between(walk.c.first, walk.c.last),
            of_user.c.role == Role.USER.value,
            of_user.c.content != "",
        )
        .order_by(of_user.c.seq)
        .limit(1)
        .correlate(walk)
        .scalar_subquery()
    )
    first = sa.select(sa.func.min(first_of_run)).select_from(walk).scalar_subquery()
    return sa.select(messages.c.content).where(in_session, messages.c.seq == first)


_FIRST_OF_USER = PreparedSelect(_first_of_user_statement(), _Content)


_OF_TURN = sa.union(
    sa.select(messages.c.seq).where(messages.c.turn_id == sa.bindparam("turn")),
    # That which another turn has taken in, if this one answers it again.
    sa.select(messages.c.seq).where(
        messages.c.session_pk == sa.bindparam("session"),
        messages.c.id == sa.bindparam("user_message"),
    ),
)


def of_turn(
    conn: sa.Connection,
    *,
    session_pk: int,
    turn_id: str,
    user_message_id: str,
    first_seq: int | None,
    last_seq: int | None,
) -> list[Message]:
    """What a turn has taken in and what it has written, oldest first.

    Args:
        conn: The connection.
        session_pk: Its session.
        turn_id: The turn.
        user_message_id: The last message that it has taken in.
        first_seq: The number of the first one, if there are more than one.
        last_seq: The number of the last one, if it is in the tree.

    """
    params = {"session": session_pk, "turn": turn_id, "user_message": user_message_id}
    seqs = set(conn.scalars(_OF_TURN, params).all())
    if first_seq is not None and last_seq is not None:
        # Also where another turn has taken them in, and this one answers them again.
        seqs.update(range(first_seq, last_seq + 1))
    return of_path(conn, session_pk=session_pk, seqs=sorted(seqs))


# The sum keeps SQLite from walking all messages backwards in search of the maximum.
_LAST_OF_TURN = sa.select(sa.func.max(messages.c.seq + 0)).where(
    messages.c.turn_id == sa.bindparam("turn")
)


def last_of_turn(conn: sa.Connection, *, turn_id: str) -> int | None:
    """The number of a turn's last message; `None` if it has none."""
    seq: int | None = conn.scalar(_LAST_OF_TURN, {"turn": turn_id})
    return seq


def newest_ids(
    conn: sa.Connection, *, session_pk: int, head_seq: int, limit: int
) -> tuple[str, ...]:
    """The ids of the newest `limit` messages of the path to `head_seq`, newest first."""
    rows = _PATH.all(conn, {"session": session_pk, "head": head_seq, "limit": limit})
    newest = of_path(conn, session_pk=session_pk, seqs=[row.seq for row in rows])
    return tuple(message.id for message in newest)


_OF_TENANT = TypedSelect(
    sa.select(messages.c.session_pk, messages.c.seq, messages.c.parent_seq)
    .join(sessions, sessions.c.pk == messages.c.session_pk)
    .where(
        sessions.c.tenant_id == sa.bindparam("tenant"), messages.c.id == sa.bindparam("message")
    ),
    MessageParent,
)
_SESSION_NAME = sa.select(sessions.c.session_id).where(sessions.c.pk == sa.bindparam("key"))


class MessageInSession(NamedTuple):
    """A message and where it is."""

    session_pk: int
    session_id: str
    seq: int
    message: Message


def of_tenant(conn: sa.Connection, *, tenant: str, message_id: str) -> MessageInSession | None:
    """A tenant's message; `None` if there is none."""
    row = _OF_TENANT.first(conn, {"tenant": tenant, "message": message_id})
    if row is None:
        return None
    session_id: str = conn.execute(_SESSION_NAME, {"key": row.session_pk}).scalar_one()
    (message,) = of_path(conn, session_pk=row.session_pk, seqs=[row.seq])
    return MessageInSession(row.session_pk, session_id, row.seq, message)


_CHILDREN = sa.select(messages.c.seq).where(
    messages.c.session_pk == sa.bindparam("session"),
    messages.c.parent_seq.is_not_distinct_from(sa.bindparam("parent", type_=sa.BigInteger)),
)


def siblings(conn: sa.Connection, *, tenant: str, message_id: str) -> list[Message]:
    """All messages with the same parent as this one, oldest first, this one included.

    Raises `MessageNotFound`.
    """
    message = _OF_TENANT.first(conn, {"tenant": tenant, "message": message_id})
    if message is None:
        raise MessageNotFound
    params = {"session": message.session_pk, "parent": message.parent_seq}
    seqs = conn.scalars(_CHILDREN, params).all()
    return of_path(conn, session_pk=message.session_pk, seqs=sorted(seqs))


def _message(row: PathMessage) -> Message:
    return Message(
        id=row.id,
        role=Role(row.role),
        content=row.content,
        created_at=rfc3339(row.created_at),
        status=Status(row.status),
        turn_id=row.turn_id,
        parent_id=row.parent_id,
        blocks=expanded(row.content, load(row.blocks)),
    )
