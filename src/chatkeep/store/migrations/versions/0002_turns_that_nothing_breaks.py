"""Branches, regenerated and cancelled turns, who runs a turn, and what its model was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING = "status = 'queued' OR input IS NOT NULL"


def upgrade() -> None:
    """Add to the turns what they need, and the two tables beside them."""
    with op.batch_alter_table("turns") as turns:
        turns.add_column(sa.Column("branch_seq", sa.BigInteger(), nullable=True))
        turns.add_column(sa.Column("regenerates", sa.Text(), nullable=True))
        turns.add_column(sa.Column("owner", sa.Text(), nullable=True))
        turns.add_column(sa.Column("context_messages", sa.Integer(), nullable=True))
        turns.add_column(sa.Column("context_seq", sa.BigInteger(), nullable=True))
        turns.add_column(sa.Column("system_prompt_digest", sa.LargeBinary(), nullable=True))
        turns.drop_constraint(op.f("ck_turns_input"), type_="check")
        turns.create_check_constraint(
            op.f("ck_turns_input"), "input IS NULL OR status IN ('queued', 'cancelled')"
        )
        turns.create_check_constraint(
            op.f("ck_turns_queued"),
            "status <> 'queued' OR input IS NOT NULL OR regenerates IS NOT NULL",
        )
    op.create_index(
        "ix_turns_waiting",
        "turns",
        ["session_pk", "seq"],
        unique=False,
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )
    op.create_table(
        "leases",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_leases")),
    )
    op.create_table(
        "system_prompts",
        sa.Column("session_pk", _KEY, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_pk"],
            ["sessions.pk"],
            name=op.f("fk_system_prompts_session_pk"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_pk", "digest", name=op.f("pk_system_prompts")),
    )
