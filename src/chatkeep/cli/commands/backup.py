"""`chatkeep backup` and `chatkeep restore`: the local database, copied and put back."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chatkeep.cli.output import Json, as_json, confirm
from chatkeep.cli.process import interruptible


def backup(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Copy the local database, even while a server uses it, and check the copy.

    The copy is a single file with every message that was acknowledged so far.

    \b
    Example:
      chatkeep backup chatkeep-backup.db
    """
    from chatkeep.cli import configuration
    from chatkeep.cli.chat.api import Refused
    from chatkeep.cli.client import database_path
    from chatkeep.store import backup as copies

    if file.exists() and not force:
        raise Refused(f"{file} is there already; --force replaces it.")
    try:
        with interruptible():
            found = copies.copy(database_path(configuration.settings()), file)
    except copies.NoBackup as error:
        raise Refused(str(error)) from None
    if json:
        as_json({"file": str(file), **asdict(found)})
    else:
        size = f"{found.bytes:,} bytes, checked"
        typer.echo(f"{file}: {found.sessions:,} sessions, {found.messages:,} messages, {size}.")


def restore(
    file: Annotated[Path, typer.Argument(help="A copy made by `chatkeep backup`.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: Json = False,
) -> None:
    """Replace the local database with a backup. Stop the server first.

    The database that was there is kept beside it, under another name.

    \b
    Example:
      chatkeep restore chatkeep-backup.db
    """
    from chatkeep.cli import configuration
    from chatkeep.cli.chat.api import Refused
    from chatkeep.cli.client import database_path
    from chatkeep.store import backup as copies

    target = database_path(configuration.settings())
    if not file.is_file():
        raise Refused(f"There is no file {file}.")
    if not yes:
        confirm(f"Put {file} in the place of {target}?", as_json=json)
    try:
        with interruptible():
            found, before = copies.restore(file, target)
    except copies.NoBackup as error:
        raise Refused(str(error)) from None
    if json:
        kept = None if before is None else str(before)
        as_json({"database": str(target), "before": kept, **asdict(found)})
        return
    typer.echo(f"{target}: {found.sessions:,} sessions, {found.messages:,} messages.")
    if before is not None:
        typer.echo(f"What was there before is in {before}.")
