"""What is shown of a turn: the text of its reply, its steps, and that the model thinks."""

import re
from typing import cast

from rich.text import Text

from chatkeep.cli.chat.steps import StepLines, message_blocks
from chatkeep.cli.chat.turn import TERMINAL_EVENTS, Event
from chatkeep.cli.chat.view import View
from chatkeep.cli.output import clean
from chatkeep.cli.responses import MessageBlocks
from chatkeep.domain.blocks import tool_calls
from chatkeep.domain.events import EventType

WAITING = "waiting"
STOPS = "Ctrl-C stops"
THINKING = f"thinking · {STOPS}"
RESTARTED = "The server was interrupted. Ignore the text above: the answer starts again."

_WORD = re.compile(r"\S+")


class TurnDisplay:
    """Shows the events of one turn in a view."""

    def __init__(self, view: View, *, shows_reasoning: bool) -> None:
        """Prepare to show a turn.

        Args:
            view: Shows the reply.
            shows_reasoning: Whether the model's reasoning is shown, or only how long it is.

        """
        self._view = view
        self._shows_reasoning = shows_reasoning
        self._begin()
        self.status: str | None = WAITING
        """What the reader waits for; `None` while the reply grows."""

    def handle(self, event: Event) -> None:
        """Show an event."""
        if event.name == EventType.MESSAGE_DELTA:
            self._end_reasoning()
            self._view.add(str(event.data["text"]))
            self.status = None
        elif event.name == EventType.REASONING_DELTA:
            self._add_reasoning(str(event.data["text"]))
        elif event.name == EventType.MESSAGE_COMPLETED:
            self._show_step(cast("MessageBlocks", event.data))
        elif event.name == EventType.TURN_STARTED:
            self.status = THINKING
        elif event.name == EventType.TURN_RESTARTED:
            self._begin()
            self._view.discard(RESTARTED)
            self.status = THINKING
        elif event.name in TERMINAL_EVENTS:
            self._end_reasoning()
            # A reply may call tools too, which its reader must run.
            lines = self._steps.make(cast("MessageBlocks", {"content": "", **event.data}))
            if lines:
                self._view.show(*lines)

    def _begin(self) -> None:
        self._steps = StepLines()
        self._reasoning = ""
        self._words = 0

    def _add_reasoning(self, piece: str) -> None:
        goes_on = self._reasoning[-1:].strip() and piece[:1].strip()
        self._words += len(_WORD.findall(piece)) - bool(goes_on)
        self._reasoning += piece
        words = "1 word" if self._words == 1 else f"{self._words:,} words"
        self.status = f"thinking ({words}) · {STOPS}"

    def _end_reasoning(self) -> None:
        if self._shows_reasoning and self._reasoning.strip():
            self._view.show(reasoning_text(self._reasoning))
        self._reasoning, self._words = "", 0

    def _show_step(self, message: MessageBlocks) -> None:
        self._end_reasoning()
        self._view.show(*self._steps.make(message))
        names = [call.name for call in tool_calls(message_blocks(message))]
        self.status = f"running {', '.join(names)} · {STOPS}" if names else THINKING


def reasoning_text(reasoning: str) -> Text:
    """A model's reasoning as it is shown."""
    return Text(clean(reasoning.strip()), "dim italic")
