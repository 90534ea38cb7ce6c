"""The `chatkeep` command: what there is to say, and where each command is.

Every module that does something is imported when its command runs: `--help` is quick.
"""

import json
import sys
import tempfile
from typing import Annotated

import typer

from chatkeep import __version__
from chatkeep.cli import archive, backups, configuration, look, manage, talk
from chatkeep.cli.process import drop_output, interruptible
from chatkeep.cli.show import FAILED, NOT_THERE, STOPPED, UNREAD, WRONG, complain
from chatkeep.settings import unknown_variables

cli = typer.Typer(
    name="chatkeep",
    help="Keeps conversations with a language model. Never loses a word.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    talk.chat,
    manage.search,
    archive.export,
    archive.import_,
    backups.backup,
    backups.restore,
    look.doctor,
    look.models,
    look.usage,
):
    cli.command(name=command.__name__.rstrip("_"))(command)
cli.add_typer(manage.sessions, name="sessions")


def main() -> None:
    """Run the command line and end the program.

    Exit codes: 0 done, 1 it could not be done, 2 wrong usage or settings, 3 there is no such
    thing, 130 stopped by Ctrl-C, 141 whoever read the output has closed it. The last two are what
    a shell shows for programs that SIGINT and SIGPIPE have ended.
    """
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        code = UNREAD
    except OSError as error:
        complain(f"{error.filename or 'The output cannot be written'}: {error.strerror}.")
        # Where it was a complaint of Typer's that could not be written, its code counts.
        code = getattr(error.__context__, "exit_code", FAILED)
    drop_output()
    sys.exit(code)


def _run() -> int:
    """Run a command; return its exit code. Raises `OSError` if its output cannot be written."""
    from chatkeep.cli.chat_api import Refused
    from chatkeep.cli.reach import NotThere

    try:
        cli()
    except SystemExit as end:
        # Typer and Rich end the program by themselves when nobody reads the output.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else FAILED
    except Refused as refused:
        complain(str(refused))
        return NOT_THERE if isinstance(refused, NotThere) else FAILED
    except UnicodeError:
        complain("That is not UTF-8.")
        return WRONG
    except KeyboardInterrupt:
        return STOPPED
    return 0


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

    Each option can be set in the environment too: CHATKEEP_HOST, CHATKEEP_PORT, CHATKEEP_MODEL.
    By default the built-in model answers at http://127.0.0.1:8000.

    \b
    Examples:
      chatkeep serve
      chatkeep serve --port 9000 --model openai:gpt-6-luna
    """
    from chatkeep import telemetry
    from chatkeep.cli.serve import run
    from chatkeep.redaction import Redactor

    settings = configuration.settings(host=host, port=port, model=model)
    redact = Redactor(settings.secrets).redact
    telemetry.configure(level=settings.log_level, form=settings.log_format, redact=redact)
    for name in unknown_variables():
        telemetry.logger("cli").warning("unknown_setting", variable=name)
    run(settings)


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of the server's API.

    \b
    Example:
      chatkeep openapi > openapi.json
    """
    from chatkeep import telemetry
    from chatkeep.app import create_app

    telemetry.configure(level="error", form="console")
    with interruptible(), tempfile.TemporaryDirectory() as folder:
        plain = {"database_url": "", "model": "openai:any", "models": "", "title_model": ""}
        app = create_app(configuration.settings(data_dir=folder, **plain))
        typer.echo(json.dumps(app.openapi(), indent=2, ensure_ascii=False))
