"""`chatkeep serve`."""

from typing import Annotated

import typer

from chatkeep.cli import configuration
from chatkeep.settings import unknown_variables

commands = typer.Typer()

Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 selects a free one.")]
Workers = Annotated[int | None, typer.Option(help="Processes that serve; needs PostgreSQL.")]
Model = Annotated[str | None, typer.Option(help="The default model, as provider:name.")]


@commands.command(
    help="""Run the server.

    Each option can also be set in the environment: CHATKEEP_HOST, CHATKEEP_PORT,
    CHATKEEP_MODEL, CHATKEEP_WORKERS.
    By default, the embedded model answers at http://127.0.0.1:8000.

    \b
    Examples:
      chatkeep serve
      chatkeep serve --port 9000 --model openai:gpt-6-luna
      CHATKEEP_DATABASE_URL=postgresql://localhost/chatkeep chatkeep serve --workers 4
    """
)
def serve(
    host: Host = None, port: Port = None, model: Model = None, workers: Workers = None
) -> None:
    from chatkeep import telemetry
    from chatkeep.cli.server import foreground
    from chatkeep.cli.server.supervisor import Supervisor

    settings = configuration.settings(host=host, port=port, model=model, workers=workers)
    foreground.log(settings)
    for name in unknown_variables():
        telemetry.logger("cli").warning("unknown_setting", variable=name)
    if settings.workers == 1:
        foreground.run(settings)
    elif settings.uses_postgres:
        Supervisor(settings).run()
    else:
        configuration.fail(
            "With SQLite one process holds the database. More workers need PostgreSQL: "
            "set CHATKEEP_DATABASE_URL."
        )
