"""What commands print: text for people, JSON for programs, errors on standard error."""

import contextlib
import json
import sys
from collections.abc import Sequence

import typer

_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def clean(text: str) -> str:
    """Remove what a terminal would obey: every control character but newline and tab."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """Make one line of a title or a sentence, without control characters."""
    return " ".join(clean(text).split())


def print_error(sentence: str) -> None:
    """Print what went wrong on standard error, if that can be written."""
    with contextlib.suppress(OSError):
        typer.secho(sentence, err=True, fg=typer.colors.RED)


def print_note(text: str) -> None:
    """Print something beside the output on standard error, if that can be written."""
    with contextlib.suppress(OSError):
        typer.echo(text, err=True)


def print_json(value: object) -> None:
    """Print a value as JSON, indented in a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    # Escaped in a terminal, which would obey what a model has written.
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=sys.stdout.isatty()))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; in a pipe without headings and separated by tabs, for programs."""
    # Heavy: `--help` does without it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # What comes from models and files must not control the terminal.
    rows = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold" if number == 0 else "ellipsis")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
