"""`chatkeep chat`: a conversation in a terminal, or one message from a script.

It speaks to a server as any client does; it knows nothing of how one works.
"""

import io
import json
import re
import sys

import httpx2
from rich.console import Console

from chatkeep.cli.chat_api import Refused, fresh_id
from chatkeep.cli.chat_conversation import Conversation
from chatkeep.cli.chat_follow import (
    FAILED,
    STOPPED,
    Follower,
    Plain,
    complain,
    is_screen,
    tell_end,
    view,
)
from chatkeep.cli.chat_keyboard import silence
from chatkeep.cli.chat_turn import COMPLETED, Event, Turn

_RAW_CONTROLS = re.compile("[\x7f-\x9f]")
"""JSON escapes the other controls by itself."""


def converse(
    client: httpx2.Client, *, session_id: str | None, model: str | None, console: Console
) -> None:
    """Hold a conversation in the terminal until the person leaves."""
    with silence():
        Conversation(client, console, session_id=session_id, model=model).run()


def ask(
    client: httpx2.Client,
    *,
    session_id: str | None,
    model: str | None,
    message: str,
    console: Console,
    as_json: bool,
) -> int:
    """Send one message and print the answer; return the exit code.

    0: the answer is complete. 1: there is none, or not the whole. 130: stopped by Ctrl-C.
    """
    errors = Console(stderr=True)
    turn = Turn(client, session_id or fresh_id(), model=model, message=message)
    shown = Plain(io.StringIO(), sys.stderr) if as_json else view(console)
    try:
        with silence():
            ending = Follower(turn, shown, lambda _: None).follow()
        if as_json:
            _print_json(ending.event, console)
    except Refused as refused:
        complain(errors, str(refused))
        return FAILED
    except KeyboardInterrupt:
        return STOPPED
    return tell_end(ending, errors)


def _print_json(event: Event | None, console: Console) -> None:
    if event is not None and event.name == COMPLETED:
        text = json.dumps(event.data, ensure_ascii=False, indent=2 if is_screen(console) else None)
        escaped = _RAW_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
        Plain(console.file, sys.stderr).add(escaped + "\n")
