"""What people set of a session, the count of tokens, and the index of full-text search."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from chatkeep.store.search import hits as search

revision = "0003"
down_revision = "0002"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HIDDEN = "(hidden)"
_BATCH = 1_000

_COUNTED = """
INSERT INTO calls (tenant_id, session_pk, turn_id, kind, model, status, is_retry, input_tokens,
                   output_tokens, is_estimated, created_at)
SELECT tenant_id, session_pk, id, 'reply', model, status, false, input_tokens,
       coalesce(output_tokens, 0), false, ended_at
FROM turns WHERE input_tokens IS NOT NULL AND ended_at IS NOT NULL
"""


def upgrade() -> None:
    """Add the columns and the tables, then index what is there."""
    for column in (
        sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("archived", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("search_key", sa.BigInteger(), nullable=True),
    ):
        op.add_column("sessions", column)
    op.add_column("messages", sa.Column("search_key", sa.BigInteger(), nullable=True))
    op.create_index("uq_sessions_search_key", "sessions", ["search_key"], unique=True)
    op.create_index("uq_messages_search_key", "messages", ["search_key"], unique=True)
    op.create_table(
        "calls",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("session_pk", _KEY, nullable=True),
        sa.Column("turn_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("is_retry", sa.Boolean(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("is_estimated", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('reply', 'title')", name=op.f("ck_calls_kind")),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'completed', 'failed', 'cancelled', 'interrupted')",
            name=op.f("ck_calls_status"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_calls_tenant_id")),
        sa.ForeignKeyConstraint(
            ["session_pk"], ["sessions.pk"], name=op.f("fk_calls_session_pk"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_day", "calls", ["tenant_id", "created_at"], unique=False)
    op.create_index("ix_calls_session", "calls", ["session_pk"], unique=False)
    tenants = sa.table("tenants", sa.column("id"), sa.column("created_at"))
    op.bulk_insert(tenants, [{"id": _HIDDEN, "created_at": 0}])
    conn = op.get_bind()
    conn.exec_driver_sql(_COUNTED)
    search.create(conn)
    _index(conn)


def _index(conn: sa.Connection) -> None:
    of_session = sa.text("UPDATE sessions SET search_key = :key WHERE pk = :pk")
    of_message = sa.text(
        "UPDATE messages SET search_key = :key WHERE session_pk = :pk AND seq = :seq"
    )
    sessions = conn.exec_driver_sql("SELECT pk, tenant_id, title, created_at FROM sessions").all()
    for session in sessions:
        whose = (session.tenant_id, session.pk)
        key = search.title_key(conn, session.created_at)
        conn.execute(of_session, {"key": key, "pk": session.pk})
        search.add(conn, [search.Entry(key, session.title, *whose, search.TITLE)])
        last = 0
        while found := _messages(conn, session.pk, last):
            for row in found:
                key = search.message_key(conn, row.created_at)
                conn.execute(of_message, {"key": key, "pk": session.pk, "seq": row.seq})
                search.add(conn, [search.Entry(key, row.content, *whose, row.role)])
            last = found[-1].seq


def _messages(conn: sa.Connection, session_pk: int, after: int) -> Any:
    return conn.execute(
        sa.text(
            "SELECT seq, role, content, created_at FROM messages "
            "WHERE session_pk = :session AND seq > :after ORDER BY seq LIMIT :limit"
        ),
        {"session": session_pk, "after": after, "limit": _BATCH},
    ).all()
