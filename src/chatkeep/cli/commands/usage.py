"""`chatkeep usage`."""

from typing import Annotated

import typer

from chatkeep.cli.output import Json, Key, Url, as_json, table


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
    from chatkeep.cli.client import call, found, server

    asked = {"by": by, "session_id": session, "since": since, "until": until}
    params = {name: value for name, value in asked.items() if value is not None}
    with server(url, key) as client:
        counted = found(call(client, "GET", "/usage", params=params))
    if json:
        as_json(counted)
        return
    # A session that is deleted has no name any more, and may come first.
    names = ("day", "model", "session_id", "turn_id")
    groups = [name for name in names if any(row[name] for row in counted)]
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
