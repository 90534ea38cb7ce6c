"""`chatkeep usage`."""

from typing import Annotated

import typer

from chatkeep.cli.client import connect
from chatkeep.cli.options import Json, Key, Since, Until, Url
from chatkeep.cli.output import print_json, print_table
from chatkeep.cli.responses import UsageRow

commands = typer.Typer()

By = Annotated[str, typer.Option(help="Group by day, model, session, turn; separate with commas.")]
OnlySession = Annotated[str | None, typer.Option("--session", "-s", help="Only this session.")]


@commands.command(
    help="""Show how many tokens were used.

    \b
    Examples:
      chatkeep usage
      chatkeep usage --by session --since 2026-01-01
    """
)
def usage(
    by: By = "day,model",
    session: OnlySession = None,
    since: Since = None,
    until: Until = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    params = {"by": by, "session_id": session, "since": since, "until": until}
    with connect(url, key) as client:
        rows = client.usage(params)
    if json:
        print_json(rows)
    else:
        _print_rows(rows)


def _print_rows(rows: list[UsageRow]) -> None:
    groups = {
        "day": [row["day"] for row in rows],
        "model": [row["model"] for row in rows],
        "session_id": [row["session_id"] for row in rows],
        "turn_id": [row["turn_id"] for row in rows],
    }
    # A deleted session has no id any more, and its row may be the first.
    columns = {name: values for name, values in groups.items() if any(values)}
    print_table(
        [*columns, "for", "calls", "tokens read", "written", "estimated"],
        [
            [
                *(values[number] or "" for values in columns.values()),
                row["kind"],
                f"{row['calls']:,}",
                f"{row['input_tokens']:,}",
                f"{row['output_tokens']:,}",
                f"{row['estimated_input_tokens'] + row['estimated_output_tokens']:,}",
            ]
            for number, row in enumerate(rows)
        ],
    )
