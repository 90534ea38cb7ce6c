"""`chatkeep doctor`: the checks of `chatkeep.cli.diagnostics`."""

from dataclasses import asdict
from typing import Annotated

import typer

from chatkeep.cli.errors import ExitCode
from chatkeep.cli.options import Json
from chatkeep.cli.output import print_json

commands = typer.Typer()

COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "error": typer.colors.RED}

Models = Annotated[
    bool, typer.Option("--models/--no-models", help="Send each model a short test message.")
]


@commands.command(
    help="""Check settings, database and models, and say what to fix.

    Exits with 0 if a server can start.

    \b
    Examples:
      chatkeep doctor
      chatkeep doctor --no-models --json
    """
)
def doctor(models: Models = True, json: Json = False) -> None:
    from chatkeep import telemetry
    from chatkeep.cli import diagnostics

    telemetry.configure(level="error", form="console")
    findings = diagnostics.run(call_models=models)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = typer.style(f"{finding.state:>7}", fg=COLOURS[finding.state])
            typer.echo(f"{mark}  {finding.what}")
            if finding.advice:
                typer.echo(f"         {finding.advice}")
    if any(finding.state == "error" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)
