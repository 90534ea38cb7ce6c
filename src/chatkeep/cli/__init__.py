"""The `chatkeep` command."""

import asyncio
import json
import logging
import signal
import socket
import sys
import tempfile
import tomllib
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from chatkeep import __version__
from chatkeep.settings import ConfigurationError, Settings, unknown_variables

cli = typer.Typer(
    name="chatkeep",
    help="Keeps conversations with a language model. Never loses a word.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
)

EXIT_CONFIGURATION = 2
LAST_WORDS_SECONDS = 5
"""What connections get beyond the turns, to send their answers."""


def main() -> None:
    """Run the command line."""
    cli()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chatkeep {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    model: Annotated[str | None, typer.Option(help="The default model, as provider:name.")] = None,
) -> None:
    """Run the server.

    Every option is a setting too: CHATKEEP_HOST, CHATKEEP_PORT, CHATKEEP_MODEL. Without any,
    the embedded model answers on http://127.0.0.1:8000.
    """
    from chatkeep import telemetry  # the server's packages would slow down --help

    settings = _settings(host=host, port=port, model=model)
    telemetry.configure(level=settings.log_level, form=settings.log_format)
    for name in unknown_variables():
        telemetry.logger("cli").warning("unknown_setting", variable=name)
    _run(settings)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of the server's API."""
    from chatkeep.app import create_app  # it would slow down --help

    with tempfile.TemporaryDirectory() as folder:
        plain = {"database_url": "", "model": "openai:any", "models": "", "title_model": ""}
        app = create_app(_settings(data_dir=folder, **plain))
        typer.echo(json.dumps(app.openapi(), indent=2, ensure_ascii=False))
        app.state.store.close()


def _run(settings: Settings) -> None:
    import uvicorn

    from chatkeep.app import create_app
    from chatkeep.domain import ChatError

    config = uvicorn.Config(
        "unused",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_seconds) + LAST_WORDS_SECONDS,
    )
    # Bound before anything else: a second server on this port must not touch the data.
    try:
        listener = config.bind_socket()
    except SystemExit:  # uvicorn has logged why
        _fail(f"{settings.host}:{settings.port} cannot be listened on; --port takes another.")
    if sys.platform == "linux":
        # What a reader that is gone or stuck has not taken is forgotten; connections inherit it.
        patience = int(settings.reader_timeout * 1_000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
    # A stream whose reader is gone is left as it is; that is no error.
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing response" not in record.getMessage()
    )
    try:
        app = create_app(settings)
    except ChatError as error:
        _fail(error.detail)
    config.app = app
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[Any] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                typer.echo(
                    f"Chatkeep answers on http://{shown}:{port} with {settings.model}.", err=True
                )

        async def shutdown(self, sockets: list[Any] | None = None) -> None:
            # Beside uvicorn's own wait: turns end, or whoever waits for them is told why not.
            draining = asyncio.create_task(app.state.engine.close(settings.drain_seconds))
            await super().shutdown(sockets)
            await draining

    # What uvicorn got is raised again when it has ended in order: here is nothing left to do.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    Server(config).run(sockets=[listener])


def _settings(**options: object) -> Settings:
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # Typer has checked the options' types
    except ValidationError as error:
        lines = []
        for found in error.errors():
            words = found["msg"].removeprefix("Value error, ")
            name = "_".join(str(part) for part in found["loc"])
            lines.append(f"The setting {name} cannot be used: {words}." if name else f"{words}.")
        _fail("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        _fail(f"The configuration file is not TOML: {error}.")
    except ConfigurationError as error:
        _fail(str(error))


def _fail(words: str) -> NoReturn:
    typer.echo(f"chatkeep cannot start.\n{words}", err=True)
    sys.exit(EXIT_CONFIGURATION)
