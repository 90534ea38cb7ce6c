"""Options that several commands have, and the question that `--yes` answers."""

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from chatkeep.cli.errors import ExitCode
from chatkeep.cli.output import print_error


def confirm(question: str, *, is_json: bool) -> None:
    """Ask on standard error; end the program unless the answer is yes.

    Args:
        question: Printed before ` [y/N]: `.
        is_json: Whether the output is for a program. Without a terminal it must add `--yes`.

    """
    if is_json and not sys.stdin.isatty():
        print_error("Without a terminal there can be no confirmation: add --yes.")
        raise typer.Exit(ExitCode.USAGE)
    # `typer.confirm` writes a blank to standard output.
    typer.echo(f"{question} [y/N]: ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise typer.Abort


def _checked_url(value: str | None) -> str | None:
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


def _checked_key(value: str | None) -> str | None:
    value = None if value is None else value.strip()
    # Its error does not repeat the value, which is a secret.
    if value and (" " in value or not (value.isascii() and value.isprintable())):
        raise typer.BadParameter("It contains characters that a key cannot contain.")
    return value or None


Url = Annotated[
    str | None,
    typer.Option(
        envvar="CHATKEEP_URL",
        callback=_checked_url,
        help="The server's address. By default, the server that is using the local database; "
        "if there is none, the command opens the database itself.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="CHATKEEP_API_KEY",
        callback=_checked_key,
        help="The server's API key; it is safer to set it in the environment.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Since = Annotated[str | None, typer.Option(help="From this date or time onwards.")]
Until = Annotated[str | None, typer.Option(help="Before this date or time.")]
