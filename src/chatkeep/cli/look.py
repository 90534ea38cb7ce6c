"""`chatkeep doctor`, `models` and `usage`: how things are."""

from dataclasses import asdict
from typing import Annotated

import typer

from chatkeep.cli.show import FAILED, Json, Key, Url, as_json, table


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
    from chatkeep.cli import doctor as checks

    telemetry.configure(level="error", form="console")
    found = checks.run(ask_models=models)
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


def models(url: Url = None, key: Key = None, json: Json = False) -> None:
    """List the models on offer; the default is marked.

    \b
    Example:
      chatkeep models
    """
    from chatkeep.cli.chat_api import one_line
    from chatkeep.cli.reach import call, found, server

    with server(url, key) as client:
        offer = found(call(client, "GET", "/models"))
    if json:
        as_json(offer)
        return
    for model in offer["models"]:
        typer.echo(f"{'*' if model['id'] == offer['default'] else ' '} {one_line(model['id'])}")


def usage(
    by: Annotated[
        str, typer.Option(help="Group by day, model, session, turn; separate with commas.")
    ] = "day,model",
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Only this session.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="From this date or time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this date or time.")] = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Show the tokens that were used.

    \b
    Examples:
      chatkeep usage
      chatkeep usage --by session --since 2026-01-01
    """
    from chatkeep.cli.reach import call, found, server

    asked = {"by": by, "session_id": session, "since": since, "until": until}
    params = {name: value for name, value in asked.items() if value is not None}
    with server(url, key) as client:
        counted = found(call(client, "GET", "/usage", params=params))
    if json:
        as_json(counted)
        return
    groups = [
        name for name in ("day", "model", "session_id", "turn_id") if counted and counted[0][name]
    ]
    rows = [
        [
            *(str(row[name] or "") for name in groups),
            row["kind"],
            f"{row['calls']:,}",
            f"{row['input_tokens']:,}",
            f"{row['output_tokens']:,}",
            f"{row['estimated_input_tokens'] + row['estimated_output_tokens']:,}",
        ]
        for row in counted
    ]
    table([*groups, "for", "calls", "tokens read", "written", "estimated"], rows)
