"""`chatkeep openapi`."""

import json
import tempfile

import typer

from chatkeep.cli import configuration
from chatkeep.cli.process import interruptible


def openapi() -> None:
    """Print the OpenAPI document of the server's API.

    \b
    Example:
      chatkeep openapi > openapi.json
    """
    from chatkeep import telemetry
    from chatkeep.app import create_app

    telemetry.configure(level="error", form="console")
    with interruptible(), tempfile.TemporaryDirectory() as folder:
        plain = {"database_url": "", "model": "openai:any", "models": "", "title_model": ""}
        app = create_app(configuration.settings(data_dir=folder, **plain))
        typer.echo(json.dumps(app.openapi(), indent=2, ensure_ascii=False))
        app.state.store.close()
