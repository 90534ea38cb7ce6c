"""Bring a database to this program's schema. All revisions run in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from chatkeep.domain.errors import StoreUnavailable


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(conn: sa.Connection) -> None:
    """Run the revisions that `conn`'s database lacks, in one transaction.

    Raises:
        StoreUnavailable: The database was made by a newer version of Chatkeep.

    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    with conn.begin():
        current = MigrationContext.configure(conn).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise StoreUnavailable("The database was made by a newer version of Chatkeep.")
    with _loose_references(conn), conn.begin():
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


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


def is_current(conn: sa.Connection) -> bool:
    """True if the database has this program's schema."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return MigrationContext.configure(conn).get_current_revision() == head
