"""What many processes at one database need, and the index of full-text search in PostgreSQL."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns, and in PostgreSQL the tables for messages between processes."""
    # Why a turn is to be stopped by whoever runs it; who makes a session's title.
    op.add_column("turns", sa.Column("stop", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("title_owner", sa.Text(), nullable=True))
    running = sa.text("status = 'running'")
    op.create_index(
        "ix_turns_owner", "turns", ["owner"], sqlite_where=running, postgresql_where=running
    )
    op.create_table(
        "compatibility",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_compatibility"),
    )
    op.execute("INSERT INTO compatibility (revision) VALUES ('0009')")
    conn = op.get_bind()
    if conn.dialect.name != "postgresql":
        return
    for table in sa.inspect(conn).get_table_names():
        for column in sa.inspect(conn).get_columns(table):
            if isinstance(column["type"], sa.Text) and table != "alembic_version":
                # Names are compared byte by byte, whatever language the database was made for.
                op.alter_column(table, column["name"], type_=sa.Text(collation="C"))
    for statement in POSTGRES:
        op.execute(statement)


POSTGRES = (
    "CREATE TABLE search (key bigint PRIMARY KEY, words tsvector NOT NULL)",
    "CREATE INDEX ix_search_words ON search USING gin (words) WITH (fastupdate = off)",
    # None of the following needs to survive a crash of the server.
    """CREATE UNLOGGED TABLE followers (
        turn_id text COLLATE "C" NOT NULL,
        follower text COLLATE "C" NOT NULL REFERENCES leases (owner) ON DELETE CASCADE,
        PRIMARY KEY (turn_id, follower)
    )""",
    """CREATE UNLOGGED TABLE stream_chunks (
        turn_id text COLLATE "C" NOT NULL,
        attempt integer NOT NULL,
        start bigint NOT NULL,
        text text NOT NULL,
        PRIMARY KEY (turn_id, attempt, start)
    )""",
    """CREATE UNLOGGED TABLE event_counters (
        tenant_id text COLLATE "C" PRIMARY KEY,
        run_id text NOT NULL,
        last bigint NOT NULL
    )""",
    """CREATE UNLOGGED TABLE events (
        tenant_id text COLLATE "C" NOT NULL,
        seq bigint NOT NULL,
        name text NOT NULL,
        session_id text COLLATE "C" NOT NULL,
        data text NOT NULL,
        PRIMARY KEY (tenant_id, seq)
    )""",
    "CREATE INDEX ix_events_session ON events (tenant_id, session_id)",
)
