"""The server that has the local database open, started in this process if there is none."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from chatkeep.cli.errors import CommandError
from chatkeep.domain.errors import StoreUnavailable
from chatkeep.settings import Settings
from chatkeep.store.database_files import database_file
from chatkeep.store.lock import Holder, find_holder


@contextlib.contextmanager
def local_server(settings: Settings, *, answers: bool) -> Iterator[Holder]:
    """Find or start the server of the local database; yield how it is called.

    Args:
        settings: Of this machine.
        answers: Whether a server of this process takes turns.

    Raises:
        CommandError: The database cannot be used.

    """
    try:
        # At PostgreSQL a command is one more process beside the servers.
        holder = None if settings.uses_postgres else find_holder(database_path(settings))
    except StoreUnavailable as error:
        raise CommandError(error.detail) from None
    if holder is not None and holder.address:
        yield holder
        return
    if holder is not None:
        raise CommandError("Another Chatkeep is using the database, and does not answer requests.")
    # Heavy: a command beside a running server does without it.
    from chatkeep.cli.server.threaded import own_server

    with own_server(settings, answers=answers) as own:
        yield own


def database_path(settings: Settings) -> Path:
    """Return the file of the local database. Raises `CommandError` if it is in no file."""
    if settings.uses_postgres:
        raise CommandError("This command is for a database in a file, and this one is PostgreSQL.")
    return database_file(settings.database)
