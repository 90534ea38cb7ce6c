"""`chatkeep backup` and `chatkeep restore`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chatkeep.cli import configuration
from chatkeep.cli.errors import CommandError
from chatkeep.cli.options import Json, Yes, confirm
from chatkeep.cli.output import print_json
from chatkeep.cli.process import interruptible

commands = typer.Typer()

Target = Annotated[Path, typer.Argument(help="File to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file.")]
Source = Annotated[Path, typer.Argument(help="A copy made by `chatkeep backup`.")]


@commands.command(
    help="""Copy the local database, even while a server is using it, and check the copy.

    The copy is a single file with every message acknowledged so far.

    \b
    Example:
      chatkeep backup chatkeep-backup.db
    """
)
def backup(file: Target, force: Force = False, json: Json = False) -> None:
    from chatkeep.cli.server.local import database_path
    from chatkeep.store import backup as backups

    if file.exists() and not force:
        raise CommandError(f"{file} already exists; --force replaces it.")
    try:
        with interruptible():
            contents = backups.copy(database_path(configuration.settings()), file)
    except backups.NoBackup as error:
        raise CommandError(str(error)) from None
    if json:
        print_json({"file": str(file), **asdict(contents)})
        return
    counts = f"{contents.sessions:,} sessions, {contents.messages:,} messages"
    typer.echo(f"{file}: {counts}, {contents.bytes:,} bytes, checked.")


@commands.command(
    help="""Replace the local database with a backup. Stop the server first.

    The previous database stays in the same folder, under another name.

    \b
    Example:
      chatkeep restore chatkeep-backup.db
    """
)
def restore(file: Source, yes: Yes = False, json: Json = False) -> None:
    from chatkeep.cli.server.local import database_path
    from chatkeep.store import backup as backups

    database = database_path(configuration.settings())
    if not file.is_file():
        raise CommandError(f"There is no file {file}.")
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
