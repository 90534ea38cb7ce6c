"""What commands print: text for people, JSON for programs, complaints on standard error."""

import json
import sys
from typing import Annotated, Any

import typer

FAILED, WRONG, NOT_THERE, STOPPED = 1, 2, 3, 130
"""Exit codes: it could not be done; wrong usage; no such thing; stopped by Ctrl-C."""

Url = Annotated[
    str | None,
    typer.Option(
        envvar="CHATKEEP_URL",
        help="A server's address. Without it: the server that holds the local database, or the "
        "database itself.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="CHATKEEP_API_KEY", help="The server's key; better set in the environment."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def complain(words: str) -> None:
    """Say what went wrong, in one line."""
    typer.secho(words, err=True, fg=typer.colors.RED)


def as_json(value: Any) -> None:
    """Print a value as JSON; indented for a person."""
    indent = 2 if sys.stdout.isatty() else None
    # Escaped in a terminal, which would obey what a model has written.
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=sys.stdout.isatty()))


def table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows in columns; in a pipe separated by tabs, as other programs like it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from chatkeep.cli.chat_api import one_line

    # What comes from models and files must not speak to the terminal.
    rows = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    shown = Table(box=None, header_style="dim", pad_edge=False)
    for number, heading in enumerate(headings):
        shown.add_column(heading, overflow="fold" if number == 0 else "ellipsis")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)
