"""Sessions and messages that no turn makes: create one, add messages, remove the last of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import file_ids, load
from chatkeep.domain.errors import (
    MessageNotFound,
    MessageNotLast,
    SessionBusy,
    SessionNotFound,
    TurnNotFound,
    TurnRef,
)
from chatkeep.domain.model import (
    FileContent,
    Message,
    MessageContent,
    Role,
    Session,
    SessionRecord,
    Status,
)
from chatkeep.store import files, messages, open_calls, rows, session_changes, sessions
from chatkeep.store.branches import TreePosition
from chatkeep.store.page import Page
from chatkeep.store.prepared import PreparedSelect, TypedSelect
from chatkeep.store.search import index
from chatkeep.store.session_changes import Untitled
from chatkeep.store.tables import SessionRow, SessionValues, system_prompts, turns
from chatkeep.store.tables import files as files_table
from chatkeep.store.tables import messages as messages_table
from chatkeep.store.tables import sessions as sessions_table

POINTER = "#/items/{}"
"""Where one of the messages is in a request (RFC 6901)."""


class CreatedSession(NamedTuple):
    """A session that was to be created.

    `is_new` is false if it was there, and is unchanged. `untitled` is what its title is to be made
    from now, if there is anything.
    """

    session: SessionRecord
    is_new: bool
    pk: int
    untitled: Untitled | None


class AppendedMessages(NamedTuple):
    """Messages that were added, with their session as it is listed now; see `CreatedSession`."""

    messages: list[Message]
    session: Session
    pk: int
    untitled: Untitled | None


class LastMessage(NamedTuple):
    """A message, and what has to go with it."""

    seq: int
    id: str
    parent_seq: int | None
    depth: int
    role: str
    content: str
    blocks: str | None
    turn_id: str | None
    search_key: int | None


class LastInput(NamedTuple):
    """A turn, and the last of the messages that it has taken in."""

    id: str
    user_message_id: str


def create(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    metadata: dict[str, object],
    contents: Sequence[MessageContent],
    contained: Iterable[FileContent],
    owner: str,
    make_title: Callable[[str, int], str],
    at: int,
) -> CreatedSession:
    """Create a session without a turn, unless it is there: then it is returned unchanged.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: Its id.
        metadata: The client's own.
        contents: Its messages, with their ids.
        contained: The files that these refer to.
        owner: The process that makes the title.
        make_title: Makes the provisional title from a message, which may be empty, and the time.
        at: The time, in microseconds since 1970; a session of this very time is the one that this
            call has created.

    Raises:
        InvalidRequest: A result is of no call among the messages before it.
        TenantNotFound: There is no such tenant.

    """
    text = _first_text(contents)
    row = sessions.find(conn, tenant=tenant, session_id=session_id)
    if row is None:
        row, is_new = sessions.create(
            conn,
            tenant=tenant,
            session_id=session_id,
            title=make_title(text, at),
            # Until its user has written something, there is nothing that a title is made from.
            owner=owner if text else None,
            at=at,
            metadata=orjson.dumps(metadata).decode(),
        )
        if is_new:
            open_calls.check_results(
                conn, session_pk=row.pk, head_seq=None, messages=contents, pointer=POINTER
            )
            files.insert(conn, session_pk=row.pk, contents=contained)
            _insert(conn, row, contents, at)
    # Also if an earlier run of this transaction has made it: see `Store.write_once`.
    is_new = row.created_at == at
    return CreatedSession(
        session=sessions.record(conn, tenant=tenant, session_id=session_id),
        is_new=is_new,
        pk=row.pk,
        untitled=Untitled(tenant, row.pk, text) if is_new and text else None,
    )


def is_created(conn: sa.Connection, created: CreatedSession) -> bool:
    """True if the `create` that returned this took effect: see `Store.write_once`."""
    # The transaction may still be at its commit.
    return created.is_new and rows.find_session(conn, created.pk) is not None


def append(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    contents: Sequence[MessageContent],
    contained: Iterable[FileContent],
    owner: str,
    make_title: Callable[[str, int], str],
    at: int,
) -> AppendedMessages:
    """Add messages after the last one of the active branch, all or none.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session.
        contents: The messages, with their ids.
        contained: The files that these refer to.
        owner: The process that makes the title, if there is none yet.
        make_title: Makes the provisional title from a message and the time.
        at: The time, in microseconds since 1970.

    Raises:
        SessionNotFound: The tenant has no such session.
        SessionBusy: A turn runs or waits.
        InvalidRequest: A result is of no call that the branch ends with, or that came before it.

    """
    session = _idle_session(conn, tenant, session_id)
    open_calls.check_results(
        conn,
        session_pk=session.pk,
        head_seq=session.head_seq,
        messages=contents,
        pointer=POINTER,
    )
    session = sessions.bring_back(conn, session) or session
    files.insert(conn, session_pk=session.pk, contents=contained)
    title = session_changes.start_title(
        conn, session, text=_first_text(contents), owner=owner, make_title=make_title, at=at
    )
    seqs = _insert(conn, session, contents, at)
    first = title.first_message
    return AppendedMessages(
        messages=messages.of_path(conn, session_pk=session.pk, seqs=seqs),
        session=sessions.listed(conn, tenant=tenant, pk=session.pk),
        pk=session.pk,
        untitled=None if first is None else Untitled(tenant, session.pk, first),
    )


def is_appended(conn: sa.Connection, appended: AppendedMessages) -> bool:
    """True if the `append` that returned this took effect: see `Store.write_once`."""
    # The transaction may still be at its commit.
    rows.find_session(conn, appended.pk)
    return all(
        rows.message_by_id(conn, session_pk=appended.pk, message_id=message.id) is not None
        for message in appended.messages
    )


def remove_last(
    conn: sa.Connection, *, tenant: str, session_id: str, message_id: str, at: int
) -> SessionRecord:
    """Delete the last message of the active branch, and what nothing refers to without it.

    A message that other branches follow stays on those: only the head moves. A turn whose reply is
    deleted stays without one; it goes with the last of the messages that it has taken in. Files go
    with the last message of the session that shows them.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session.
        message_id: The message.
        at: The time, in microseconds since 1970.

    Returns:
        The session as it is now.

    Raises:
        SessionNotFound: The tenant has no such session.
        MessageNotFound: The session has no such message.
        MessageNotLast: It is not the last one of the active branch.
        SessionBusy: A turn runs or waits.

    """
    session = _idle_session(conn, tenant, session_id)
    message = _MESSAGE.first(conn, {"session": session.pk, "message": message_id})
    if message is None:
        raise MessageNotFound("There is no such message in this session.")
    if message.seq != session.head_seq:
        raise MessageNotLast
    rows.update_session(
        conn,
        session.pk,
        {
            "head_seq": message.parent_seq,
            "message_count": message.depth - 1,
            "updated_at": max(at, session.updated_at),
        },
    )
    if conn.scalar(_CHILD, {"session": session.pk, "parent": message.seq}) is None:
        _delete(conn, session, message)
    return sessions.record(conn, tenant=tenant, session_id=session_id)


def is_removed(conn: sa.Connection, record: SessionRecord, *, tenant: str, message_id: str) -> bool:
    """True if the `remove_last` that returned this took effect: see `Store.write_once`."""
    session = sessions.find(conn, tenant=tenant, session_id=record.session_id)
    if session is None:
        return True
    if rows.message_by_id(conn, session_pk=session.pk, message_id=message_id) is None:
        return True
    # It has others below it, so that only the head has moved.
    head = session.head_seq and rows.known_message(
        conn, session_pk=session.pk, seq=session.head_seq
    )
    return (head.id if head else None) == record.head


class RemovedTurn(NamedTuple):
    """The session of a turn that was removed, and whether it has no message any more."""

    session: SessionRecord
    is_last: bool


def remove_turn(conn: sa.Connection, *, tenant: str, turn_id: str, at: int) -> RemovedTurn:
    """Delete a turn with what it has taken in and written, if nothing follows that.

    Args:
        conn: The connection.
        tenant: Whose turn.
        turn_id: The turn.
        at: The time, in microseconds since 1970.

    Returns:
        Its session as it is now.

    Raises:
        TurnNotFound: The tenant has no such turn.
        MessageNotLast: A message follows one of the turn's.
        SessionBusy: A turn of the session runs or waits.

    """
    # First its session, which this locks.
    locked = rows.session_of_turn(conn, turn_id)
    row = rows.turn_of_tenant(conn, tenant=tenant, turn_id=turn_id)
    if locked is None or row is None:
        raise TurnNotFound
    session = _idle_session(conn, tenant, row.session_id)
    own = _OF_TURN.all(conn, {"turn": turn_id})
    seqs = {message.seq for message in own}
    children = conn.scalars(_CHILDREN, {"session": session.pk, "parents": sorted(seqs)}).all()
    if not seqs.issuperset(children):
        raise MessageNotLast
    if session.head_seq in seqs:
        first = own[-1]
        rows.update_session(
            conn,
            session.pk,
            {
                "head_seq": first.parent_seq,
                "message_count": first.depth - 1,
                "updated_at": max(at, session.updated_at),
            },
        )
    for message in own:
        _delete(conn, session, message)
    conn.execute(_DELETE_TURNS, {"ids": [turn_id]})
    conn.execute(_DELETE_UNUSED_TEXTS, {"session": session.pk})
    newest = _NEWEST.first(conn, {"session": session.pk})
    if newest is not None and rows.session(conn, session.pk).head_seq is None:
        # Another beginning of the conversation, which was not the active one.
        head: SessionValues = {"head_seq": newest.seq, "message_count": newest.depth}
        rows.update_session(conn, session.pk, head)
    record = sessions.record(conn, tenant=tenant, session_id=row.session_id)
    return RemovedTurn(record, is_last=newest is None)


def is_turn_removed(conn: sa.Connection, _removed: RemovedTurn, *, turn_id: str) -> bool:
    """True if the `remove_turn` that returned this took effect: see `Store.write_once`."""
    rows.session_of_turn(conn, turn_id)
    return rows.BY_ID.first(conn, {"turn": turn_id}) is None


def branch(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    limit: int,
    after: str | None = None,
    oldest_first: bool = False,
) -> Page[Message, str]:
    """Read a page of the active branch; its cursor is the id of the last message on it.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session.
        limit: Messages on the page at most.
        after: The id of the last message of the page before; `None` for the first page.
        oldest_first: Whether the oldest come first.

    Raises:
        SessionNotFound: The tenant has no such session.
        MessageNotFound: `after` is not in the session, or not on its active branch.

    """
    path = messages.path(
        conn,
        tenant=tenant,
        session_id=session_id,
        limit=None if oldest_first else limit + 1,
        before=None if oldest_first else after,
    )
    seqs = path.seqs
    if oldest_first:
        start = 0
        seqs = seqs[::-1]
        if after is not None:
            start = _position(conn, path.session_pk, seqs, after) + 1
        seqs = seqs[start : start + limit + 1]
    listed = messages.of_path(conn, session_pk=path.session_pk, seqs=seqs[:limit])
    return Page(listed, listed[-1].id if len(seqs) > limit else None)


def last_inputs(conn: sa.Connection, *, tenant: str, turn_ids: Sequence[str]) -> dict[str, str]:
    """The last message that each of these turns has taken in, by the id of the turn.

    What a turn has in its session after that message, it has written.
    """
    params = {"tenant": tenant, "ids": list(turn_ids)}
    return {row.id: row.user_message_id for row in _LAST_INPUTS.all(conn, params)}


def _idle_session(conn: sa.Connection, tenant: str, session_id: str) -> SessionRow:
    """A session in which no turn runs or waits, locked."""
    session = sessions.find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        raise SessionNotFound
    queue = rows.queue_state(conn, session.pk)
    if queue.running is not None:
        raise SessionBusy(turn=TurnRef(queue.running, session.session_id), forbids_retry=True)
    if queue.waiting:
        raise SessionBusy(forbids_retry=True)
    return session


def _first_text(contents: Iterable[MessageContent]) -> str:
    texts = (content.text for content in contents if content.role is Role.USER and content.text)
    return next(texts, "")


def _insert(
    conn: sa.Connection, session: SessionRow, contents: Sequence[MessageContent], at: int
) -> list[int]:
    """Add messages after a session's head, and return their numbers."""
    at = max(at, session.updated_at)
    parent_seq, depth = session.head_seq, session.message_count
    seqs = list(range(session.last_seq + 1, session.last_seq + 1 + len(contents)))
    for seq, content in zip(seqs, contents, strict=True):
        depth += 1
        messages.insert(
            conn,
            tenant=session.tenant_id,
            session_pk=session.pk,
            seq=seq,
            parent_seq=parent_seq,
            depth=depth,
            message_id=content.id or "",
            role=content.role,
            content=content.text,
            status=Status.COMPLETED,
            turn_id=None,
            at=at,
            key=index.new_message_key(conn, at),
            blocks=content.blocks,
        )
        parent_seq = seq
    if seqs:
        rows.update_session(
            conn,
            session.pk,
            {
                "head_seq": seqs[-1],
                "last_seq": seqs[-1],
                "message_count": depth,
                "updated_at": at,
            },
        )
    return seqs


def _position(conn: sa.Connection, session_pk: int, seqs: Sequence[int], message_id: str) -> int:
    message = rows.message_by_id(conn, session_pk=session_pk, message_id=message_id)
    if message is None or message.seq not in seqs:
        raise MessageNotFound("There is no such message in this conversation.")
    return seqs.index(message.seq)


def _delete(conn: sa.Connection, session: SessionRow, message: LastMessage) -> None:
    """Delete a message that none follows."""
    if message.search_key is not None:
        owner = (session.tenant_id, session.pk, message.role)
        index.remove(conn, [index.Entry(message.search_key, message.content, *owner)])
    conn.execute(_DELETE_MESSAGE, {"session": session.pk, "at_seq": message.seq})
    # Its turn, and those that have answered it again: none of their replies is left.
    params: dict[str, object] = {"session": session.pk, "at_seq": message.seq}
    answering = conn.scalars(_ANSWERING, {**params, "message": message.id}).all()
    if answering:
        # The messages that they have taken in before it stay.
        conn.execute(_RELEASE_MESSAGES, {"ids": answering})
        conn.execute(_DELETE_TURNS, {"ids": answering})
        conn.execute(_DELETE_UNUSED_TEXTS, {"session": session.pk})
    for file_id in file_ids(load(message.blocks)):
        params = {"session": session.pk, "file": file_id}
        if conn.scalar(_SHOWING, params) is None:
            params["digest"] = bytes.fromhex(file_id)
            conn.execute(_DELETE_FILE, params)


_IN_SESSION = messages_table.c.session_pk == sa.bindparam("session")
_LAST_COLUMNS = (
    *(messages_table.c.seq, messages_table.c.id, messages_table.c.parent_seq),
    *(messages_table.c.depth, messages_table.c.role, messages_table.c.content),
    *(messages_table.c.blocks, messages_table.c.turn_id, messages_table.c.search_key),
)
_MESSAGE = PreparedSelect(
    sa.select(*_LAST_COLUMNS).where(_IN_SESSION, messages_table.c.id == sa.bindparam("message")),
    LastMessage,
)
_OF_TURN = PreparedSelect(
    sa.select(*_LAST_COLUMNS)
    .where(messages_table.c.turn_id == sa.bindparam("turn"))
    # The sum keeps SQLite from walking all messages in this order.
    .order_by((messages_table.c.seq + 0).desc()),
    LastMessage,
)
"""The messages of a turn, newest first."""

_CHILDREN = sa.select(messages_table.c.seq).where(
    _IN_SESSION, messages_table.c.parent_seq.in_(sa.bindparam("parents", expanding=True))
)
_CHILD = (
    sa.select(messages_table.c.seq)
    .where(_IN_SESSION, messages_table.c.parent_seq == sa.bindparam("parent"))
    .limit(1)
)
_DELETE_MESSAGE = messages_table.delete().where(
    _IN_SESSION, messages_table.c.seq == sa.bindparam("at_seq")
)
_ANSWERING = sa.select(turns.c.id).where(
    turns.c.session_pk == sa.bindparam("session"),
    # One that was to answer it again, and was cancelled before it began, knows only its id.
    (turns.c.user_seq == sa.bindparam("at_seq"))
    | (turns.c.regenerates.is_not(None) & (turns.c.user_message_id == sa.bindparam("message"))),
)
_USING = turns.alias("using_texts")
_DELETE_UNUSED_TEXTS = system_prompts.delete().where(
    system_prompts.c.session_pk == sa.bindparam("session"),
    ~sa.exists().where(
        _USING.c.session_pk == system_prompts.c.session_pk,
        (_USING.c.system_prompt_digest == system_prompts.c.digest)
        | (_USING.c.tools_digest == system_prompts.c.digest),
    ),
)
_NEWEST = PreparedSelect(
    sa.select(messages_table.c.seq, messages_table.c.depth)
    .where(_IN_SESSION)
    .order_by(messages_table.c.seq.desc())
    .limit(1),
    TreePosition,
)
_IDS: sa.BindParameter[list[str]] = sa.bindparam("ids", expanding=True)
_RELEASE_MESSAGES = (
    messages_table.update().where(messages_table.c.turn_id.in_(_IDS)).values(turn_id=None)
)
_DELETE_TURNS = turns.delete().where(turns.c.id.in_(_IDS))
_SHOWING = (
    sa.select(messages_table.c.seq)
    .where(_IN_SESSION, messages_table.c.blocks.contains(sa.bindparam("file")))
    .limit(1)
)
_DELETE_FILE = files_table.delete().where(
    files_table.c.session_pk == sa.bindparam("session"),
    files_table.c.digest == sa.bindparam("digest"),
)
_LAST_INPUTS = TypedSelect(
    sa.select(turns.c.id, turns.c.user_message_id)
    .join(sessions_table, sessions_table.c.pk == turns.c.session_pk)
    .where(sessions_table.c.tenant_id == sa.bindparam("tenant"), turns.c.id.in_(_IDS)),
    LastInput,
)
