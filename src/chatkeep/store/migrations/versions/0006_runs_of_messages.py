"""An index of the messages that do not follow the one that came before them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_RUN_START = "parent_seq IS NULL OR parent_seq <> seq - 1"


def upgrade() -> None:
    """Add the index, by which a path through a long tree is known from a few rows."""
    op.create_index(
        "ix_messages_run_start",
        "messages",
        ["session_pk", "seq"],
        unique=False,
        sqlite_where=sa.text(_RUN_START),
        postgresql_where=sa.text(_RUN_START),
    )
