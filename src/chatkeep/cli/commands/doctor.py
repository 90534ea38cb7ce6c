"""`chatkeep doctor`: the findings of `chatkeep.cli.diagnostics`, printed."""

from dataclasses import asdict
from typing import Annotated

import typer

from chatkeep.cli.output import FAILED, Json, as_json


def doctor(
    models: Annotated[
        bool, typer.Option("--models/--no-models", help="Send each model a short test message.")
    ] = True,
    json: Json = False,
) -> None:
    """Check settings, database and models, and say what to fix.

    Exits with 0 if a server can start.

    \b
    Examples:
      chatkeep doctor
      chatkeep doctor --no-models --json
    """
    from chatkeep import telemetry
    from chatkeep.cli import diagnostics

    telemetry.configure(level="error", form="console")
    found = diagnostics.run(ask_models=models)
    if json:
        as_json([asdict(finding) for finding in found])
    else:
        colours = {
            "ok": typer.colors.GREEN,
            "warning": typer.colors.YELLOW,
            "error": typer.colors.RED,
        }
        for finding in found:
            mark = typer.style(f"{finding.state:>7}", fg=colours[finding.state])
            typer.echo(f"{mark}  {finding.what}")
            if finding.advice:
                typer.echo(f"         {finding.advice}")
    if any(finding.state == "error" for finding in found):
        raise typer.Exit(FAILED)
