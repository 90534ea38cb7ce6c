"""Messages that are more than a text: blocks, steps on the way to a reply, and files."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns and the table; every message that is there is a plain text."""
    op.add_column("messages", sa.Column("blocks", sa.Text(), nullable=True))
    op.add_column(
        "messages",
        sa.Column("is_step", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("turns", sa.Column("input_messages", sa.Text(), nullable=True))
    op.add_column("turns", sa.Column("first_seq", sa.BigInteger(), nullable=True))
    op.add_column("turns", sa.Column("tools_digest", sa.LargeBinary(), nullable=True))
    # SQLite counts by itself only where the type is exactly INTEGER.
    key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "files",
        sa.Column("session_pk", key, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_pk"], ["sessions.pk"], name=op.f("fk_files_session_pk"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_pk", "digest", name=op.f("pk_files")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_files_digest")),
        sa.CheckConstraint("length(data) = size", name=op.f("ck_files_size")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Pictures are compressed already.
        op.execute("ALTER TABLE files ALTER COLUMN data SET STORAGE EXTERNAL")
        op.execute("ALTER TABLE stream_chunks ADD COLUMN kind text")
