"""`chatkeep erase`."""

import asyncio

import typer

from chatkeep.cli import configuration
from chatkeep.cli.errors import CommandError
from chatkeep.cli.options import Json, Yes, confirm
from chatkeep.cli.output import print_json, print_note
from chatkeep.settings import Settings

commands = typer.Typer()

REMAINS = (
    "This cannot remove it from the files of PostgreSQL's write-ahead log until they are "
    "overwritten, nor from their archive, from standbys' logs and from backups until their own "
    "retention ends."
)

QUESTION = (
    "Every table is locked while it is written anew, and needs as much space once more. Continue?"
)


@commands.command(
    help="""Remove what is deleted from the files of the database.

    In SQLite, a deletion does that by itself; the command only completes one that was interrupted.
    In PostgreSQL, every table is written anew (VACUUM FULL) and is locked meanwhile: run it when
    nobody needs the server. Write-ahead logs, standbys and backups have what is deleted until their
    own retention ends.

    \b
    Example:
      chatkeep erase --yes
    """
)
def erase(yes: Yes = False, json: Json = False) -> None:
    from chatkeep import telemetry
    from chatkeep.redaction import Redactor

    settings = configuration.settings()
    redact = Redactor(settings.secrets).redact
    telemetry.configure(level="error", form="console", redact=redact)
    if not settings.uses_postgres:
        _purge(settings)
        _print_result(json=json, tables=[], has_checkpoint=True)
        return
    if not yes:
        confirm(QUESTION, is_json=json)
    _purge(settings)
    tables, has_checkpoint = _rewrite(settings, shows=not json)
    _print_result(json=json, tables=tables, has_checkpoint=has_checkpoint, remains=REMAINS)


def _purge(settings: Settings) -> None:
    """Delete the rows of what is deleted, which in SQLite removes them from the file."""
    from chatkeep.background import BackgroundTasks
    from chatkeep.cli.server.local import database_path
    from chatkeep.domain.errors import ChatError
    from chatkeep.sessions.purge import Purge
    from chatkeep.store.lock import find_holder
    from chatkeep.store.opening import make_store

    if not settings.uses_postgres:
        path = database_path(settings)
        if not path.is_file():
            raise CommandError(f"There is no database at {path}.")
        if find_holder(path) is not None:
            raise CommandError(
                "A Chatkeep is using the database: it erases what is deleted itself."
            )

    async def run() -> bool:
        store = make_store(settings.database, readers=1, write_queue=1, connections=1)
        store.open()
        try:
            return await Purge(store, BackgroundTasks()).run()
        finally:
            store.close()

    try:
        is_clean = asyncio.run(run())
    except ChatError as error:
        raise CommandError(error.detail) from None
    if not is_clean:
        raise CommandError("Another program reads the database: try again when it has ended.")


def _rewrite(settings: Settings, *, shows: bool) -> tuple[list[str], bool]:
    """Write the tables of PostgreSQL anew; return them, and whether the files are up to date."""
    from chatkeep.store import erasing

    tables = []
    try:
        for table in erasing.rewrite_tables(settings.database):
            tables.append(table)
            if shows:
                print_note(f"Writing {table} anew.")
    except erasing.NotErased as error:
        raise CommandError(str(error)) from None
    return tables, erasing.checkpoint(settings.database)


def _print_result(
    *, json: bool, tables: list[str], has_checkpoint: bool, remains: str = ""
) -> None:
    if json:
        result = {"tables": tables, "checkpoint": has_checkpoint, "remains": remains or None}
        print_json(result)
        return
    where = "no table and no index" if remains else "no file of the database"
    typer.echo(f"What is deleted is in {where} any more.")
    if not has_checkpoint:
        typer.echo(
            "The files are up to date after the server's next checkpoint: this role may not "
            "ask for one (GRANT pg_checkpoint)."
        )
    if remains:
        typer.echo(remains)
