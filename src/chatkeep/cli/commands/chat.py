"""`chatkeep chat`: its options, and whether it is a conversation or one message."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from chatkeep.cli.client import connect
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.cli.options import Json, Key, Url
from chatkeep.cli.output import print_error

commands = typer.Typer()

Message = Annotated[
    str | None, typer.Argument(help="The message to send; without one, a conversation starts.")
]
SessionId = Annotated[
    str | None, typer.Option("--session", "-s", help="Continue this session, or start it.")
]
Continue = Annotated[bool, typer.Option("--continue", "-c", help="Continue the newest session.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model for this run only; /model sets the session's own."),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file", "-f", metavar="FILE", help="Add a text file to the message; can be repeated."
    ),
]
Extract = Annotated[
    bool,
    typer.Option("--extract", "-x", help="Print only the code of the first fenced code block."),
]
History = Annotated[
    bool,
    typer.Option(
        "--history/--no-history",
        envvar="CHATKEEP_HISTORY",
        help="Save the input of conversations, to recall it in later runs.",
    ),
]


@commands.command(
    help="""Chat in the terminal, or ask one question.

    Files are added after the message, and piped input after the files. In a conversation, /help
    lists the commands; Ctrl-C stops an answer, and Ctrl-D ends the conversation.

    \b
    Examples:
      chatkeep chat
      chatkeep chat --continue
      chatkeep chat "What is the capital of France?"
      chatkeep chat -f notes.txt -f plan.md "What is missing from the plan?"
      chatkeep chat -x "A shell command that counts the files here" > count.sh
      cat report.txt | chatkeep chat "Summarise:" > summary.txt
    """
)
def chat(
    message: Message = None,
    session: SessionId = None,
    continue_: Continue = False,
    model: Model = None,
    files: Files = None,
    extract: Extract = False,
    history: History = True,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    from chatkeep.cli.chat.conversation import converse
    from chatkeep.cli.chat.one_shot import OutputFormat, send_message

    if json and extract:
        _refuse("Choose one of --json and --extract.")
    text = _whole_message(message, files or [])
    if not text and (json or extract or not sys.stdin.isatty()):
        _refuse("There is no message to send.")
    with connect(url, key, answers=True) as client:
        if model is not None:
            client.check_model(model)
        if continue_ and session is None:
            newest = client.sessions({"limit": 1})
            session = newest[0]["session_id"] if newest else None
        if not text:
            converse(client, session_id=session, model=model, is_history_stored=history)
            return
        form = OutputFormat.JSON if json else OutputFormat.CODE if extract else OutputFormat.TEXT
        code = send_message(client, text, session_id=session, model=model, form=form)
    raise typer.Exit(code)


def _whole_message(message: str | None, files: list[Path]) -> str:
    """Join the message, the files, and what is piped in. Exits if a file cannot be sent."""
    from chatkeep.cli.chat.files import as_block

    try:
        blocks = [as_block(path) for path in files]
    except CommandError as error:
        _refuse(str(error))
    piped = None if sys.stdin.isatty() else sys.stdin.read()
    return "\n\n".join(part for part in (message, *blocks, piped) if part and part.strip())


def _refuse(reason: str) -> NoReturn:
    print_error(reason)
    raise typer.Exit(ExitCode.USAGE)
