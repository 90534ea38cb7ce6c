"""`chatkeep chat`: its options, and whether it is a conversation or one question."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from chatkeep.cli.output import WRONG, Json, Key, Url, complain


def chat(
    message: Annotated[
        str | None,
        typer.Argument(help="Print the answer to this; without it, start a conversation."),
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Continue this session, or start it.")
    ] = None,
    continue_: Annotated[
        bool, typer.Option("--continue", "-c", help="Continue the newest session.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model for this run only; /model sets the session's own."
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", "-f", metavar="FILE", help="Add a text file to the message; can be repeated."
        ),
    ] = None,
    extract: Annotated[
        bool,
        typer.Option("--extract", "-x", help="Print only the first fenced code block's code."),
    ] = False,
    history: Annotated[
        bool,
        typer.Option(
            "--history/--no-history",
            envvar="CHATKEEP_HISTORY",
            help="Keep what is entered in a conversation for later runs.",
        ),
    ] = True,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Chat in the terminal, or ask one question.

    The files, and then what is piped in, follow the message. In a conversation /help lists the
    commands; Ctrl-C stops an answer, Ctrl-D ends the conversation.

    \b
    Examples:
      chatkeep chat
      chatkeep chat --continue
      chatkeep chat "What is the capital of France?"
      chatkeep chat -f notes.txt -f plan.md "What is missing from the plan?"
      chatkeep chat -x "A shell command that counts the files here" > count.sh
      cat report.txt | chatkeep chat "Summarise:" > summary.txt
    """
    from rich.console import Console

    from chatkeep.cli.chat.api import Api
    from chatkeep.cli.chat.one_shot import Form, ask, converse
    from chatkeep.cli.client import server

    if json and extract:
        complain("Choose one of --json and --extract.")
        raise typer.Exit(WRONG)
    question = _question(message, files or [])
    if not question and (json or extract or not sys.stdin.isatty()):
        complain("There is no message to send.")
        raise typer.Exit(WRONG)
    with server(url, key, answers=True) as client:
        api, console = Api(client), Console()
        if model is not None:
            api.check_model(model)
        if continue_ and session is None:
            newest = api.sessions(limit=1)
            session = str(newest[0]["session_id"]) if newest else None
        if not question:
            converse(client, session_id=session, model=model, console=console, is_stored=history)
            return
        code = ask(
            client,
            session_id=session,
            model=model,
            message=question,
            console=console,
            form=Form.JSON if json else Form.CODE if extract else Form.TEXT,
        )
    raise typer.Exit(code)


def _question(message: str | None, files: list[Path]) -> str:
    """The message, the files, and what is piped in. Ends the program if a file is no text."""
    from chatkeep.cli.chat.api import Refused
    from chatkeep.cli.chat.files import as_block

    try:
        blocks = [as_block(path) for path in files]
    except Refused as refused:
        complain(str(refused))
        raise typer.Exit(WRONG) from None
    piped = None if sys.stdin.isatty() else sys.stdin.read()
    return "\n\n".join(part for part in (message, *blocks, piped) if part and part.strip())
