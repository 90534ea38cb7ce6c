"""One message from a script, and its answer."""

import io
import json
import re
import sys
from enum import Enum
from http import HTTPStatus

from rich.console import Console

from chatkeep.cli.chat.follower import Follower, print_outcome
from chatkeep.cli.chat.keyboard import no_echo
from chatkeep.cli.chat.markdown import fenced_code
from chatkeep.cli.chat.session import new_session_id
from chatkeep.cli.chat.turn import Event, Turn
from chatkeep.cli.chat.view import PlainView, is_screen, make_view, print_error
from chatkeep.cli.client import Client
from chatkeep.cli.errors import CommandError, ExitCode
from chatkeep.domain.events import EventType

_RAW_CONTROLS = re.compile("[\x7f-\x9f]")
"""JSON escapes the other controls by itself."""


class OutputFormat(Enum):
    """What is printed of an answer: its text as it is streamed; or at its end JSON, or its code."""

    TEXT = "text"
    JSON = "json"
    CODE = "code"


def send_message(
    client: Client,
    session_id: str | None,
    *,
    form: OutputFormat,
    shows_reasoning: bool,
    **options: object,
) -> ExitCode:
    """Send one message and print the answer; errors go to standard error.

    Args:
        client: The server.
        session_id: `None` for a new session.
        form: What to print.
        shows_reasoning: Whether the model's reasoning is shown, where its steps are.
        options: The message, and further members of the body of `POST /chat`.

    Returns:
        `DONE`: the answer is complete. `FAILED`: it is not, or has no code. `USAGE`: the message is
        too large for the server. `INTERRUPTED`: Ctrl-C was pressed.

    """
    console, errors = Console(), Console(stderr=True)
    turn = Turn(client, session_id or new_session_id(), **options)
    is_text = form is OutputFormat.TEXT
    view = make_view(console) if is_text else PlainView(io.StringIO(), sys.stderr)
    try:
        with no_echo():
            follower = Follower(turn, view, lambda _: None, shows_reasoning=shows_reasoning)
            outcome = follower.follow()
        if outcome.event is not None and outcome.event.name == EventType.TURN_COMPLETED:
            _print_answer(outcome.event, form, console)
    except CommandError as error:
        print_error(errors, str(error))
        is_too_large = error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return ExitCode.USAGE if is_too_large else ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return print_outcome(outcome, errors)


def _print_answer(event: Event, form: OutputFormat, console: Console) -> None:
    output = PlainView(console.file, sys.stderr)
    if form is OutputFormat.JSON:
        text = json.dumps(event.data, ensure_ascii=False, indent=2 if is_screen(console) else None)
        output.add(_RAW_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    elif form is OutputFormat.CODE:
        blocks = fenced_code(str(event.data["response"]))
        if not blocks:
            raise CommandError("There is no code block in the answer.")
        output.add(blocks[0])
        output.end()
