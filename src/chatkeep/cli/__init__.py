"""The `chatkeep` command: its options and exit codes.

Every module that does something is imported when its command runs: `--help` is quick.
"""

import sys
from typing import Annotated

import typer

from chatkeep import __version__
from chatkeep.cli.commands import (
    backup,
    chat,
    doctor,
    models,
    openapi,
    search,
    serve,
    sessions,
    transfer,
    usage,
)
from chatkeep.cli.output import FAILED, NOT_THERE, STOPPED, UNREAD, WRONG, complain
from chatkeep.cli.process import drop_output

cli = typer.Typer(
    name="chatkeep",
    help="Keeps conversations with a language model. Never loses a word.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    chat.chat,
    search.search,
    transfer.export,
    transfer.import_,
    backup.backup,
    backup.restore,
    doctor.doctor,
    models.models,
    usage.usage,
    serve.serve,
    openapi.openapi,
):
    cli.command(name=command.__name__.rstrip("_"))(command)
cli.add_typer(sessions.sessions, name="sessions")


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
    from chatkeep.cli.chat.api import Refused
    from chatkeep.cli.client import NotThere

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
