"""The first tables."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, and the tenant that owns all while no key exists."""
    tenants = op.create_table(
        "tenants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
    )
    op.bulk_insert(tenants, [{"id": "default", "created_at": time.time_ns() // 1_000}])
    op.create_table(
        "sessions",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_source", sa.Text(), nullable=False),
        sa.Column("title_pending", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("context_messages", sa.Integer(), nullable=True),
        sa.Column("head_seq", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("message_count", sa.BigInteger(), nullable=False),
        sa.Column("turn_count", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("title <> ''", name=op.f("ck_sessions_title")),
        sa.CheckConstraint(
            "title_source IN ('provisional', 'model', 'user')",
            name=op.f("ck_sessions_title_source"),
        ),
        sa.CheckConstraint("head_seq <= last_seq", name=op.f("ck_sessions_head_seq")),
        sa.CheckConstraint(
            "length(session_id) BETWEEN 1 AND 255", name=op.f("ck_sessions_session_id")
        ),
        sa.CheckConstraint(
            "message_count BETWEEN 0 AND last_seq", name=op.f("ck_sessions_message_count")
        ),
        sa.CheckConstraint("updated_at >= created_at", name=op.f("ck_sessions_updated_at")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_sessions_tenant_id")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_sessions")),
        sa.UniqueConstraint(
            "tenant_id", "session_id", name=op.f("uq_sessions_tenant_id_session_id")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_sessions_activity", "sessions", ["tenant_id", "updated_at", "session_id"], unique=False
    )
    op.create_index(
        "ix_sessions_title_pending",
        "sessions",
        ["tenant_id", "pk"],
        unique=False,
        sqlite_where=sa.text("title_pending = 1"),
        postgresql_where=sa.text("title_pending"),
    )
    op.create_table(
        "turns",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("session_pk", _KEY, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.LargeBinary(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), nullable=True),
        sa.Column("user_message_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("user_seq", sa.BigInteger(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'queued') = (input IS NOT NULL)", name=op.f("ck_turns_input")
        ),
        sa.CheckConstraint(
            "(status IN ('queued', 'running')) = (ended_at IS NULL)", name=op.f("ck_turns_ended_at")
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'completed', 'failed', 'cancelled', 'interrupted')",
            name=op.f("ck_turns_status"),
        ),
        sa.CheckConstraint(
            "(idempotency_key IS NULL) OR (request_digest IS NOT NULL)",
            name=op.f("ck_turns_idempotency_key"),
        ),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_turns_attempt")),
        sa.ForeignKeyConstraint(
            ["session_pk"], ["sessions.pk"], name=op.f("fk_turns_session_pk"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_turns_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turns")),
        sa.UniqueConstraint("message_id", name=op.f("uq_turns_message_id")),
        sa.UniqueConstraint("session_pk", "seq", name=op.f("uq_turns_session_pk_seq")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_turns_tenant_id_idempotency_key")
        ),
    )
    op.create_index(
        "ix_turns_unfinished",
        "turns",
        ["session_pk", "seq"],
        unique=False,
        sqlite_where=sa.text("status IN ('queued', 'running')"),
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_index(
        "uq_turns_running",
        "turns",
        ["session_pk"],
        unique=True,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "messages",
        sa.Column("session_pk", _KEY, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("parent_seq", sa.BigInteger(), nullable=True),
        sa.Column("depth", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "role <> 'assistant' OR content <> ''", name=op.f("ck_messages_content")
        ),
        sa.CheckConstraint(
            "role IN ('user', 'assistant', 'system', 'tool')", name=op.f("ck_messages_role")
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'completed', 'failed', 'cancelled', 'interrupted')",
            name=op.f("ck_messages_status"),
        ),
        sa.CheckConstraint("(depth = 1) = (parent_seq IS NULL)", name=op.f("ck_messages_depth")),
        sa.CheckConstraint("parent_seq < seq", name=op.f("ck_messages_parent_seq")),
        sa.ForeignKeyConstraint(
            ["session_pk", "parent_seq"], ["messages.session_pk", "messages.seq"], name="fk_parent"
        ),
        sa.ForeignKeyConstraint(
            ["session_pk"], ["sessions.pk"], name=op.f("fk_messages_session_pk"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["turn_id"], ["turns.id"], name=op.f("fk_messages_turn_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_pk", "seq", name=op.f("pk_messages")),
        sa.UniqueConstraint("id", name=op.f("uq_messages_id")),
    )
    op.create_index("ix_messages_parent", "messages", ["session_pk", "parent_seq"], unique=False)
    op.create_index("ix_messages_turn", "messages", ["turn_id"], unique=False)
