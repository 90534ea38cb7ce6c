"""The server that a command speaks to: one that runs somewhere, or one of the command's own.

Every command speaks HTTP, so there is one way to do a thing. Without `--url` it is the server
that holds the local database; where none does, the command is that server as long as it runs.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import typer

from chatkeep import telemetry
from chatkeep.cli import configuration
from chatkeep.cli.chat.api import Refused, refusal, unreachable
from chatkeep.cli.process import interruptible
from chatkeep.settings import Settings

CONNECT_SECONDS = 10
READ_SECONDS = 600
"""A deletion from a large database takes its time."""


class NotThere(Refused):
    """What was asked for does not exist."""


@contextlib.contextmanager
def server(url: str | None, key: str | None, *, answers: bool = False) -> Iterator[httpx2.Client]:
    """A client of the server at `url`, or of the local one. `answers`: turns will be posted."""
    if url is not None:
        with interruptible(), _client(url, key) as client:
            yield client
        return
    settings = configuration.settings()
    with (
        local(settings, answers=answers) as address,
        interruptible(),
        _client(address, key) as client,
    ):
        yield client


@contextlib.contextmanager
def local(settings: Settings, *, answers: bool) -> Iterator[str]:
    """The address of the server that holds the local database; of one of our own if none does."""
    from chatkeep.domain.errors import StoreUnavailable
    from chatkeep.store.lock import address_of_holder

    try:
        holder = address_of_holder(database_path(settings))
    except StoreUnavailable as error:
        raise Refused(error.detail) from None
    if holder:
        yield holder
        return
    if holder == "":
        raise Refused("Another Chatkeep is using the database, and does not answer requests.")
    with _own(settings, answers=answers) as address:
        yield address


def database_path(settings: Settings) -> Path:
    """The file of the local database."""
    from chatkeep.store.database_files import database_file

    return database_file(settings.database)


@contextlib.contextmanager
def _own(settings: Settings, *, answers: bool) -> Iterator[str]:
    """A server in a thread of this process, on a free port of this machine alone."""
    import uvicorn

    from chatkeep.app import create_app
    from chatkeep.cli.server.base import Server
    from chatkeep.domain.errors import ChatError

    # Why the database fails is in the answer, which the command shows.
    events = ("database_failed", "response_broke_off")
    telemetry.configure(level="error", form="console", without=events)
    settings = settings.model_copy(update={"host": "127.0.0.1", "drain_seconds": 0.0})
    try:
        app = create_app(settings, answers=answers)
    except ChatError as error:
        raise Refused(error.detail) from None
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    listener = config.bind_socket()
    listener.set_inheritable(False)
    running = Server(config)

    def run() -> None:
        # It is known from `failure`, or was logged.
        with contextlib.suppress(ChatError, SystemExit):
            running.run(sockets=[listener])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not running.started:
            if not thread.is_alive():
                raise Refused(
                    getattr(app.state.lifecycle.failure, "detail", "The database cannot be opened.")
                )
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()


def _client(url: str, key: str | None) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        return httpx2.Client(base_url=url, headers=headers, timeout=timeout)
    except (httpx2.InvalidURL, ValueError):
        raise typer.BadParameter(f"{url} is no address of a server.") from None


def call(client: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    """Ask the server for something. Raises `Refused`, with what it said, and `NotThere`."""
    try:
        response = client.request(method, path, **options)
    except httpx2.RequestError as error:
        raise unreachable(client, error) from None
    return checked(response)


def found(response: httpx2.Response) -> Any:
    """The JSON of a response. Raises `Refused` if it is none: that is no Chatkeep."""
    try:
        return response.json()
    except ValueError:
        raise Refused("What answers there is no Chatkeep.") from None


def checked(response: httpx2.Response) -> httpx2.Response:
    """The response, if it is what was asked for. Raises `Refused` and `NotThere`."""
    if response.is_success:
        return response
    refused = refusal(response)
    if response.status_code == httpx2.codes.NOT_FOUND:
        raise NotThere(str(refused))
    raise refused


def session_path(session_id: str) -> str:
    """The path of a session, whatever characters its id has."""
    return f"/sessions/{quote(session_id, safe='')}"
