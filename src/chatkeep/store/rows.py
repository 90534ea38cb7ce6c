"""Prepared statements on the rows of turns and of their sessions.

Which of them make a step of a turn is not known here.
"""

from hashlib import blake2b
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import load
from chatkeep.domain.model import MessageContent, Role, Status, Turn, TurnOptions
from chatkeep.store.prepared import Answer, PreparedSelect, PreparedStatement
from chatkeep.store.tables import (
    WAITING,
    SessionRow,
    SessionValues,
    TurnRow,
    TurnValues,
    messages,
    sessions,
    system_prompts,
    turns,
)


class TurnWithSession(NamedTuple):
    """What people read of a turn, with its session's title."""

    id: str
    session_pk: int
    seq: int
    status: str
    attempt: int
    model: str
    options: str
    input: str | None
    input_messages: str | None
    regenerates: str | None
    context_messages: int | None
    context_seq: int | None
    system_prompt_digest: bytes | None
    tools_digest: bytes | None
    user_message_id: str
    message_id: str
    user_seq: int | None
    first_seq: int | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error_code: str | None
    error_detail: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    session_id: str
    title: str
    title_source: str


class RunningTurn(NamedTuple):
    """A turn that was started, with the depth of the message that it answers."""

    session_pk: int
    tenant_id: str
    status: str
    owner: str | None
    attempt: int
    regenerates: str | None
    message_id: str
    user_seq: int
    first_seq: int | None
    depth: int


class KeyedTurn(NamedTuple):
    """A turn with an idempotency key; `has_session` is false if its session was deleted."""

    id: str
    request_digest: bytes
    created_at: int
    has_session: bool


class RecentTurn(NamedTuple):
    """What is compared of a turn to recognise a request that comes again."""

    id: str
    request_digest: bytes | None
    created_at: int
    status: str


class QueueState(NamedTuple):
    """The turn that a session is running, and how many wait for it.

    Among those that wait are those that were cancelled while they did.
    """

    running: str | None
    waiting: int


class TreeMessage(NamedTuple):
    """A message of a session's tree: see `tables.py`."""

    seq: int
    id: str
    parent_seq: int | None
    depth: int
    role: str
    content: str
    blocks: str | None

    def to_content(self) -> MessageContent:
        """What the message says."""
        return MessageContent(Role(self.role), self.content, load(self.blocks), self.id)


class _TurnId(NamedTuple):
    id: str


class _Content(NamedTuple):
    content: str


# Written out, not bound: only so does a planner see that the partial index fits.
_QUEUED = turns.c.status == sa.literal_column("'queued'")
_RUNNING = turns.c.status == sa.literal_column("'running'")
_of = turns.alias("of")
_WAITING = sa.text(f"({WAITING})")
_OF_SESSION = turns.c.session_pk == sa.bindparam("session")

_INSERT = PreparedStatement(turns.insert())
_UPDATE_TURN = PreparedStatement(turns.update().where(turns.c.id == sa.bindparam("turn")))
BY_ID = PreparedSelect(sa.select(turns).where(turns.c.id == sa.bindparam("turn")), TurnRow)
OF_TENANT = PreparedSelect(
    sa.select(
        *(turns.c.id, turns.c.session_pk, turns.c.seq, turns.c.status, turns.c.attempt),
        *(
            turns.c.model,
            turns.c.options,
            turns.c.input,
            turns.c.input_messages,
            turns.c.regenerates,
        ),
        *(turns.c.context_messages, turns.c.context_seq),
        *(turns.c.system_prompt_digest, turns.c.tools_digest),
        *(turns.c.user_message_id, turns.c.message_id, turns.c.user_seq, turns.c.first_seq),
        *(turns.c.input_tokens, turns.c.output_tokens, turns.c.finish_reason),
        *(turns.c.error_code, turns.c.error_detail),
        *(turns.c.created_at, turns.c.started_at, turns.c.ended_at),
        *(sessions.c.session_id, sessions.c.title, sessions.c.title_source),
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(sessions.c.tenant_id == sa.bindparam("tenant"), turns.c.id == sa.bindparam("turn")),
    TurnWithSession,
)
_BY_KEY = PreparedSelect(
    sa.select(
        turns.c.id,
        turns.c.request_digest,
        turns.c.created_at,
        (sessions.c.tenant_id == turns.c.tenant_id).label("has_session"),
    )
    .join(sessions, sessions.c.pk == turns.c.session_pk)
    .where(
        turns.c.tenant_id == sa.bindparam("tenant"),
        turns.c.idempotency_key == sa.bindparam("idempotency"),
    ),
    KeyedTurn,
)
_NEWEST = PreparedSelect(
    sa.select(turns.c.id, turns.c.request_digest, turns.c.created_at, turns.c.status)
    .where(_OF_SESSION)
    .order_by(turns.c.seq.desc())
    .limit(sa.bindparam("limit", type_=sa.Integer)),
    RecentTurn,
)
NEXT = PreparedSelect(
    sa.select(turns).where(_OF_SESSION, _WAITING).order_by(turns.c.seq).limit(1), TurnRow
)
_QUEUED_OF_SESSION = PreparedSelect(
    sa.select(turns.c.id).where(_OF_SESSION, _WAITING, _QUEUED).order_by(turns.c.seq), _TurnId
)
_QUEUE_STATE = PreparedSelect(
    sa.select(
        sa.select(turns.c.id).where(_OF_SESSION, _RUNNING).scalar_subquery().label("running"),
        sa.select(sa.func.count())
        .select_from(turns)
        .where(_OF_SESSION, _WAITING)
        .scalar_subquery()
        .label("waiting"),
    ),
    QueueState,
)
_SESSION = PreparedSelect(
    sa.select(sessions).where(sessions.c.pk == sa.bindparam("key")).with_for_update(key_share=True),
    SessionRow,
)
_FREE_SESSION = PreparedSelect(
    sa.select(sessions)
    .where(sessions.c.pk == sa.bindparam("key"))
    .with_for_update(key_share=True, skip_locked=True),
    SessionRow,
)
NEXT_OF_TURN = PreparedSelect(
    sa.select(turns)
    .where(
        turns.c.session_pk
        == sa.select(_of.c.session_pk).where(_of.c.id == sa.bindparam("turn")).scalar_subquery(),
        _WAITING,
    )
    .order_by(turns.c.seq)
    .limit(1),
    TurnRow,
)
"""The turn that waits longest in the session of another one."""

_UPDATE_SESSION = PreparedStatement(sessions.update().where(sessions.c.pk == sa.bindparam("key")))
_SESSION_OF_TURN = PreparedSelect(
    sa.select(sessions)
    .join(turns, turns.c.session_pk == sessions.c.pk)
    .where(turns.c.id == sa.bindparam("turn"))
    .with_for_update(of=sessions, key_share=True),
    SessionRow,
)
RUNNING = PreparedSelect(
    sa.select(
        turns.c.session_pk,
        turns.c.tenant_id,
        turns.c.status,
        turns.c.owner,
        turns.c.attempt,
        turns.c.regenerates,
        turns.c.message_id,
        turns.c.user_seq,
        turns.c.first_seq,
        messages.c.depth,
    )
    .join(
        messages,
        sa.and_(messages.c.session_pk == turns.c.session_pk, messages.c.seq == turns.c.user_seq),
    )
    .where(turns.c.id == sa.bindparam("turn")),
    RunningTurn,
)

_TREE_COLUMNS = (
    *(messages.c.seq, messages.c.id, messages.c.parent_seq, messages.c.depth),
    *(messages.c.role, messages.c.content, messages.c.blocks),
)
_IN_SESSION = messages.c.session_pk == sa.bindparam("session")
_MESSAGE_BY_SEQ = PreparedSelect(
    sa.select(*_TREE_COLUMNS).where(_IN_SESSION, messages.c.seq == sa.bindparam("at_seq")),
    TreeMessage,
)
_MESSAGE_BY_ID = PreparedSelect(
    sa.select(*_TREE_COLUMNS).where(_IN_SESSION, messages.c.id == sa.bindparam("message")),
    TreeMessage,
)
_SYSTEM_PROMPT = PreparedSelect(
    sa.select(system_prompts.c.content).where(
        system_prompts.c.session_pk == sa.bindparam("session"),
        system_prompts.c.digest == sa.bindparam("digest"),
    ),
    _Content,
)
_INSERT_SYSTEM_PROMPT = PreparedStatement(
    # Unless it is there; in the words of both databases.
    sa.text(
        "INSERT INTO system_prompts (session_pk, digest, content) "
        "VALUES (:session_pk, :digest, :content) ON CONFLICT DO NOTHING"
    )
)


def insert_turn(conn: sa.Connection, turn: Turn, values: TurnValues) -> None:
    """Add a turn's row.

    Args:
        conn: The connection.
        turn: The turn.
        values: The columns that `Turn` has no fields for.

    """
    row: TurnValues = {
        "id": turn.turn_id,
        "status": turn.status.value,
        "attempt": turn.attempt,
        "model": turn.model,
        "options": orjson.dumps(turn.options.stored()).decode(),
        "user_message_id": turn.user_message_id,
        "message_id": turn.message_id,
        **values,
    }
    _INSERT.run(conn, row)


def turn_by_key(conn: sa.Connection, *, tenant: str, key: str) -> KeyedTurn | None:
    """The turn that was posted with this idempotency key."""
    return _BY_KEY.first(conn, {"tenant": tenant, "idempotency": key})


def newest_turns(conn: sa.Connection, *, session_pk: int, limit: int) -> list[RecentTurn]:
    """The newest turns of a session, newest first."""
    return _NEWEST.all(conn, {"session": session_pk, "limit": limit})


def turn_of_tenant(conn: sa.Connection, *, tenant: str, turn_id: str) -> TurnWithSession | None:
    """A tenant's turn; `None` also if its session was deleted."""
    return OF_TENANT.first(conn, {"tenant": tenant, "turn": turn_id})


def queue_state(conn: sa.Connection, session_pk: int) -> QueueState:
    """What a session is running, and how much waits for it."""
    return ask_queue_state(conn, session_pk).one()


def ask_queue_state(conn: sa.Connection, session_pk: int) -> Answer[QueueState]:
    """Ask for `queue_state`."""
    return _QUEUE_STATE.ask(conn, {"session": session_pk})


def queued_turns(conn: sa.Connection, session_pk: int) -> tuple[str, ...]:
    """The ids of a session's queued turns, in their order."""
    return tuple(row.id for row in _QUEUED_OF_SESSION.all(conn, {"session": session_pk}))


def session(conn: sa.Connection, pk: int) -> SessionRow:
    """A session that exists, locked against other writers until the transaction ends."""
    return _SESSION.one(conn, {"key": pk})


def find_session(conn: sa.Connection, pk: int) -> SessionRow | None:
    """A session, locked as by `session`; `None` if there is none."""
    return _SESSION.first(conn, {"key": pk})


def free_session(conn: sa.Connection, pk: int) -> SessionRow | None:
    """A session, locked as by `session`; `None` if there is none, or another has locked it."""
    return _FREE_SESSION.first(conn, {"key": pk})


def session_of_turn(conn: sa.Connection, turn_id: str) -> SessionRow | None:
    """The session of a turn, locked against other writers until the transaction ends.

    Every transaction locks its session first, and reads of turns after that: so two of one session
    come one after the other, and see what the other has done.
    """
    return ask_session_of_turn(conn, turn_id).first()


def ask_session_of_turn(conn: sa.Connection, turn_id: str) -> Answer[SessionRow]:
    """Ask for `session_of_turn`."""
    return _SESSION_OF_TURN.ask(conn, {"turn": turn_id})


def message_by_seq(conn: sa.Connection, *, session_pk: int, seq: int) -> TreeMessage | None:
    """A session's message by its number."""
    return _MESSAGE_BY_SEQ.first(conn, {"session": session_pk, "at_seq": seq})


def known_message(conn: sa.Connection, *, session_pk: int, seq: int) -> TreeMessage:
    """A message that the database refers to, so that it must be there."""
    return _MESSAGE_BY_SEQ.one(conn, {"session": session_pk, "at_seq": seq})


def message_by_id(conn: sa.Connection, *, session_pk: int, message_id: str) -> TreeMessage | None:
    """A session's message by its id."""
    return _MESSAGE_BY_ID.first(conn, {"session": session_pk, "message": message_id})


def stored_text(conn: sa.Connection, *, session_pk: int, digest: bytes | None) -> str | None:
    """The system prompt, or the tools, that a turn's model was sent; `None` if there were none."""
    if digest is None:
        return None
    row = _SYSTEM_PROMPT.first(conn, {"session": session_pk, "digest": digest})
    return None if row is None else row.content


def text_digest(content: str) -> bytes:
    """The digest by which turns refer to a system prompt, or to the tools on offer."""
    return blake2b(content.encode(), digest_size=16).digest()


def store_text(conn: sa.Connection, *, session_pk: int, digest: bytes, content: str) -> None:
    """Store a system prompt of a session, or its tools, once, however many turns use them."""
    params = {"session_pk": session_pk, "digest": digest, "content": content}
    _INSERT_SYSTEM_PROMPT.run(conn, params)


def update_session(conn: sa.Connection, pk: int, values: SessionValues) -> None:
    """Set columns of a session."""
    _UPDATE_SESSION.run(conn, {"key": pk, **values})


def update_turn(conn: sa.Connection, turn_id: str, values: TurnValues) -> None:
    """Set columns of a turn."""
    _UPDATE_TURN.run(conn, {"turn": turn_id, **values})


def turn(
    row: TurnRow | TurnWithSession,
    session_id: str,
    *,
    status: Status | None = None,
    attempt: int | None = None,
) -> Turn:
    """Make a turn of its row.

    Args:
        row: The turn's row.
        session_id: The id of its session.
        status: Its status from now on, if that is another than the row's.
        attempt: The same for its attempt.

    """
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
