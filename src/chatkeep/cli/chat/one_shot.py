"""One message from a script, or a conversation in a terminal.

It speaks to a server as any client does; it knows nothing of how one works.
"""

import io
import json
import re
import sys
from enum import Enum
from http import HTTPStatus

import httpx2
from rich.console import Console

from chatkeep.cli.chat.api import Refused, fresh_id
from chatkeep.cli.chat.conversation import Conversation
from chatkeep.cli.chat.follower import (
    FAILED,
    STOPPED,
    Follower,
    Plain,
    complain,
    is_screen,
    tell_end,
    view,
)
from chatkeep.cli.chat.keyboard import silence
from chatkeep.cli.chat.markdown import fenced_code
from chatkeep.cli.chat.prompt_history import entered
from chatkeep.cli.chat.turn import COMPLETED, Event, Turn
from chatkeep.cli.output import WRONG

_RAW_CONTROLS = re.compile("[\x7f-\x9f]")
"""JSON escapes the other controls by itself."""


class Form(Enum):
    """What of an answer is printed: it as it comes, or once it is whole its JSON, or its code."""

    TEXT = "text"
    JSON = "json"
    CODE = "code"


def converse(
    client: httpx2.Client,
    *,
    session_id: str | None,
    model: str | None,
    console: Console,
    is_stored: bool,
) -> None:
    """Hold a conversation in the terminal until the person leaves.

    `model` answers the turns of this run, and no session keeps it. `is_stored` says whether what is
    entered is offered again in later runs.
    """
    with silence():
        Conversation(
            client,
            console,
            session_id=session_id,
            model=model,
            history=entered(is_stored=is_stored),
        ).run()


def ask(
    client: httpx2.Client,
    *,
    session_id: str | None,
    model: str | None,
    message: str,
    console: Console,
    form: Form,
) -> int:
    """Send one message and print the answer; return the exit code.

    0: the answer is complete. 1: there is none, or not the whole, or no code in it. 2: the server
    takes no message of this size. 130: stopped by Ctrl-C.
    """
    errors = Console(stderr=True)
    options = {} if model is None else {"model": model}
    turn = Turn(client, session_id or fresh_id(), message=message, **options)
    shown = view(console) if form is Form.TEXT else Plain(io.StringIO(), sys.stderr)
    try:
        with silence():
            ending = Follower(turn, shown, lambda _: None).follow()
        if ending.event is not None and ending.event.name == COMPLETED:
            _print(ending.event, form, console)
    except Refused as refused:
        complain(errors, str(refused))
        return WRONG if refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else FAILED
    except KeyboardInterrupt:
        return STOPPED
    return tell_end(ending, errors)


def _print(event: Event, form: Form, console: Console) -> None:
    """Print what is printed of a whole answer. Raises `Refused` if there is no code in it."""
    output = Plain(console.file, sys.stderr)
    if form is Form.JSON:
        text = json.dumps(event.data, ensure_ascii=False, indent=2 if is_screen(console) else None)
        output.add(_RAW_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    elif form is Form.CODE:
        blocks = fenced_code(str(event.data["response"]))
        if not blocks:
            raise Refused("There is no code block in the answer.")
        output.add(blocks[0])
        output.end()
