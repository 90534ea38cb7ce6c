"""The tables, and everything that must be true of them. What a turn means is not said here.

A tenant owns sessions. A session is a tree of messages: `seq` counts them within the session,
`parent_seq` is the message before, `depth` the length of the path from the root, and the
session's `head_seq` the last message of the active branch, whose depth is `message_count`. A
turn that waits keeps its message in `input`, and in `branch_seq` where it goes if not to the head
(0 is the beginning); when it starts, or its turn comes after it was cancelled, the message moves
into the tree. `owner` is the process that runs a turn, whose lease says that it lives.
What a turn's model was sent can be told from the tree, in which nothing ever changes its place:
`context_messages` is how many messages it might read, `context_seq` the newest that was there, and
`system_prompt_digest` names the prompt. All times are microseconds since 1970, UTC.

A session of the tenant `HIDDEN` is not there: it was deleted and is not swept away yet, or is being
imported and not whole yet. No query finds it, because every query names a tenant.

`deleted_requests` are digests of the requests with an idempotency key whose session was deleted: by
them a late repeat is known for a day, and nothing can be read from them.
`calls` are the calls of models, for the count of tokens; one whose session was deleted counts on.
What full-text search reads is no table of this file: see `search.py`. Its keys are those of
`messages.search_key` and `sessions.search_key`.
"""

from typing import NamedTuple, TypedDict

import sqlalchemy as sa

from chatkeep.domain.model import CallKind, Role, Status, TitleSource

HIDDEN = "(hidden)"
"""The tenant of what is not there."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the type is exactly INTEGER.
_Key = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _one_of(
    column: str, values: type[Role] | type[Status] | type[TitleSource] | type[CallKind]
) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("pk", _Key, primary_key=True, autoincrement=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey(tenants.c.id), nullable=False),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("title_source", sa.Text, nullable=False),
    sa.Column("title_pending", sa.Boolean, nullable=False),
    sa.Column("model", sa.Text),
    sa.Column("system_prompt", sa.Text),
    sa.Column("context_messages", sa.Integer),
    sa.Column("head_seq", sa.BigInteger),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("message_count", sa.BigInteger, nullable=False),
    sa.Column("turn_count", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("archived", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("metadata", sa.Text, nullable=False, server_default="{}"),
    sa.Column("search_key", sa.BigInteger),
    sa.Column("temperature", sa.Float),
    sa.Column("max_tokens", sa.Integer),
    sa.UniqueConstraint("tenant_id", "session_id"),
    sa.CheckConstraint("length(session_id) BETWEEN 1 AND 255", name="session_id"),
    sa.CheckConstraint("title <> ''", name="title"),
    sa.CheckConstraint("head_seq <= last_seq", name="head_seq"),
    sa.CheckConstraint("message_count BETWEEN 0 AND last_seq", name="message_count"),
    sa.CheckConstraint("updated_at >= created_at", name="updated_at"),
    _one_of("title_source", TitleSource),
    # A primary key that was deleted never comes back for another conversation.
    sqlite_autoincrement=True,
)
sa.Index("ix_sessions_activity", sessions.c.tenant_id, sessions.c.updated_at, sessions.c.session_id)
sa.Index(
    "ix_sessions_title_pending",
    sessions.c.tenant_id,
    sessions.c.pk,
    sqlite_where=sa.text("title_pending = 1"),
    postgresql_where=sa.text("title_pending"),
)

sa.Index("uq_sessions_search_key", sessions.c.search_key, unique=True)


class SessionRow(NamedTuple):
    """A row of `sessions`."""

    pk: int
    tenant_id: str
    session_id: str
    title: str
    title_source: str
    title_pending: bool
    model: str | None
    system_prompt: str | None
    context_messages: int | None
    head_seq: int | None
    last_seq: int
    message_count: int
    turn_count: int
    created_at: int
    updated_at: int
    pinned: bool
    archived: bool
    metadata: str
    search_key: int | None
    temperature: float | None
    max_tokens: int | None


class SessionValues(TypedDict, total=False):
    """Columns of `sessions` that are set."""

    tenant_id: str
    session_id: str
    title: str
    title_source: str
    title_pending: bool
    model: str | None
    system_prompt: str | None
    context_messages: int | None
    head_seq: int | None
    last_seq: int
    message_count: int
    turn_count: int
    created_at: int
    updated_at: int
    pinned: bool
    archived: bool
    metadata: str
    search_key: int | None
    temperature: float | None
    max_tokens: int | None


turns = sa.Table(
    "turns",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey(tenants.c.id), nullable=False),
    sa.Column("session_pk", _Key, sa.ForeignKey(sessions.c.pk, ondelete="CASCADE"), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("request_digest", sa.LargeBinary),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("input", sa.Text),
    sa.Column("branch_seq", sa.BigInteger),
    sa.Column("regenerates", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("context_messages", sa.Integer),
    sa.Column("context_seq", sa.BigInteger),
    sa.Column("system_prompt_digest", sa.LargeBinary),
    sa.Column("user_message_id", sa.Text, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False, unique=True),
    sa.Column("user_seq", sa.BigInteger),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("finish_reason", sa.Text),
    sa.Column("error_code", sa.Text),
    sa.Column("error_detail", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.UniqueConstraint("session_pk", "seq"),
    sa.UniqueConstraint("tenant_id", "idempotency_key"),
    sa.CheckConstraint("attempt >= 0", name="attempt"),
    sa.CheckConstraint(
        "(idempotency_key IS NULL) OR (request_digest IS NOT NULL)", name="idempotency_key"
    ),
    # A turn that is cancelled while it waits keeps its message until its place comes.
    sa.CheckConstraint("input IS NULL OR status IN ('queued', 'cancelled')", name="input"),
    sa.CheckConstraint(
        "status <> 'queued' OR input IS NOT NULL OR regenerates IS NOT NULL", name="queued"
    ),
    sa.CheckConstraint("(status IN ('queued', 'running')) = (ended_at IS NULL)", name="ended_at"),
    _one_of("status", Status),
)
# A session runs one turn at a time: here it is true, whatever the program does.
sa.Index(
    "uq_turns_running",
    turns.c.session_pk,
    unique=True,
    sqlite_where=sa.text("status = 'running'"),
    postgresql_where=sa.text("status = 'running'"),
)
sa.Index(
    "ix_turns_unfinished",
    turns.c.session_pk,
    turns.c.seq,
    sqlite_where=sa.text("status IN ('queued', 'running')"),
    postgresql_where=sa.text("status IN ('queued', 'running')"),
)
WAITING = "status = 'queued' OR input IS NOT NULL"
sa.Index(
    "ix_turns_waiting",
    turns.c.session_pk,
    turns.c.seq,
    sqlite_where=sa.text(WAITING),
    postgresql_where=sa.text(WAITING),
)
REGENERATING = "regenerates IS NOT NULL"
sa.Index(
    "ix_turns_regenerating",
    turns.c.session_pk,
    turns.c.user_message_id,
    turns.c.seq,
    sqlite_where=sa.text(REGENERATING),
    postgresql_where=sa.text(REGENERATING),
)


class TurnRow(NamedTuple):
    """A row of `turns`."""

    id: str
    tenant_id: str
    session_pk: int
    seq: int
    status: str
    attempt: int
    idempotency_key: str | None
    request_digest: bytes | None
    model: str
    options: str
    input: str | None
    branch_seq: int | None
    regenerates: str | None
    owner: str | None
    context_messages: int | None
    context_seq: int | None
    system_prompt_digest: bytes | None
    user_message_id: str
    message_id: str
    user_seq: int | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error_code: str | None
    error_detail: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None


class TurnValues(TypedDict, total=False):
    """Columns of `turns` that are set."""

    id: str
    tenant_id: str
    session_pk: int
    seq: int
    status: str
    attempt: int
    idempotency_key: str | None
    request_digest: bytes | None
    model: str
    options: str
    input: str | None
    branch_seq: int | None
    regenerates: str | None
    owner: str | None
    context_messages: int | None
    context_seq: int | None
    system_prompt_digest: bytes | None
    user_message_id: str
    message_id: str
    user_seq: int | None
    input_tokens: int | None
    output_tokens: int | None
    finish_reason: str | None
    error_code: str | None
    error_detail: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None


deleted_requests = sa.Table(
    "deleted_requests",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
sa.Index("ix_deleted_requests_created_at", deleted_requests.c.created_at)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),
)

system_prompts = sa.Table(
    "system_prompts",
    metadata,
    sa.Column(
        "session_pk", _Key, sa.ForeignKey(sessions.c.pk, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)


class SystemPromptRow(NamedTuple):
    """A row of `system_prompts`."""

    session_pk: int
    digest: bytes
    content: str


messages = sa.Table(
    "messages",
    metadata,
    sa.Column(
        "session_pk", _Key, sa.ForeignKey(sessions.c.pk, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("parent_seq", sa.BigInteger),
    sa.Column("depth", sa.BigInteger, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("turn_id", sa.Text, sa.ForeignKey(turns.c.id, ondelete="CASCADE")),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("search_key", sa.BigInteger),
    # A parent is of the same session, because the session is part of the reference.
    sa.ForeignKeyConstraint(
        ["session_pk", "parent_seq"], ["messages.session_pk", "messages.seq"], name="fk_parent"
    ),
    sa.CheckConstraint("parent_seq < seq", name="parent_seq"),
    sa.CheckConstraint("(depth = 1) = (parent_seq IS NULL)", name="depth"),
    sa.CheckConstraint("role <> 'assistant' OR content <> ''", name="content"),
    _one_of("role", Role),
    _one_of("status", Status),
)
sa.Index("ix_messages_parent", messages.c.session_pk, messages.c.parent_seq)
RUN_START = "parent_seq IS NULL OR parent_seq <> seq - 1"
"""True of a message that does not follow the one that came before it: there a run begins, and a
path through the tree is a few runs."""
sa.Index(
    "ix_messages_run_start",
    messages.c.session_pk,
    messages.c.seq,
    sqlite_where=sa.text(RUN_START),
    postgresql_where=sa.text(RUN_START),
)
sa.Index("ix_messages_turn", messages.c.turn_id)
sa.Index("uq_messages_search_key", messages.c.search_key, unique=True)


class MessageRow(NamedTuple):
    """A row of `messages`."""

    session_pk: int
    seq: int
    id: str
    parent_seq: int | None
    depth: int
    role: str
    content: str
    status: str
    turn_id: str | None
    created_at: int
    search_key: int | None


calls = sa.Table(
    "calls",
    metadata,
    sa.Column("pk", _Key, primary_key=True, autoincrement=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey(tenants.c.id), nullable=False),
    sa.Column("session_pk", _Key, sa.ForeignKey(sessions.c.pk, ondelete="SET NULL")),
    sa.Column("turn_id", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("is_retry", sa.Boolean, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("is_estimated", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    _one_of("kind", CallKind),
    _one_of("status", Status),
)
sa.Index("ix_calls_day", calls.c.tenant_id, calls.c.created_at)
sa.Index("ix_calls_session", calls.c.session_pk)


class CallRow(NamedTuple):
    """A row of `calls`."""

    pk: int
    tenant_id: str
    session_pk: int | None
    turn_id: str | None
    kind: str
    model: str
    status: str
    is_retry: bool
    input_tokens: int
    output_tokens: int
    is_estimated: bool
    created_at: int


class CallValues(TypedDict):
    """The columns of a new row of `calls`."""

    tenant_id: str
    session_pk: int | None
    turn_id: str | None
    kind: str
    model: str
    status: str
    is_retry: bool
    input_tokens: int
    output_tokens: int
    is_estimated: bool
    created_at: int
