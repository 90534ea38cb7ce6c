"""Single statements on the rows of turns and of their sessions, compiled once.

Which of them make a step of a turn is not known here.
"""

from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain import Status, Turn, TurnOptions
from chatkeep.store.tables import WAITING, messages, sessions, system_prompts, turns

# Written out, not bound: only so does a planner see that the partial index fits.
_UNFINISHED = turns.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])
_QUEUED = turns.c.status == sa.literal_column("'queued'")
_RUNNING = turns.c.status == sa.literal_column("'running'")
_WAITING = sa.text(f"({WAITING})")

_INSERT = turns.insert()
_UPDATE_TURN = turns.update().where(turns.c.id == sa.bindparam("turn"))
BY_ID = sa.select(turns).where(turns.c.id == sa.bindparam("turn")).with_for_update()
OF_TENANT = (
    sa.select(
        turns,
        sessions.c.session_id,
        sessions.c.title,
        sessions.c.title_source,
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(sessions.c.tenant_id == sa.bindparam("tenant"), turns.c.id == sa.bindparam("turn"))
)
_BY_KEY = (
    sa.select(
        turns.c.id,
        turns.c.request_digest,
        turns.c.created_at,
        (sessions.c.tenant_id == turns.c.tenant_id).label("is_there"),
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(
        turns.c.tenant_id == sa.bindparam("tenant"),
        turns.c.idempotency_key == sa.bindparam("idempotency"),
    )
)
_NEWEST = (
    sa.select(turns.c.id, turns.c.request_digest, turns.c.created_at, turns.c.status)
    .where(turns.c.session_pk == sa.bindparam("session"))
    .order_by(turns.c.seq.desc())
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
NEXT = (
    sa.select(turns)
    .where(turns.c.session_pk == sa.bindparam("session"), _WAITING)
    .order_by(turns.c.seq)
    .limit(1)
)
_RUNNING_OF = sa.select(turns.c.id).where(turns.c.session_pk == sa.bindparam("session"), _RUNNING)
_QUEUED_OF = (
    sa.select(turns.c.id)
    .where(turns.c.session_pk == sa.bindparam("session"), _WAITING, _QUEUED)
    .order_by(turns.c.seq)
)
_COUNT_WAITING = (
    sa.select(sa.func.count())
    .select_from(turns)
    .where(turns.c.session_pk == sa.bindparam("session"), _WAITING)
)
_SESSION = sa.select(sessions).where(sessions.c.pk == sa.bindparam("key")).with_for_update()
_UPDATE_SESSION = sessions.update().where(sessions.c.pk == sa.bindparam("key"))
_MESSAGE = (
    messages.c.seq,
    messages.c.id,
    messages.c.parent_seq,
    messages.c.depth,
    messages.c.content,
)
_IN_SESSION = messages.c.session_pk == sa.bindparam("session")
_MESSAGE_AT = sa.select(*_MESSAGE).where(_IN_SESSION, messages.c.seq == sa.bindparam("at_seq"))
_MESSAGE_NAMED = sa.select(*_MESSAGE).where(_IN_SESSION, messages.c.id == sa.bindparam("message"))
_PROMPT = sa.select(system_prompts.c.content).where(
    system_prompts.c.session_pk == sa.bindparam("session"),
    system_prompts.c.digest == sa.bindparam("digest"),
)
_INSERT_PROMPT = system_prompts.insert()

UNFINISHED = (
    sa.select(turns, sessions.c.session_id)
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(_UNFINISHED)
    .order_by(turns.c.session_pk, turns.c.seq)
)
"""Every turn that has not ended, session by session, in the order of their arrival."""


def insert_turn(conn: sa.Connection, turn: Turn, **values: object) -> None:
    """Add a turn's row: what the turn says, and the columns that it does not speak of."""
    conn.execute(
        _INSERT,
        {
            "id": turn.turn_id,
            "status": turn.status.value,
            "attempt": turn.attempt,
            "model": turn.model,
            "options": orjson.dumps(turn.options).decode(),
            "user_message_id": turn.user_message_id,
            "message_id": turn.message_id,
            **values,
        },
    )


def turn_by_key(conn: sa.Connection, *, tenant: str, key: str) -> Any:
    """The row of the turn that was posted with this idempotency key, or `None`.

    `is_there` is false when its session has been deleted.
    """
    return conn.execute(_BY_KEY, {"tenant": tenant, "idempotency": key}).one_or_none()


def newest_turns(conn: sa.Connection, *, session_pk: int, limit: int) -> Any:
    """The newest turns of a session, newest first."""
    return conn.execute(_NEWEST, {"session": session_pk, "limit": limit}).all()


def turn_of(conn: sa.Connection, *, tenant: str, turn_id: str) -> Any:
    """A tenant's turn with what its session says, or `None`."""
    return conn.execute(OF_TENANT, {"tenant": tenant, "turn": turn_id}).one_or_none()


def running_turn(conn: sa.Connection, session_pk: int) -> str | None:
    """The id of the turn that a session runs."""
    found: str | None = conn.scalar(_RUNNING_OF, {"session": session_pk})
    return found


def queued_turns(conn: sa.Connection, session_pk: int) -> tuple[str, ...]:
    """The ids of the turns of a session that wait to be run, in their order."""
    return tuple(conn.scalars(_QUEUED_OF, {"session": session_pk}))


def waiting_count(conn: sa.Connection, session_pk: int) -> int:
    """How many turns of a session wait, those included that were cancelled while they do."""
    return conn.scalar(_COUNT_WAITING, {"session": session_pk}) or 0


def session(conn: sa.Connection, pk: int) -> Any:
    """A session's row by its key, locked against other writers until the transaction ends."""
    return conn.execute(_SESSION, {"key": pk}).one()


def message_at(conn: sa.Connection, *, session_pk: int, seq: int) -> Any:
    """A session's message by its place, or `None`."""
    return conn.execute(_MESSAGE_AT, {"session": session_pk, "at_seq": seq}).one_or_none()


def message_named(conn: sa.Connection, *, session_pk: int, message_id: str) -> Any:
    """A session's message by its id, or `None`."""
    return conn.execute(
        _MESSAGE_NAMED, {"session": session_pk, "message": message_id}
    ).one_or_none()


def system_prompt(conn: sa.Connection, *, session_pk: int, digest: bytes | None) -> str | None:
    """The system prompt that a turn's model was sent."""
    found: str | None = conn.scalar(_PROMPT, {"session": session_pk, "digest": digest})
    return found


def keep_system_prompt(
    conn: sa.Connection, *, session_pk: int, digest: bytes, content: str
) -> None:
    """Keep a system prompt of a session once, however many turns use it."""
    if system_prompt(conn, session_pk=session_pk, digest=digest) is None:
        conn.execute(
            _INSERT_PROMPT, {"session_pk": session_pk, "digest": digest, "content": content}
        )


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
