"""Digests of the requests whose session was deleted, by which a late repeat is known."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "deleted_requests",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_deleted_requests")),
    )
    op.create_index(
        "ix_deleted_requests_created_at", "deleted_requests", ["created_at"], unique=False
    )
