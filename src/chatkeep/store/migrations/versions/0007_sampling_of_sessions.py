"""How the replies of a session are sampled, and how long they may be."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns; a session that is there has nothing set."""
    op.add_column("sessions", sa.Column("temperature", sa.Float(), nullable=True))
    op.add_column("sessions", sa.Column("max_tokens", sa.Integer(), nullable=True))
