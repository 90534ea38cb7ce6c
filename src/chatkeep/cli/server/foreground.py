"""The server as a process: its socket, its signals, its last words."""

import asyncio
import gc
import os
import signal
import socket
import sys
from importlib.util import find_spec
from typing import Any

import uvicorn

from chatkeep.api.problems import respond
from chatkeep.app import Lifecycle, create_app
from chatkeep.cli.configuration import fail
from chatkeep.cli.output import FAILED, note
from chatkeep.cli.server.base import Server
from chatkeep.domain.errors import ChatError
from chatkeep.settings import Settings

LAST_WORDS_SECONDS = 5
"""What connections get beyond the turns, to send their answers."""

GARBAGE = (10_000, 20, 50)
"""New objects, and rounds, after which the next generation is looked through for garbage."""


def run(settings: Settings) -> None:
    """Serve until a signal ends it."""
    config = uvicorn.Config(
        "unused",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + LAST_WORDS_SECONDS,
    )
    # A turn makes few cycles, and there are half a million objects of libraries to look through.
    gc.set_threshold(*GARBAGE)
    # Bound before anything else: a second server on this port must not touch the data.
    try:
        listener = config.bind_socket()
    except SystemExit:  # uvicorn has logged why
        fail(f"{settings.host}:{settings.port} cannot be listened on; --port takes another.")
    # uvicorn makes it inheritable, for workers that it does not have here.
    listener.set_inheritable(False)
    if sys.platform == "linux":
        # What a reader that is gone or stuck has not taken is forgotten; connections inherit it.
        patience = int(settings.reader_timeout * 1_000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
    try:
        config.app = create_app(settings)
        if find_spec("httptools") is not None:  # else uvicorn reads HTTP with h11, and its limits
            from chatkeep.cli.server.protocol import bounded

            config.http = bounded(settings.body_timeout, respond)
        _Server(config, settings, listener).run(sockets=[listener])
    except ChatError as error:
        fail(error.detail)
    except SystemExit:  # uvicorn has logged why
        sys.exit(FAILED)


class _Server(Server):
    """A server that says where it answers, and lets turns end when a signal ends it."""

    def __init__(self, config: uvicorn.Config, settings: Settings, listener: socket.socket) -> None:
        super().__init__(config)
        self._settings = settings
        self._lifecycle: Lifecycle = config.app.state.lifecycle  # type: ignore[union-attr]  # an application of FastAPI
        host, port = listener.getsockname()[:2]
        self._address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, number: int, _frame: object) -> None:
        """Take a signal before uvicorn does, and after: it raises again what it got."""
        if not self.started:
            os._exit(128 + number)

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if self._lifecycle.warming is not None:
            self._lifecycle.warming.add_done_callback(lambda _: gc.freeze())
        self._lifecycle.services.store.announce(self._address)
        note(f"Chatkeep answers on {self._address} with {self._settings.model}.")
        if (notice := self._lifecycle.services.providers.notice) is not None:
            note(notice.replace("`", ""))

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        # Beside uvicorn's own wait: turns end, or whoever waits for them is told why not.
        draining = asyncio.create_task(self._lifecycle.drain(self._settings.drain_seconds))
        await super().shutdown(sockets)
        await draining
