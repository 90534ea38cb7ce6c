"""The server that has the local database open, started in this process if there is none."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from chatkeep.cli.errors import CommandError
from chatkeep.domain.errors import StoreUnavailable
from chatkeep.settings import Settings
from chatkeep.store.database_files import database_file
from chatkeep.store.lock import address_of_holder


@contextlib.contextmanager
def local_server(settings: Settings, *, answers: bool) -> Iterator[str]:
    """Find or start the server of the local database; return its address.

    Args:
        settings: Of this machine.
        answers: Whether a server of this process takes turns.

    Raises:
        CommandError: The database cannot be used.

    """
    try:
        address = address_of_holder(database_path(settings))
    except StoreUnavailable as error:
        raise CommandError(error.detail) from None
    if address:
        yield address
        return
    if address == "":
        raise CommandError("Another Chatkeep is using the database, and does not answer requests.")
    # Heavy: a command beside a running server does without it.
    from chatkeep.cli.server.threaded import own_server

    with own_server(settings, answers=answers) as address:
        yield address


def database_path(settings: Settings) -> Path:
    """Return the file of the local database."""
    return database_file(settings.database)
