"""`chatkeep migrate-database`."""

from typing import Annotated

import typer

from chatkeep.cli import configuration
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.cli.options import Json
from chatkeep.cli.output import print_error, print_json, print_table
from chatkeep.settings import ConfigurationError

commands = typer.Typer()

Target = Annotated[
    str,
    typer.Argument(
        help="The empty database, as postgresql://user@host/name or sqlite:///path. It is safer "
        "to set its password in PGPASSWORD or in a password file.",
    ),
]


@commands.command(
    "migrate-database",
    help="""Copy everything into another database: from SQLite to PostgreSQL, or back.

    Stop every server first. All rows are copied and compared in one transaction, so that the target
    has all of them or none; the configured database stays as it is. Afterwards, set
    CHATKEEP_DATABASE_URL to the target and start the server.

    \b
    Examples:
      chatkeep migrate-database postgresql://chatkeep@db.example.com/chatkeep
      chatkeep migrate-database sqlite:////var/lib/chatkeep/chatkeep.db
    """,
)
def migrate_database(target_url: Target, json: Json = False) -> None:
    from chatkeep import telemetry
    from chatkeep.cli.databases import without_password
    from chatkeep.redaction import Redactor
    from chatkeep.store import moving

    settings = configuration.settings()
    try:
        to = configuration.read(database_url=target_url)
    except ConfigurationError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.USAGE) from None
    redact = Redactor((*settings.secrets, *to.secrets)).redact
    telemetry.configure(level="error", form="console", redact=redact)
    # Ctrl-C ends the process at once, and with it the transaction.
    try:
        summaries = moving.move(settings.database, to.database)
    except moving.NotMoved as error:
        raise CommandError(f"Nothing was copied. {error}") from None
    shown = without_password(to.database)
    if json:
        rows = {summary.table: summary.rows for summary in summaries}
        print_json({"database": shown, "rows": rows})
        return
    print_table(("table", "rows"), [(each.table, f"{each.rows:,}") for each in summaries])
    typer.echo(f"Every row is in both databases. To use the new one: CHATKEEP_DATABASE_URL={shown}")
