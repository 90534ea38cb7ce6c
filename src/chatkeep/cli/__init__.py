"""The `chatkeep` command.

Every module that does something is imported when its command runs: `--help` is quick.
"""

import sys
from typing import Annotated

import typer

from chatkeep import __version__
from chatkeep.cli import client
from chatkeep.cli.commands import (
    backup,
    chat,
    doctor,
    erase,
    keys,
    migrate_database,
    models,
    openapi,
    search,
    serve,
    sessions,
    tenants,
    transfer,
    usage,
)
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.cli.output import print_error
from chatkeep.cli.process import drop_output

cli = typer.Typer(
    name="chatkeep",
    help="Store conversations with language models, without losing a word.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (
    chat,
    search,
    transfer,
    backup,
    erase,
    migrate_database,
    doctor,
    models,
    usage,
    serve,
    openapi,
    sessions,
    keys,
    tenants,
):
    cli.add_typer(module.commands)


def main() -> None:
    """Run the command line and end the process with an `ExitCode`."""
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.UNREAD
    except OSError as error:
        print_error(f"{error.filename or 'The output cannot be written'}: {error.strerror}.")
        # Where it was an error of Typer's that could not be written, its code counts.
        code = getattr(error.__context__, "exit_code", ExitCode.FAILED)
    drop_output()
    sys.exit(code)


def _run() -> int:
    """Run a command; return its exit code. Raises `OSError` if its output cannot be written."""
    try:
        cli()
    except SystemExit as end:
        # Typer and Rich end the program by themselves when nobody reads the output.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    except CommandError as error:
        print_error(str(error))
        return error.exit_code
    except UnicodeError:
        print_error("The input is not UTF-8.")
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"chatkeep {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    tenant: Annotated[
        str | None,
        typer.Option(
            envvar="CHATKEEP_TENANT",
            help="Whose sessions, on the server's own machine. By default `default`, or the key's.",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            envvar="CHATKEEP_USER", help="The user of the tenant whose sessions they are."
        ),
    ] = None,
) -> None:
    client.on_behalf_of(tenant=tenant, user=user)
