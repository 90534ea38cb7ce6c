"""Bring a database to this program's schema. All revisions run in one transaction.

A revision that older programs cannot work with also raises `compatibility` to itself, and comes at
least one release after the one whose programs do without what it removes.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store.tables import compatibility

LOCK = 0x43686174
"""The key of the advisory lock under which PostgreSQL is migrated: four letters of the name."""

TABLE_LOCK_SECONDS = 3
"""How long a migration waits for a table that is in use, before it fails."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(conn: sa.Connection) -> None:
    """Run the revisions that `conn`'s database lacks, in one transaction.

    Of several processes that start at once, one does; the others wait for it. A schema that is
    newer than this program is left as it is, if it says that this program can use it.

    Raises:
        StoreUnavailable: The database was made by a newer version of Chatkeep.

    """
    with _loose_references(conn), conn.begin():
        if conn.dialect.name == "postgresql":
            _lock(conn)
        revision = _revision(conn)
        if revision == head():
            return
        if revision is not None and not is_known(revision):
            if not _is_enough(conn):
                raise StoreUnavailable("The database was made by a newer version of Chatkeep.")
            return
        config = _config()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def _lock(conn: sa.Connection) -> None:
    """Keep other processes out until the transaction ends, however long they have to wait."""
    conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
    conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    # Tables in use are not waited for: whoever asks for one later would wait behind it.
    conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{TABLE_LOCK_SECONDS}s'")


@contextmanager
def _loose_references(conn: sa.Connection) -> Iterator[None]:
    """Let SQLite replace a table, which would otherwise delete the rows that refer to it.

    The procedure is SQLite's own ("Making Other Kinds Of Table Schema Changes", ALTER TABLE).
    """
    driver = conn.connection.driver_connection
    if conn.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def is_known(revision: str) -> bool:
    """True if a revision is one of this program's, or of an older one's."""
    scripts = ScriptDirectory.from_config(_config())
    return revision in {script.revision for script in scripts.walk_revisions()}


def is_usable(conn: sa.Connection) -> bool:
    """True if the database has this program's schema, or a newer one that this program can use."""
    revision = _revision(conn)
    if revision == head():
        return True
    return revision is not None and not is_known(revision) and _is_enough(conn)


def _revision(conn: sa.Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


def _is_enough(conn: sa.Connection) -> bool:
    """True if a newer schema says that it can be used with revisions as old as this program's."""
    if not sa.inspect(conn).has_table(compatibility.name):
        return False
    oldest = conn.scalar(sa.select(sa.func.max(compatibility.c.revision)))
    return oldest is not None and oldest <= head()


@functools.cache
def head() -> str:
    """The revision of this program's schema; they are numbered."""
    return ScriptDirectory.from_config(_config()).get_heads()[0]
