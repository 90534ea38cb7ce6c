"""`chatkeep backup` and `chatkeep restore`."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from chatkeep.cli import configuration
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.cli.options import Json, Yes, confirm
from chatkeep.cli.output import print_json, print_note
from chatkeep.cli.process import interruptible
from chatkeep.settings import Settings

if TYPE_CHECKING:
    from chatkeep.store.backup import Contents

commands = typer.Typer()

Target = Annotated[Path, typer.Argument(help="File to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Source = Annotated[Path, typer.Argument(help="A copy made by `chatkeep backup`.")]


@commands.command(
    help="""Copy the local database, even while a server is using it, and check the copy.

    The copy is a single file with every message acknowledged so far. That of a PostgreSQL database
    is made by pg_dump.

    \b
    Example:
      chatkeep backup chatkeep-backup.db
    """
)
def backup(file: Target, force: Force = False, json: Json = False) -> None:
    from chatkeep.store import backup as backups

    if file.exists() and not force:
        raise CommandError(f"{file} already exists; --force replaces it.")
    try:
        with interruptible():
            contents = _copy(configuration.settings(), file)
    except backups.NoBackup as error:
        raise CommandError(str(error)) from None
    if json:
        print_json({"file": str(file), **asdict(contents)})
        return
    counts = f"{contents.sessions:,} sessions, {contents.messages:,} messages"
    typer.echo(f"{file}: {counts}, {contents.bytes:,} bytes, checked.")


@commands.command(
    help="""Replace the local database with a backup. Stop the server first.

    The previous database stays in the same folder, under another name. For PostgreSQL, it only says
    what to do.

    \b
    Example:
      chatkeep restore chatkeep-backup.db
    """
)
def restore(file: Source, yes: Yes = False, json: Json = False) -> None:
    from chatkeep.cli.server.local import database_path
    from chatkeep.store import backup as backups

    settings = configuration.settings()
    if not file.is_file():
        raise CommandError(f"There is no file {file}.")
    if settings.uses_postgres:
        _explain_restore(settings, file)
    database = database_path(settings)
    if not yes:
        confirm(f"Replace {database} with {file}?", is_json=json)
    try:
        with interruptible():
            contents, previous = backups.restore(file, database)
    except backups.NoBackup as error:
        raise CommandError(str(error)) from None
    if json:
        before = None if previous is None else str(previous)
        print_json({"database": str(database), "before": before, **asdict(contents)})
        return
    typer.echo(f"{database}: {contents.sessions:,} sessions, {contents.messages:,} messages.")
    if previous is not None:
        typer.echo(f"The previous database is now {previous}.")


def _copy(settings: Settings, file: Path) -> "Contents":
    """Back a database up. Raises `NoBackup`."""
    from chatkeep.cli.server.local import database_path
    from chatkeep.store import backup as backups

    if not settings.uses_postgres:
        return backups.copy(database_path(settings), file)
    # Heavy, and not needed for a file.
    from chatkeep.store import dump

    return dump.dump(settings.database, file)


def _explain_restore(settings: Settings, file: Path) -> NoReturn:
    """Print how a backup gets into PostgreSQL, and end the program: nothing was done."""
    from chatkeep.store import dump
    from chatkeep.store.backup import NoBackup

    try:
        address, _ = dump.without_password(settings.database)
    except NoBackup as error:
        raise CommandError(str(error)) from None
    options = "--clean --if-exists --no-owner --no-privileges --single-transaction"
    print_note(
        "The database is PostgreSQL; nothing was changed. Stop every Chatkeep that uses it, and "
        "replace what is in it by running this (with the password in PGPASSWORD):\n"
        f"pg_restore {options} --dbname={shlex.quote(address)} {shlex.quote(str(file))}"
    )
    raise typer.Exit(ExitCode.FAILED)
