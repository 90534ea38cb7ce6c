"""Bring a database to this program's schema. All revisions run in one transaction."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from chatkeep.domain import StoreUnavailable


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(conn: sa.Connection) -> None:
    """Run the revisions that `conn`'s database lacks. Killed in the middle, it changed nothing.

    Raises `StoreUnavailable` when the database was made by a newer Chatkeep.
    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    with conn.begin():
        current = MigrationContext.configure(conn).get_current_revision()
        if current == scripts.get_current_head():
            return
        if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
            raise StoreUnavailable("The database was made by a newer version of Chatkeep.")
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def is_current(conn: sa.Connection) -> bool:
    """Whether the database has this program's schema."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    return MigrationContext.configure(conn).get_current_revision() == head
