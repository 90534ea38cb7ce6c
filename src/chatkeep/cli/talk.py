"""`chatkeep chat`: what it is told, and whether it is a conversation or one question."""

import sys
from typing import Annotated

import typer

from chatkeep.cli.show import WRONG, Json, Key, Url, complain


def chat(
    message: Annotated[
        str | None, typer.Argument(help="Ask this and print the answer; else converse.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", "-s", help="Go on with this session, or begin it.")
    ] = None,
    continue_: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the newest session.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", "-m", help="A model on offer.")] = None,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Converse in the terminal, or ask one question.

    What is piped in follows the message. In a conversation /help shows what can be done; Ctrl-C
    stops an answer, Ctrl-D ends the conversation.

    \b
    Examples:
      chatkeep chat
      chatkeep chat --continue
      chatkeep chat "What is the capital of France?"
      cat report.txt | chatkeep chat "summarise" > summary.txt
    """
    from rich.console import Console

    from chatkeep.cli.chat import ask, converse
    from chatkeep.cli.chat_api import Api
    from chatkeep.cli.reach import server

    piped = None if sys.stdin.isatty() else sys.stdin.read()
    question = "\n\n".join(part for part in (message, piped) if part and part.strip())
    if not question and (piped is not None or json):
        complain("There is no message to send.")
        raise typer.Exit(WRONG)
    with server(url, key, answers=True) as client:
        if continue_ and session is None:
            newest = Api(client).sessions(limit=1)
            session = str(newest[0]["session_id"]) if newest else None
        console = Console()
        if not question:
            converse(client, session_id=session, model=model, console=console)
            return
        code = ask(
            client,
            session_id=session,
            model=model,
            message=question,
            console=console,
            as_json=json,
        )
    raise typer.Exit(code)
