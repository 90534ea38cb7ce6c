"""What commands print: text for people, JSON for programs, complaints on standard error."""

import contextlib
import json
import sys
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

FAILED, WRONG, NOT_THERE, STOPPED, UNREAD = 1, 2, 3, 130, 141
"""Exit codes: it could not be done; wrong usage; no such thing; Ctrl-C; nobody reads the output."""


def _address(value: str | None) -> str | None:
    """Check the address of a server. Raises `BadParameter`."""
    if value is None:
        return None
    try:
        parts = urlsplit(value.strip())
        is_address = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or any(character.isspace() for character in value.strip()):
        raise typer.BadParameter(
            f"{value!r} is not the address of a server, such as http://127.0.0.1:8000."
        )
    return value.strip()


def _credential(value: str | None) -> str | None:
    """Check the server's key, without repeating it. Raises `BadParameter`."""
    value = None if value is None else value.strip()
    if value and (" " in value or not (value.isascii() and value.isprintable())):
        raise typer.BadParameter("It has characters that no key has.")
    return value or None


Url = Annotated[
    str | None,
    typer.Option(
        envvar="CHATKEEP_URL",
        callback=_address,
        help="The server's address. By default, the server that has the local database open; "
        "without one, the command opens it itself.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="CHATKEEP_API_KEY",
        callback=_credential,
        help="The server's key; safer in the environment than here.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def complain(words: str) -> None:
    """Say what went wrong, in one line, if standard error can be written."""
    with contextlib.suppress(OSError):
        typer.secho(words, err=True, fg=typer.colors.RED)


def note(words: str) -> None:
    """Say something beside the output, if standard error can be written."""
    with contextlib.suppress(OSError):
        typer.echo(words, err=True)


def confirm(question: str, *, as_json: bool) -> None:
    """Ask on standard error; end the program unless the answer is yes.

    A program that wants JSON is not asked: it has to say `--yes`.
    """
    if as_json and not sys.stdin.isatty():
        complain("There is no terminal to ask for confirmation: add --yes.")
        raise typer.Exit(WRONG)
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise typer.Abort


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

    from chatkeep.cli.chat.api import one_line

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
