"""`chatkeep chat`: its options, and whether it is a conversation or one message."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from chatkeep.cli.client import Client, connect
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.cli.options import Json, Key, Url
from chatkeep.cli.output import print_error

if TYPE_CHECKING:
    from chatkeep.cli.chat.files import Attachments

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
        "--file",
        "-f",
        metavar="FILE",
        help="Add a text file or a PDF to the message; can be repeated.",
    ),
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        "--image", "-i", metavar="FILE", help="Add a picture to the message; can be repeated."
    ),
]
Extract = Annotated[
    bool,
    typer.Option("--extract", "-x", help="Print only the code of the first fenced code block."),
]
ShowReasoning = Annotated[
    bool, typer.Option("--show-reasoning", help="Show the model's reasoning, if it has any.")
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
    lists the commands; Ctrl-C stops an answer, and Ctrl-D ends the conversation. In a terminal,
    the steps of an agent are shown as they happen.

    \b
    Examples:
      chatkeep chat
      chatkeep chat --continue
      chatkeep chat "What is the capital of France?"
      chatkeep chat -f notes.txt -f plan.md "What is missing from the plan?"
      chatkeep chat -i photo.jpg "What is this?"
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
    images: Images = None,
    extract: Extract = False,
    reasoning: ShowReasoning = False,
    history: History = True,
    url: Url = None,
    key: Key = None,
    json: Json = False,
) -> None:
    from chatkeep.cli.chat.conversation import converse
    from chatkeep.cli.chat.one_shot import OutputFormat, send_message

    if json and extract:
        _refuse("Choose one of --json and --extract.")
    attachments = _attachments(files or [], images or [])
    text = attachments.message(message, None if sys.stdin.isatty() else sys.stdin.read())
    if not text and (json or extract or attachments.members or not sys.stdin.isatty()):
        _refuse("There is no message to send.")
    options = attachments.members | ({} if model is None else {"model": model})
    with connect(url, key, answers=True) as client:
        if model is not None:
            client.check_model(model)
        if continue_:
            session = session or _newest_session(client)
        if not text:
            converse(
                client, session, model=model, shows_reasoning=reasoning, is_history_stored=history
            )
            return
        form = OutputFormat.JSON if json else OutputFormat.CODE if extract else OutputFormat.TEXT
        code = send_message(
            client, session, form=form, shows_reasoning=reasoning, message=text, **options
        )
    raise typer.Exit(code)


def _newest_session(client: Client) -> str | None:
    newest = client.sessions({"limit": 1})
    return newest[0]["session_id"] if newest else None


def _attachments(files: list[Path], images: list[Path]) -> "Attachments":
    """Read what goes with the message. Exits if one of them cannot be sent."""
    from chatkeep.cli.chat.files import Attachments

    attachments = Attachments()
    try:
        for path in files:
            attachments.add_file(path)
        for path in images:
            attachments.add_picture(path)
    except CommandError as error:
        _refuse(str(error))
    return attachments


def _refuse(reason: str) -> NoReturn:
    print_error(reason)
    raise typer.Exit(ExitCode.USAGE)
