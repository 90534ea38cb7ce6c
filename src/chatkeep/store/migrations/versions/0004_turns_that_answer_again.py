"""An index of the turns that answer a message once more."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_REGENERATING = "regenerates IS NOT NULL"


def upgrade() -> None:
    """Add the index, by which the newest of a message is found."""
    op.create_index(
        "ix_turns_regenerating",
        "turns",
        ["session_pk", "user_message_id", "seq"],
        unique=False,
        sqlite_where=sa.text(_REGENERATING),
        postgresql_where=sa.text(_REGENERATING),
    )
