"""`chatkeep serve`."""

from typing import Annotated

import typer

from chatkeep.cli import configuration
from chatkeep.settings import unknown_variables

commands = typer.Typer()

Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 selects a free one.")]
Model = Annotated[str | None, typer.Option(help="The default model, as provider:name.")]


@commands.command(
    help="""Run the server.

    Each option can also be set in the environment: CHATKEEP_HOST, CHATKEEP_PORT, CHATKEEP_MODEL.
    By default, the embedded model answers at http://127.0.0.1:8000.

    \b
    Examples:
      chatkeep serve
      chatkeep serve --port 9000 --model openai:gpt-6-luna
    """
)
def serve(host: Host = None, port: Port = None, model: Model = None) -> None:
    from chatkeep import telemetry
    from chatkeep.cli.server.foreground import run
    from chatkeep.redaction import Redactor

    settings = configuration.settings(host=host, port=port, model=model)
    redact = Redactor(settings.secrets).redact
    telemetry.configure(level=settings.log_level, form=settings.log_format, redact=redact)
    for name in unknown_variables():
        telemetry.logger("cli").warning("unknown_setting", variable=name)
    run(settings)
