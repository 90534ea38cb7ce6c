"""Changes of a session: its title, what people set of it, its branch.

What a title may be is not known here.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import SessionBusy, SessionChanged, SessionNotFound, TurnRef
from chatkeep.domain.model import SessionRecord, TitleSource
from chatkeep.store import branches, rows
from chatkeep.store import messages as stored_messages
from chatkeep.store import sessions as stored
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.search import index
from chatkeep.store.tables import HIDDEN, SessionRow, SessionValues, leases, sessions


class SessionChanges(TypedDict, total=False):
    """What is to be set of a session: those that are left out stay as they are.

    `head` is a message whose branch becomes the active one, to the newest message below it.
    """

    title: str
    pinned: bool
    archived: bool
    model: str | None
    system_prompt: str | None
    context_messages: int | None
    temperature: float | None
    max_tokens: int | None
    # It is JSON, of any depth.
    metadata: dict[str, Any]
    head: str


@dataclass(frozen=True, slots=True)
class Untitled:
    """A session that has no title of a model yet, with the first message of its user."""

    tenant: str
    pk: int
    first_message: str


class PendingTitle(NamedTuple):
    """A session that has no title of a model yet."""

    tenant_id: str
    pk: int
    head_seq: int | None


class TitleStart(NamedTuple):
    """What new messages mean for a session's title.

    `first_message` is what this process makes it from now, if it is this process's to make;
    `is_renamed` is true if the provisional title is another one now.
    """

    first_message: str | None
    is_renamed: bool


def change(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    values: SessionChanges,
    expected: Collection[str] | None,
    seen: Callable[[SessionRecord], SessionRecord],
    at: int,
) -> SessionRecord:
    """Change a session, all or nothing.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session.
        values: What is to be set.
        expected: Revisions of which the session must have one; `None` if it may have changed.
        seen: Makes of a session what the caller sees of it, whose revisions these are.
        at: The time of a change of `head`, in microseconds since 1970.

    Raises:
        SessionNotFound: The tenant has no such session.
        SessionChanged: The session has none of the revisions.
        MessageNotFound: `head` is not in the session.
        SessionBusy: A turn runs, whose reply will be the head.

    """
    session = stored.find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        raise SessionNotFound
    if expected is not None and seen(stored.of_row(conn, session)).revision not in expected:
        raise SessionChanged
    if "head" in values:
        _choose_branch(conn, session, values["head"], at)
    if "title" in values:
        _retitle(conn, session, values["title"], TitleSource.USER)
    columns = _columns(values)
    if columns:
        rows.update_session(conn, session.pk, columns)
    return stored.record(conn, tenant=tenant, session_id=session_id)


def settle_title(conn: sa.Connection, *, tenant: str, pk: int, title: str | None) -> str | None:
    """Store a model's title. One that a person set is never overwritten.

    Args:
        conn: The connection.
        tenant: Whose session.
        pk: The session.
        title: The title; `None` keeps the provisional one for good.

    Returns:
        The session's id if its title changed, else `None`.

    """
    session = _BY_KEY.first(conn, {"tenant": tenant, "key": pk})
    if session is None or session.title_source != TitleSource.PROVISIONAL.value:
        return None
    if title is None:
        rows.update_session(conn, pk, {"title_pending": False})
        return None
    _retitle(conn, session, title, TitleSource.MODEL)
    return session.session_id


def is_settled(
    conn: sa.Connection, _session_id: str | None, *, tenant: str, pk: int, title: str | None
) -> bool:
    """True if the `settle_title` with this title took effect: see `Store.write_once`."""
    session = _BY_KEY.first(conn, {"tenant": tenant, "key": pk})
    if title is None or session is None:
        return False
    return (session.title, session.title_source) == (title, TitleSource.MODEL.value)


def claim_title(conn: sa.Connection, *, tenant: str, pk: int, owner: str) -> bool:
    """Make a title a process's to make; false if another one makes it, or nobody needs to."""
    session = _BY_KEY.first(conn, {"tenant": tenant, "key": pk})
    if session is None or not session.title_pending:
        return False
    return stored.claim_title(conn, session, owner)


def start_title(
    conn: sa.Connection,
    session: SessionRow,
    *,
    text: str,
    owner: str,
    make_title: Callable[[str, int], str] | None,
    at: int,
) -> TitleStart:
    """Find what a model makes a session's title from, if it has none, and nobody makes it.

    Args:
        conn: The connection.
        session: The session, locked, as it is before the new messages.
        text: The first text of the user among the new messages; empty if there is none.
        owner: Who makes the title.
        make_title: Makes the provisional title from a message and a time; `None` if it is made of
            these messages already.
        at: The time, in microseconds since 1970.

    """
    if not session.title_pending:
        return TitleStart(None, is_renamed=False)
    first = stored_messages.first_user_message(
        conn, session_pk=session.pk, head_seq=session.head_seq
    )
    is_renamed = first is None and text != "" and make_title is not None
    if make_title is not None and is_renamed:
        title = make_title(text, at)
        _retitle(conn, session, title, TitleSource.PROVISIONAL, is_pending=True)
    first = first or text
    if not first or not stored.claim_title(conn, session, owner):
        return TitleStart(None, is_renamed)
    return TitleStart(first, is_renamed)


def release_title(conn: sa.Connection, *, tenant: str, pk: int, owner: str) -> None:
    """Let others make a session's title that a process could not make."""
    session = _BY_KEY.first(conn, {"tenant": tenant, "key": pk})
    if session is not None and session.title_owner == owner:
        rows.update_session(conn, pk, {"title_owner": None})


def untitled(conn: sa.Connection, *, limit: int) -> list[Untitled]:
    """Sessions whose title nobody has made or makes: every tenant's, its oldest first.

    Of those in whose conversation the user has written nothing yet there is nothing to list.
    """
    listed: list[Untitled] = []
    for row in _UNTITLED.all(conn, {"limit": limit}):
        first = stored_messages.first_user_message(conn, session_pk=row.pk, head_seq=row.head_seq)
        if first is not None:
            listed.append(Untitled(row.tenant_id, row.pk, first))
    return listed


def _columns(values: SessionChanges) -> SessionValues:
    """The columns of what is set to the value as it is, and of the metadata."""
    columns: SessionValues = {}
    if "pinned" in values:
        columns["pinned"] = values["pinned"]
    if "archived" in values:
        columns["archived"] = values["archived"]
    if "model" in values:
        columns["model"] = values["model"]
    if "system_prompt" in values:
        columns["system_prompt"] = values["system_prompt"]
    if "context_messages" in values:
        columns["context_messages"] = values["context_messages"]
    if "temperature" in values:
        columns["temperature"] = values["temperature"]
    if "max_tokens" in values:
        columns["max_tokens"] = values["max_tokens"]
    if "metadata" in values:
        columns["metadata"] = orjson.dumps(values["metadata"]).decode()
    return columns


def _retitle(
    conn: sa.Connection,
    session: SessionRow,
    title: str,
    source: TitleSource,
    *,
    is_pending: bool = False,
) -> None:
    """Give a session another title, in the search index too."""
    if session.search_key is not None:
        key, owner = session.search_key, (session.tenant_id, session.pk, index.TITLE)
        index.remove(conn, [index.Entry(key, session.title, *owner)])
        index.add(conn, [index.Entry(key, title, *owner)])
    rows.update_session(
        conn,
        session.pk,
        {"title": title, "title_source": source.value, "title_pending": is_pending},
    )


def _choose_branch(conn: sa.Connection, session: SessionRow, message_id: str, at: int) -> None:
    last = branches.last_of_branch(conn, session_pk=session.pk, message_id=message_id)
    running = rows.queue_state(conn, session.pk).running
    if running is not None:
        raise SessionBusy(turn=TurnRef(running, session.session_id), forbids_retry=True)
    rows.update_session(
        conn,
        session.pk,
        {
            "head_seq": last.seq,
            "message_count": last.depth,
            "updated_at": max(at, session.updated_at),
        },
    )


_BY_KEY = TypedSelect(
    sa.select(sessions)
    .where(sessions.c.pk == sa.bindparam("key"), sessions.c.tenant_id == sa.bindparam("tenant"))
    .with_for_update(key_share=True),
    SessionRow,
)
_UNTITLED = TypedSelect(
    sa.select(sessions.c.tenant_id, sessions.c.pk, sessions.c.head_seq)
    .where(
        sessions.c.tenant_id != HIDDEN,
        sessions.c.title_pending,
        ~sa.exists().where(leases.c.owner == sessions.c.title_owner),
        sessions.c.head_seq.is_not(None),
    )
    .order_by(sessions.c.tenant_id, sessions.c.pk)
    .limit(sa.bindparam("limit", type_=sa.Integer)),
    PendingTitle,
)
