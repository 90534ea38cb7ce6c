"""The server that has the local database open, started in this process if there is none."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import uvicorn

from chatkeep import telemetry
from chatkeep.app import Lifecycle, create_app
from chatkeep.cli.errors import CommandError
from chatkeep.cli.server.base import Server
from chatkeep.domain.errors import ChatError, StoreUnavailable
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
    with _own_server(settings, answers=answers) as address:
        yield address


def database_path(settings: Settings) -> Path:
    """Return the file of the local database."""
    return database_file(settings.database)


@contextlib.contextmanager
def _own_server(settings: Settings, *, answers: bool) -> Iterator[str]:
    """Run a server in a thread, on a free port that only this machine reaches."""
    # Why the database fails is in the response, which the command prints.
    events = ("database_failed", "response_broke_off")
    telemetry.configure(level="error", form="console", without=events)
    settings = settings.model_copy(update={"host": "127.0.0.1", "drain_seconds": 0.0})
    try:
        app = create_app(settings, answers=answers)
    except ChatError as error:
        raise CommandError(error.detail) from None
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    listener = config.bind_socket()
    listener.set_inheritable(False)
    server = _ThreadedServer(config, app.state.lifecycle)
    thread = threading.Thread(target=server.serve_on, args=(listener,), daemon=True)
    thread.start()
    try:
        server.is_ready.wait()
        if not server.started:
            failure = server.failure
            raise CommandError(failure.detail if failure else "The database cannot be opened.")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class _ThreadedServer(Server):
    """A server beside the thread that uses it."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        super().__init__(config, lifecycle)
        self.is_ready = threading.Event()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_ready.set()

    def serve_on(self, listener: socket) -> None:
        # Why it could not start is in `failure`, or was logged.
        with contextlib.suppress(ChatError, SystemExit):
            self.run(sockets=[listener])
        self.is_ready.set()
