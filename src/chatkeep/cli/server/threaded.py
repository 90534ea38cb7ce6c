"""A server in a thread of this process, for the length of a command."""

import contextlib
import threading
from collections.abc import Iterator
from socket import socket

import uvicorn

from chatkeep import telemetry
from chatkeep.app import Lifecycle, create_app
from chatkeep.cli.errors import CommandError
from chatkeep.cli.server.base import Server
from chatkeep.domain.errors import ChatError
from chatkeep.settings import Settings
from chatkeep.store.lock import Holder


@contextlib.contextmanager
def own_server(settings: Settings, *, answers: bool) -> Iterator[Holder]:
    """Run a server on a free port that only this machine reaches; yield how it is called.

    Args:
        settings: Of this machine.
        answers: Whether the server takes turns.

    Raises:
        CommandError: It cannot start.

    """
    # Why the database fails is in the response, which the command prints.
    events = ("database_failed", "response_broke_off")
    telemetry.configure(level="error", form="console", without=events)
    settings = settings.model_copy(update={"host": "127.0.0.1", "drain_seconds": 0.0})
    try:
        app = create_app(settings, answers=answers)
    except ChatError as error:
        raise CommandError(error.detail) from None
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, proxy_headers=False
    )
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
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Holder(address, app.state.services.access.local_secret)
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
