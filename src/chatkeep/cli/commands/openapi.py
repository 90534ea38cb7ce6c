"""`chatkeep openapi`."""

import json

import typer

from chatkeep.cli import configuration

commands = typer.Typer()


@commands.command(
    help="""Print the OpenAPI document of the server's API.

    \b
    Example:
      chatkeep openapi > openapi.json
    """
)
def openapi() -> None:
    from chatkeep import telemetry
    from chatkeep.app import create_app

    telemetry.configure(level="error", form="console")
    # The document is the same for every database and every model.
    options = {"database_url": "", "model": "openai:any", "models": "", "title_model": ""}
    app = create_app(configuration.settings(**options))
    typer.echo(json.dumps(app.openapi(), indent=2, ensure_ascii=False))
