"""What people set of a session, the count of tokens, and the index of full-text search."""

import random
import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HIDDEN = "(hidden)"
_BATCH = 1_000
_NEAR = 1_000
_TITLE = "title"

_SEARCH = (
    "CREATE VIRTUAL TABLE search USING fts5(body, scope, content='', columnsize=0, "
    "tokenize=\"unicode61 remove_diacritics 2 categories 'L* N* M* Co'\")"
)
_ADD_TO_SEARCH = "INSERT INTO search (rowid, body, scope) VALUES (:key, :body, :scope)"

# As it was then: the index of a database that has run this revision was made by it.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)

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
    if conn.dialect.name == "sqlite":
        # No release before 0009 could have another database.
        conn.exec_driver_sql(_SEARCH)
        _index(conn)


def _index(conn: sa.Connection) -> None:
    of_session = sa.text("UPDATE sessions SET search_key = :key WHERE pk = :pk")
    of_message = sa.text(
        "UPDATE messages SET search_key = :key WHERE session_pk = :pk AND seq = :seq"
    )
    sessions = conn.exec_driver_sql("SELECT pk, tenant_id, title, created_at FROM sessions").all()
    for session in sessions:
        scope = f"t{blake2b(session.tenant_id.encode(), digest_size=8).hexdigest()} s{session.pk}"
        key = _free_key(conn, "sessions", session.created_at // 1_000 * 2 + 1)
        conn.execute(of_session, {"key": key, "pk": session.pk})
        _add_to_search(conn, key, session.title, f"{scope} r{_TITLE}")
        last = 0
        while messages := _messages(conn, session.pk, last):
            for message in messages:
                key = _free_key(conn, "messages", message.created_at // 1_000 * 2)
                conn.execute(of_message, {"key": key, "pk": session.pk, "seq": message.seq})
                _add_to_search(conn, key, message.content, f"{scope} r{message.role}")
            last = messages[-1].seq


def _messages(conn: sa.Connection, session_pk: int, after: int) -> Sequence[sa.Row[Any]]:
    return conn.execute(
        sa.text(
            "SELECT seq, role, content, created_at FROM messages "
            "WHERE session_pk = :session AND seq > :after ORDER BY seq LIMIT :limit"
        ),
        {"session": session_pk, "after": after, "limit": _BATCH},
    ).all()


def _free_key(conn: sa.Connection, table: str, wanted: int) -> int:
    same_key = sa.text(f"SELECT 1 FROM {table} WHERE search_key = :key")  # noqa: S608  (one of two)
    key, within = wanted, _NEAR
    while conn.execute(same_key, {"key": key}).first() is not None:
        key, within = wanted + 2 * random.randrange(within), within * 2  # noqa: S311  (no secret)
    return key


def _add_to_search(conn: sa.Connection, key: int, text: str, scope: str) -> None:
    params = {"key": key, "body": _index_text(text), "scope": scope}
    conn.execute(sa.text(_ADD_TO_SEARCH), params)


def _index_text(text: str) -> str:
    if text.isascii():
        return text
    return _UNSPACED.sub(_pairs, unicodedata.normalize("NFKC", text))


def _pairs(match: re.Match[str]) -> str:
    run = match[0]
    return f" {' '.join(run[index : index + 2] for index in range(len(run)))} "
