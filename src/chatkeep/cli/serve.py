"""The server as a process: its socket, its signals, its last words."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from importlib.util import find_spec
from typing import Any

import typer
import uvicorn

from chatkeep.app import create_app, respond
from chatkeep.cli.configuration import fail
from chatkeep.domain import ChatError
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
        app = create_app(settings)
    except ChatError as error:
        fail(error.detail)
    config.app = app
    if find_spec("httptools") is not None:  # else uvicorn reads HTTP with h11, and its limits
        from chatkeep.cli.protocol import bounded

        config.http = bounded(settings.body_timeout, respond)
    # A stream whose reader is gone is left as it is; that is no error. And why it cannot start is
    # said below, in fewer words.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: (
            app.state.failure is None and "without completing response" not in record.getMessage()
        )
    )
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[Any] | None = None) -> None:
            try:
                await super().startup(sockets)
            except SystemExit:
                if app.state.failure is not None:
                    fail(app.state.failure.detail)
                raise
            if self.started:
                app.state.warming.add_done_callback(lambda _: gc.freeze())
                app.state.store.announce(f"http://{shown}:{port}")
                typer.echo(
                    f"Chatkeep answers on http://{shown}:{port} with {settings.model}.", err=True
                )
                if (notice := app.state.providers.notice) is not None:
                    typer.echo(notice.replace("`", ""), err=True)

        async def shutdown(self, sockets: list[Any] | None = None) -> None:
            # Beside uvicorn's own wait: turns end, or whoever waits for them is told why not.
            draining = asyncio.create_task(app.state.engine.close(settings.drain_seconds))
            await super().shutdown(sockets)
            await draining

    # What uvicorn got is raised again when it has ended in order: here is nothing left to do.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    Server(config).run(sockets=[listener])
