"""`chatkeep serve` as a process: its socket, its signals, its shutdown."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from socket import IPPROTO_TCP, socket
from types import FrameType

import uvicorn

from chatkeep import telemetry
from chatkeep.app import Lifecycle, create_app
from chatkeep.cli.configuration import fail
from chatkeep.cli.errors import ExitCode
from chatkeep.cli.output import print_note
from chatkeep.cli.server.base import Server
from chatkeep.domain.errors import ChatError
from chatkeep.redaction import Redactor
from chatkeep.settings import Settings

RESPONSE_SECONDS = 5
"""How much longer than turns connections may take at the end, to send their responses."""

PING_SECONDS = 20
"""How often the client of a WebSocket is asked for a sign of life, and how long it may take."""

NEW_SECONDS = 0.6
"""For how long a server that has closed its socket still takes turns, if it was to leave slowly."""

GC_THRESHOLD = (10_000, 20, 50)
"""A turn makes few cycles, and there are half a million objects of libraries to look through."""


def log(settings: Settings) -> None:
    """Write the log of this process as the settings say, and never their secrets."""
    redact = Redactor(settings.secrets).redact
    telemetry.configure(level=settings.log_level, form=settings.log_format, redact=redact)


def run(settings: Settings) -> None:
    """Serve until a signal ends the process. Exits with an error if the server cannot start."""
    # Bound before anything else: a second server on this port must not touch the data.
    listener = bind(settings)

    def announce(notice: str | None) -> None:
        print_note(f"Chatkeep answers on {address_of(listener)} with {settings.model}.")
        if notice is not None:
            print_note(notice.replace("`", ""))

    serve(settings, listener, announce)


def serve(settings: Settings, listener: socket, announce: Callable[[str | None], None]) -> None:
    """Serve on a socket until a signal ends the process.

    Args:
        settings: Of the server.
        listener: A socket that listens.
        announce: Called when the server is ready, with what users should know of its model.

    """
    gc.set_threshold(*GC_THRESHOLD)
    config = _config(settings)
    try:
        config.app = app = create_app(settings)
        if find_spec("httptools") is not None:  # else uvicorn reads HTTP with h11, and its limits
            from chatkeep.cli.server.protocol import bounded_protocol

            config.http = bounded_protocol(settings.body_timeout)
        server = _ForegroundServer(config, app.state.lifecycle, settings, listener, announce)
        server.run(sockets=[listener])
    except ChatError as error:
        fail(error.detail)
    except SystemExit:  # uvicorn has logged why
        sys.exit(ExitCode.FAILED)


def address_of(listener: socket) -> str:
    """Return the URL at which a socket listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        "unused",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        # Its own reading of forwarded headers believes every peer on this machine.
        proxy_headers=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=max(settings.max_body_bytes, settings.max_chat_bytes),
        # A client that has vanished is noticed within both.
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        # The events of a response are short: to compress each would cost more than it saves.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + RESPONSE_SECONDS,
    )


def bind(settings: Settings) -> socket:
    """Listen at the address of the settings. Exits with an error if that is impossible."""
    try:
        listener = _config(settings).bind_socket()
    except SystemExit:  # uvicorn has logged why
        fail(f"Cannot listen on {settings.host}:{settings.port}; choose another port with --port.")
    # uvicorn makes it inheritable, for workers of its own.
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
        announce: Callable[[str | None], None],
    ) -> None:
        super().__init__(config, lifecycle)
        self._settings = settings
        self._address = address_of(listener)
        self._announce = announce
        self._is_leaving = False
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
        self._loop = asyncio.get_running_loop()
        if self._lifecycle.warming is not None:
            self._lifecycle.warming.add_done_callback(lambda _: gc.freeze())
        services = self._lifecycle.services
        services.store.announce(self._address, services.access.local_secret)
        self._announce(services.providers.notice)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, after a delay in which a balancer notices; a second signal stops at once."""
        delay = self._settings.leaving_seconds
        if sig != signal.SIGTERM or self._is_leaving or not delay:
            super().handle_exit(sig, frame)
            return
        self._is_leaving = True
        self._loop.call_soon_threadsafe(self._lifecycle.leave)
        self._loop.call_soon_threadsafe(
            self._loop.call_later, delay, super().handle_exit, sig, frame
        )

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # Beside uvicorn's own wait: the responses of running turns end when these do.
        draining = asyncio.create_task(self._drain())
        await super().shutdown(sockets)
        await draining

    async def _drain(self) -> None:
        if self._is_leaving:
            # Connections that were accepted a moment ago may still bring a request.
            await asyncio.sleep(NEW_SECONDS)
        await self._lifecycle.drain(self._settings.drain_seconds)
