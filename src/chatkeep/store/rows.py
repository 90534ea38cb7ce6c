"""Single statements on the rows of turns and of their sessions, compiled once.

Which of them make a step of a turn is not known here.
"""

from typing import Any

import orjson
import sqlalchemy as sa

from chatkeep.domain.model import Status, Turn, TurnOptions
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.tables import WAITING, messages, sessions, system_prompts, turns

# Written out, not bound: only so does a planner see that the partial index fits.
_UNFINISHED = turns.c.status.in_([sa.literal_column("'queued'"), sa.literal_column("'running'")])
_QUEUED = turns.c.status == sa.literal_column("'queued'")
_RUNNING = turns.c.status == sa.literal_column("'running'")
_WAITING = sa.text(f"({WAITING})")
_IN_LINE = turns.c.session_pk == sa.bindparam("session")

_INSERT = PreparedStatement(turns.insert())
_UPDATE_TURN = PreparedStatement(turns.update().where(turns.c.id == sa.bindparam("turn")))
BY_ID = PreparedStatement(
    sa.select(turns).where(turns.c.id == sa.bindparam("turn")).with_for_update()
)
OF_TENANT = PreparedStatement(
    sa.select(
        turns,
        sessions.c.session_id,
        sessions.c.title,
        sessions.c.title_source,
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(sessions.c.tenant_id == sa.bindparam("tenant"), turns.c.id == sa.bindparam("turn"))
)
_BY_KEY = PreparedStatement(
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
_NEWEST = PreparedStatement(
    sa.select(turns.c.id, turns.c.request_digest, turns.c.created_at, turns.c.status)
    .where(turns.c.session_pk == sa.bindparam("session"))
    .order_by(turns.c.seq.desc())
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
NEXT = PreparedStatement(
    sa.select(turns)
    .where(turns.c.session_pk == sa.bindparam("session"), _WAITING)
    .order_by(turns.c.seq)
    .limit(1)
)
_QUEUED_OF = PreparedStatement(
    sa.select(turns.c.id)
    .where(turns.c.session_pk == sa.bindparam("session"), _WAITING, _QUEUED)
    .order_by(turns.c.seq)
)
_LINE = PreparedStatement(
    sa.select(
        sa.select(turns.c.id).where(_IN_LINE, _RUNNING).scalar_subquery().label("running"),
        sa.select(sa.func.count())
        .select_from(turns)
        .where(_IN_LINE, _WAITING)
        .scalar_subquery()
        .label("waiting"),
    )
)
_SESSION = PreparedStatement(
    sa.select(sessions).where(sessions.c.pk == sa.bindparam("key")).with_for_update()
)
_UPDATE_SESSION = PreparedStatement(sessions.update().where(sessions.c.pk == sa.bindparam("key")))
_MESSAGE = (
    messages.c.seq,
    messages.c.id,
    messages.c.parent_seq,
    messages.c.depth,
    messages.c.content,
)
RUNNING = PreparedStatement(
    sa.select(
        turns.c.session_pk,
        turns.c.status,
        turns.c.owner,
        turns.c.regenerates,
        turns.c.message_id,
        turns.c.user_seq,
        turns.c.tenant_id.label("turn_tenant"),
        sessions.c.tenant_id,
        sessions.c.title,
        sessions.c.last_seq,
        sessions.c.updated_at,
        messages.c.depth,
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .join(
        messages,
        sa.and_(messages.c.session_pk == turns.c.session_pk, messages.c.seq == turns.c.user_seq),
    )
    .where(turns.c.id == sa.bindparam("turn"))
    .with_for_update(of=[turns, sessions])
)
"""A turn that was begun, with its session and the depth of the message that it answers."""

_IN_SESSION = messages.c.session_pk == sa.bindparam("session")
_MESSAGE_AT = PreparedStatement(
    sa.select(*_MESSAGE).where(_IN_SESSION, messages.c.seq == sa.bindparam("at_seq"))
)
_MESSAGE_NAMED = PreparedStatement(
    sa.select(*_MESSAGE).where(_IN_SESSION, messages.c.id == sa.bindparam("message"))
)
_PROMPT = PreparedStatement(
    sa.select(system_prompts.c.content).where(
        system_prompts.c.session_pk == sa.bindparam("session"),
        system_prompts.c.digest == sa.bindparam("digest"),
    )
)
_INSERT_PROMPT = PreparedStatement(system_prompts.insert())

UNFINISHED = PreparedStatement(
    sa.select(turns, sessions.c.session_id)
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(_UNFINISHED)
    .order_by(turns.c.session_pk, turns.c.seq)
)
"""Every turn that has not ended, session by session, in the order of their arrival."""


def insert_turn(conn: sa.Connection, turn: Turn, **values: object) -> None:
    """Add a turn's row: what the turn says, and the columns that it does not speak of."""
    _INSERT.run(
        conn,
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
    return _BY_KEY.one(conn, {"tenant": tenant, "idempotency": key})


def newest_turns(conn: sa.Connection, *, session_pk: int, limit: int) -> Any:
    """The newest turns of a session, newest first."""
    return _NEWEST.all(conn, {"session": session_pk, "limit": limit})


def turn_of(conn: sa.Connection, *, tenant: str, turn_id: str) -> Any:
    """A tenant's turn with what its session says, or `None`."""
    return OF_TENANT.one(conn, {"tenant": tenant, "turn": turn_id})


def line(conn: sa.Connection, session_pk: int) -> Any:
    """The id of the turn that a session is `running`, and how many are `waiting`.

    Among these are those that were cancelled while they waited.
    """
    return _LINE.one(conn, {"session": session_pk})


def queued_turns(conn: sa.Connection, session_pk: int) -> tuple[str, ...]:
    """The ids of the turns of a session that wait to be run, in their order."""
    return tuple(row.id for row in _QUEUED_OF.all(conn, {"session": session_pk}))


def session(conn: sa.Connection, pk: int) -> Any:
    """A session's row by its key, locked against other writers until the transaction ends."""
    return _SESSION.one(conn, {"key": pk})


def message_at(conn: sa.Connection, *, session_pk: int, seq: int) -> Any:
    """A session's message by its place, or `None`."""
    return _MESSAGE_AT.one(conn, {"session": session_pk, "at_seq": seq})


def message_named(conn: sa.Connection, *, session_pk: int, message_id: str) -> Any:
    """A session's message by its id, or `None`."""
    return _MESSAGE_NAMED.one(conn, {"session": session_pk, "message": message_id})


def system_prompt(conn: sa.Connection, *, session_pk: int, digest: bytes | None) -> str | None:
    """The system prompt that a turn's model was sent."""
    row = _PROMPT.one(conn, {"session": session_pk, "digest": digest})
    return None if row is None else str(row.content)


def keep_system_prompt(
    conn: sa.Connection, *, session_pk: int, digest: bytes, content: str
) -> None:
    """Keep a system prompt of a session once, however many turns use it."""
    if system_prompt(conn, session_pk=session_pk, digest=digest) is None:
        _INSERT_PROMPT.run(conn, {"session_pk": session_pk, "digest": digest, "content": content})


def update_session(conn: sa.Connection, pk: int, **values: object) -> None:
    """Set columns of a session."""
    _UPDATE_SESSION.run(conn, {"key": pk, **values})


def update_turn(conn: sa.Connection, turn_id: str, **values: object) -> None:
    """Set columns of a turn."""
    _UPDATE_TURN.run(conn, {"turn": turn_id, **values})


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
