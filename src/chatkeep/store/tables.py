"""The tables, and everything that must be true of their rows.

A tenant owns sessions. A session is a tree of messages: `seq` counts them within the session,
`parent_seq` is the message before, `depth` the length of the path from the root, and the
session's `head_seq` the last message of the active branch, whose depth is `message_count`. A
turn that waits has its message in `input` (and, if it takes in more than one plain text, all of
them in `input_messages`), and in `branch_seq` the message that it follows if not
the head (0 for none); when it starts, or would have started if it had not been cancelled, the
message moves into the tree. `owner` is the process that runs a turn, which renews its lease.
What a turn's model was sent is read from the tree, in which nothing ever moves: `context_messages`
is how many messages it might read, `context_seq` the newest that was there, and
`system_prompt_digest` identifies the prompt, as `tools_digest` does the tools that were on offer;
both are in `system_prompts`. A message that is more than a text has `blocks` (see
`domain/blocks.py`); `is_step` is true of calls and results of tools, which do not count as messages
that a model reads. A turn's messages from `first_seq` to `user_seq` are what it has taken in, if
that is more than one. `files` are the pictures and documents of a session, by the digest of their
bytes. All times are microseconds since 1970, UTC.

A user of a tenant is a row of `tenants` too, with the id `tenant/user`: nothing else knows users.
`deleted_at` marks a tenant or a user that is being erased. A key has secrets, of which only digests
are stored: its own, and those of the tokens and the browsers that were let in with it. `audit` says
who did what when; it has no texts.

A session of the tenant `HIDDEN` was deleted and is not purged yet, or its import is not whole yet.
No query returns it, because every query names a tenant.

`deleted_requests` are digests of the requests with an idempotency key whose session was deleted: by
them a late retry is recognised for a day, and nothing can be read from them.
`calls` are the calls of models, for the count of tokens; those of deleted sessions still count.
The index of full-text search is not one of these tables: see `search/index.py`. Its keys are those
of `messages.search_key` and `sessions.search_key`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple, TypedDict

import sqlalchemy as sa

from chatkeep.domain.model import KEY_SCOPES, CallKind, Role, Status, TitleSource

HIDDEN = "(hidden)"
"""The tenant of hidden sessions."""

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


def _one_of(column: str, values: Iterable[StrEnum]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("parent_id", sa.Text, sa.ForeignKey("tenants.id")),
    sa.Column("deleted_at", sa.BigInteger),
    sa.CheckConstraint("parent_id IS NULL OR id LIKE parent_id || '/_%'", name="parent_id"),
)
sa.Index("ix_tenants_parent", tenants.c.parent_id, tenants.c.id)


class TenantRow(NamedTuple):
    """A row of `tenants`."""

    id: str
    created_at: int
    parent_id: str | None
    deleted_at: int | None


keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text, sa.ForeignKey(tenants.c.id)),
    sa.Column("user", sa.Text),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("models", sa.Text),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("last_used_at", sa.BigInteger),
    _one_of("scope", KEY_SCOPES),
    sa.CheckConstraint("(scope IN ('admin', 'metrics')) = (tenant_id IS NULL)", name="tenant_id"),
    sa.CheckConstraint('"user" IS NULL OR tenant_id IS NOT NULL', name="user"),
)
sa.Index("ix_keys_tenant", keys.c.tenant_id)


class KeyRow(NamedTuple):
    """A row of `keys`."""

    id: str
    tenant_id: str | None
    user: str | None
    name: str
    scope: str
    models: str | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None


secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("key_id", sa.Text, sa.ForeignKey(keys.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("user", sa.Text),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("models", sa.Text),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("used_at", sa.BigInteger),
    sa.CheckConstraint("length(digest) = 32", name="digest"),
    sa.CheckConstraint("kind IN ('ckp', 'cku', 'ckb')", name="kind"),
)
sa.Index("ix_secrets_key", secrets.c.key_id)
sa.Index(
    "ix_secrets_expiry",
    secrets.c.expires_at,
    sqlite_where=sa.text("expires_at IS NOT NULL"),
    postgresql_where=sa.text("expires_at IS NOT NULL"),
)


class SecretRow(NamedTuple):
    """A row of `secrets`."""

    digest: bytes
    key_id: str
    kind: str
    user: str | None
    scope: str
    models: str | None
    hint: str
    created_at: int
    expires_at: int | None
    used_at: int | None


audit = sa.Table(
    "audit",
    metadata,
    sa.Column("pk", _Key, primary_key=True, autoincrement=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("tenant_id", sa.Text),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
)
sa.Index("ix_audit_at", audit.c.at)
sa.Index("ix_audit_tenant", audit.c.tenant_id, audit.c.pk)


class AuditRow(NamedTuple):
    """A row of `audit`."""

    pk: int
    at: int
    actor: str
    tenant_id: str | None
    action: str
    target: str | None


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
    sa.Column("title_owner", sa.Text),
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
    title_owner: str | None


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
    title_owner: str | None


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
    sa.Column("stop", sa.Text),
    sa.Column("input_messages", sa.Text),
    sa.Column("first_seq", sa.BigInteger),
    sa.Column("tools_digest", sa.LargeBinary),
    sa.UniqueConstraint("session_pk", "seq"),
    sa.UniqueConstraint("tenant_id", "idempotency_key"),
    sa.CheckConstraint("attempt >= 0", name="attempt"),
    sa.CheckConstraint(
        "(idempotency_key IS NULL) OR (request_digest IS NOT NULL)", name="idempotency_key"
    ),
    # A turn that is cancelled while it waits has its message until it would have started.
    sa.CheckConstraint("input IS NULL OR status IN ('queued', 'cancelled')", name="input"),
    sa.CheckConstraint(
        "status <> 'queued' OR input IS NOT NULL OR regenerates IS NOT NULL", name="queued"
    ),
    sa.CheckConstraint("(status IN ('queued', 'running')) = (ended_at IS NULL)", name="ended_at"),
    _one_of("status", Status),
)
# A session runs one turn at a time, whatever the program does.
sa.Index(
    "uq_turns_running",
    turns.c.session_pk,
    unique=True,
    sqlite_where=sa.text("status = 'running'"),
    postgresql_where=sa.text("status = 'running'"),
)
sa.Index(
    "ix_turns_owner",
    turns.c.owner,
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
    stop: str | None
    input_messages: str | None
    first_seq: int | None
    tools_digest: bytes | None


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
    stop: str | None
    input_messages: str | None
    first_seq: int | None
    tools_digest: bytes | None


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

compatibility = sa.Table(
    "compatibility", metadata, sa.Column("revision", sa.Text, primary_key=True)
)
"""The oldest revision whose program can use this schema too."""

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
    sa.Column("blocks", sa.Text),
    sa.Column("is_step", sa.Boolean, nullable=False, server_default=sa.false()),
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
"""True of a message that does not follow the one with the number before its own: it begins a run,
and a path through the tree is a few runs."""
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
    blocks: str | None
    is_step: bool


files = sa.Table(
    "files",
    metadata,
    sa.Column(
        "session_pk", _Key, sa.ForeignKey(sessions.c.pk, ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("mime_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("length(digest) = 32", name="digest"),
    sa.CheckConstraint("length(data) = size", name="size"),
)


class FileRow(NamedTuple):
    """A row of `files`."""

    session_pk: int
    digest: bytes
    mime_type: str
    size: int
    data: bytes


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
