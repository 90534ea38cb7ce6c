"""`chatkeep serve` as a process: its socket, its signals, its shutdown."""

import asyncio
import gc
import os
import signal
import sys
from importlib.util import find_spec
from socket import IPPROTO_TCP, socket

import uvicorn

from chatkeep.app import Lifecycle, create_app
from chatkeep.cli.configuration import fail
from chatkeep.cli.errors import ExitCode
from chatkeep.cli.output import print_note
from chatkeep.cli.server.base import Server
from chatkeep.domain.errors import ChatError
from chatkeep.settings import Settings

RESPONSE_SECONDS = 5
"""How much longer than turns connections may take at the end, to send their responses."""

GC_THRESHOLD = (10_000, 20, 50)
"""A turn makes few cycles, and there are half a million objects of libraries to look through."""


def run(settings: Settings) -> None:
    """Serve until a signal ends the process. Exits with an error if the server cannot start."""
    config = uvicorn.Config(
        "unused",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        # Its own reading of forwarded headers believes every peer on this machine.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + RESPONSE_SECONDS,
    )
    gc.set_threshold(*GC_THRESHOLD)
    # Bound before anything else: a second server on this port must not touch the data.
    listener = _bind(config, settings)
    try:
        config.app = app = create_app(settings)
        if find_spec("httptools") is not None:  # else uvicorn reads HTTP with h11, and its limits
            from chatkeep.cli.server.protocol import bounded_protocol

            config.http = bounded_protocol(settings.body_timeout)
        _ForegroundServer(config, app.state.lifecycle, settings, listener).run(sockets=[listener])
    except ChatError as error:
        fail(error.detail)
    except SystemExit:  # uvicorn has logged why
        sys.exit(ExitCode.FAILED)


def _bind(config: uvicorn.Config, settings: Settings) -> socket:
    try:
        listener = config.bind_socket()
    except SystemExit:  # uvicorn has logged why
        fail(f"Cannot listen on {settings.host}:{settings.port}; choose another port with --port.")
    # uvicorn makes it inheritable, for workers that it does not have here.
    listener.set_inheritable(False)
    if sys.platform == "linux":  # macOS has no such option
        from socket import TCP_USER_TIMEOUT

        # Drop what a reader that is gone or stuck has not taken; connections inherit this.
        listener.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, int(settings.reader_timeout * 1_000))
    return listener


class _ForegroundServer(Server):
    """A server that prints its address, and finishes turns after a signal."""

    def __init__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        settings: Settings,
        listener: socket,
    ) -> None:
        super().__init__(config, lifecycle)
        self._settings = settings
        host, port = listener.getsockname()[:2]
        self._address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        signal.signal(signal.SIGTERM, self._exit_unless_started)
        signal.signal(signal.SIGINT, self._exit_unless_started)

    def _exit_unless_started(self, number: int, _frame: object) -> None:
        # uvicorn replaces this handler while it runs, and at its end raises the signal again.
        if not self.started:
            os._exit(128 + number)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        if self._lifecycle.warming is not None:
            self._lifecycle.warming.add_done_callback(lambda _: gc.freeze())
        services = self._lifecycle.services
        services.store.announce(self._address, services.access.local_secret)
        print_note(f"Chatkeep answers on {self._address} with {self._settings.model}.")
        if (notice := self._lifecycle.services.providers.notice) is not None:
            print_note(notice.replace("`", ""))

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # Beside uvicorn's own wait: the responses of running turns end when these do.
        draining = asyncio.create_task(self._lifecycle.drain(self._settings.drain_seconds))
        await super().shutdown(sockets)
        await draining
