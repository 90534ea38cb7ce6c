"""Changes of a session: its title, what people set of it, its branch.

What a title may be is not known here.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain.errors import SessionBusy, SessionChanged, SessionNotFound, TurnRef
from chatkeep.domain.model import SessionRecord, TitleSource
from chatkeep.store import branches, rows
from chatkeep.store import sessions as stored
from chatkeep.store.search import hits as search
from chatkeep.store.tables import HIDDEN, messages, sessions

PLAIN = (
    *("pinned", "archived"),
    *("model", "system_prompt", "context_messages", "temperature", "max_tokens"),
)
"""What is set to the value that is given, as it is."""


@dataclass(frozen=True, slots=True)
class Untitled:
    """A session whose title the model still owes, with its first message."""

    tenant: str
    pk: int
    first_message: str


def change(
    conn: sa.Connection,
    *,
    tenant: str,
    session_id: str,
    values: dict[str, Any],
    expected: Collection[str] | None,
    at: int,
) -> SessionRecord:
    """Set what is given of a session, all or nothing, and return it.

    `values` may have `title`, what is in `PLAIN`, `metadata`, and `head`: a message whose branch
    becomes the active one, to the newest message below it. `expected` are the tags of which the
    session must have one; `None` does not ask. Raises `SessionNotFound`, `SessionChanged`,
    `MessageNotFound`, and for `head` `SessionBusy` while a turn runs, because its reply will be the
    head.
    """
    session = stored.find(conn, tenant=tenant, session_id=session_id)
    if session is None:
        raise SessionNotFound
    if expected is not None and stored.of_row(conn, session).tag not in expected:
        raise SessionChanged
    if "head" in values:
        _choose_branch(conn, session, values["head"], at)
    if "title" in values:
        _retitle(conn, session, values["title"], TitleSource.USER)
    plain = {name: values[name] for name in PLAIN if name in values}
    if "metadata" in values:
        plain["metadata"] = orjson.dumps(values["metadata"]).decode()
    if plain:
        rows.update_session(conn, session.pk, **plain)
    return stored.record(conn, tenant=tenant, session_id=session_id)


def settle_title(conn: sa.Connection, *, tenant: str, pk: int, title: str | None) -> str | None:
    """Store the model's title, or with `None` let the provisional one stand for good.

    A title that a person set is never overwritten. Returns the session's id if the title changed.
    """
    session = conn.execute(_BY_KEY, {"tenant": tenant, "key": pk}).one_or_none()
    if session is None or session.title_source != TitleSource.PROVISIONAL.value:
        return None
    if title is None:
        rows.update_session(conn, pk, title_pending=False)
        return None
    _retitle(conn, session, title, TitleSource.MODEL)
    session_id: str = session.session_id
    return session_id


def untitled(conn: sa.Connection, *, limit: int) -> list[Untitled]:
    """Sessions whose title call has not succeeded yet: each tenant's, its oldest first."""
    rows = conn.execute(
        sa.select(sessions.c.tenant_id, sessions.c.pk, messages.c.content)
        .join(messages, sa.and_(messages.c.session_pk == sessions.c.pk, messages.c.seq == 1))
        .where(sessions.c.tenant_id != HIDDEN, sessions.c.title_pending)
        .order_by(sessions.c.tenant_id, sessions.c.pk)
        .limit(limit)
    ).all()
    return [Untitled(row.tenant_id, row.pk, row.content) for row in rows]


def _retitle(conn: sa.Connection, session: Any, title: str, source: TitleSource) -> None:
    """Give a session a title that stays, and let it be found by this one instead of the old."""
    whose = (session.tenant_id, session.pk, search.TITLE)
    search.remove(conn, [search.Entry(session.search_key, session.title, *whose)])
    search.add(conn, [search.Entry(session.search_key, title, *whose)])
    rows.update_session(
        conn, session.pk, title=title, title_source=source.value, title_pending=False
    )


def _choose_branch(conn: sa.Connection, session: Any, message_id: str, at: int) -> None:
    last = branches.last_of_branch(conn, session_pk=session.pk, message_id=message_id)
    running = rows.line(conn, session.pk).running
    if running is not None:
        raise SessionBusy(turn=TurnRef(running, session.session_id), forbids_retry=True)
    at = max(at, session.updated_at)
    rows.update_session(
        conn, session.pk, head_seq=last.seq, message_count=last.depth, updated_at=at
    )


_BY_KEY = (
    sa.select(sessions)
    .where(sessions.c.pk == sa.bindparam("key"), sessions.c.tenant_id == sa.bindparam("tenant"))
    .with_for_update()
)
