"""Single statements on the rows of turns and of their sessions, compiled once.

Which of them make a step of a turn is not known here.
"""

from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain import Status, Turn, TurnOptions
from chatkeep.store.tables import messages, sessions, turns

# Written out, not bound: only so does a planner see that the partial index fits.
_UNFINISHED = turns.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])

_INSERT = turns.insert()
_UPDATE_TURN = turns.update().where(turns.c.id == sa.bindparam("turn"))
BY_ID = sa.select(turns).where(turns.c.id == sa.bindparam("turn")).with_for_update()
NEXT = (
    sa.select(turns)
    .where(
        turns.c.session_pk == sa.bindparam("session"),
        _UNFINISHED,
        turns.c.status == Status.QUEUED.value,
    )
    .order_by(turns.c.seq)
    .limit(1)
)
_COUNT_UNFINISHED = (
    sa.select(sa.func.count())
    .select_from(turns)
    .where(turns.c.session_pk == sa.bindparam("session"), _UNFINISHED)
)
_SESSION = sa.select(sessions).where(sessions.c.pk == sa.bindparam("key")).with_for_update()
_UPDATE_SESSION = sessions.update().where(sessions.c.pk == sa.bindparam("key"))
QUESTION = sa.select(messages.c.parent_seq, messages.c.content).where(
    messages.c.session_pk == sa.bindparam("session"),
    messages.c.seq == sa.bindparam("at_seq"),
)

UNFINISHED = (
    sa.select(turns, sessions.c.session_id)
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(_UNFINISHED)
    .order_by(turns.c.session_pk, turns.c.seq)
)
"""Every turn that has not ended, session by session, in the order of their arrival."""


def insert_turn(
    conn: sa.Connection,
    turn: Turn,
    *,
    tenant: str,
    session: Any,
    waiting_message: str | None,
    at: int,
) -> None:
    """Add a turn to a session's row; one that waits keeps its message, one that runs has none."""
    runs = waiting_message is None
    conn.execute(
        _INSERT,
        {
            "id": turn.turn_id,
            "tenant_id": tenant,
            "session_pk": session.pk,
            "seq": session.turn_count + 1,
            "status": turn.status.value,
            "attempt": turn.attempt,
            "model": turn.model,
            "options": orjson.dumps(turn.options).decode(),
            "input": waiting_message,
            "user_message_id": turn.user_message_id,
            "message_id": turn.message_id,
            "user_seq": session.last_seq + 1 if runs else None,
            "created_at": at,
            "started_at": at if runs else None,
        },
    )


def first_message(conn: sa.Connection, session: Any, message: str) -> str | None:
    """What the session's title is made from, if the model still owes one."""
    if not session.title_pending:
        return None
    first = conn.execute(QUESTION, {"session": session.pk, "at_seq": 1}).one_or_none()
    return message if first is None else str(first.content)


def unfinished_count(conn: sa.Connection, session_pk: int) -> int:
    """How many turns of a session run or wait."""
    return conn.scalar(_COUNT_UNFINISHED, {"session": session_pk}) or 0


def session(conn: sa.Connection, pk: int) -> Any:
    """A session's row by its key, locked against other writers until the transaction ends."""
    return conn.execute(_SESSION, {"key": pk}).one()


def update_session(conn: sa.Connection, pk: int, **values: object) -> None:
    """Set columns of a session."""
    conn.execute(_UPDATE_SESSION, {"key": pk, **values})


def update_turn(conn: sa.Connection, turn_id: str, **values: object) -> None:
    """Set columns of a turn."""
    conn.execute(_UPDATE_TURN, {"turn": turn_id, **values})


def turn(
    row: Any, session_id: str, *, status: Status | None = None, attempt: int | None = None
) -> Turn:
    """Make a turn of its row, with its status and attempt as they are from now on."""
    return Turn(
        turn_id=row.id,
        session_id=session_id,
        status=status or Status(row.status),
        attempt=row.attempt if attempt is None else attempt,
        model=row.model,
        user_message_id=row.user_message_id,
        message_id=row.message_id,
        options=TurnOptions(**orjson.loads(row.options)),
    )
