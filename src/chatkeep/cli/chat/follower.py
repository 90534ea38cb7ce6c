"""A turn and its reader: events to the view, Ctrl-C to the server."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from rich.console import Console
from rich.text import Text

from chatkeep.cli.chat.display import TurnDisplay
from chatkeep.cli.chat.keyboard import on_interrupt
from chatkeep.cli.chat.turn import TERMINAL_EVENTS, Event, Turn
from chatkeep.cli.chat.view import View, print_error
from chatkeep.cli.errors import ExitCode
from chatkeep.domain.events import EventType

STOPPING = "stopping"
RECONNECTING = "the connection is lost, trying again"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last event of a turn; `None` if the reader left before it, and the turn goes on."""

    event: Event | None
    was_stopped: bool


def print_outcome(outcome: Outcome, console: Console) -> ExitCode:
    """Print how a turn ended, unless its answer is complete; return the exit code."""
    if outcome.event is None:
        console.print(Text("The answer continues on the server.", "dim"))
        return ExitCode.INTERRUPTED
    if outcome.event.name == EventType.TURN_COMPLETED:
        return ExitCode.DONE
    if outcome.event.name == EventType.TURN_CANCELLED and outcome.was_stopped:
        console.print(Text("stopped", "dim"))
        return ExitCode.INTERRUPTED
    print_error(console, str(outcome.event.data.get("detail", outcome.event.name)))
    return ExitCode.FAILED


class _Interrupt:
    """Ctrl-C was pressed."""


Item = Event | _Interrupt | BaseException | None


class Follower:
    """Follows one turn to its end."""

    def __init__(
        self,
        turn: Turn,
        view: View,
        on_event: Callable[[Event], None],
        *,
        shows_reasoning: bool = False,
    ) -> None:
        """Prepare to follow a turn.

        Args:
            turn: Not created yet.
            view: Shows the reply.
            on_event: Called with each event before it is shown.
            shows_reasoning: Whether the model's reasoning is shown, or only how long it is.

        """
        self._turn = turn
        self._view = view
        self._display = TurnDisplay(view, shows_reasoning=shows_reasoning)
        self._on_event = on_event
        # Its `put` may be called by a signal handler in the very thread that waits in `get`.
        self._inbox: SimpleQueue[Item] = SimpleQueue()
        self._interrupts = 0
        self._is_cancelling = False

    def follow(self) -> Outcome:
        """Create the turn and show it to its end. Ctrl-C cancels it; a second one leaves it.

        Raises:
            CommandError: It was not created, or its events can no longer be read.

        """
        self._view.set_status(self._display.status)
        with on_interrupt(lambda: self._inbox.put(_Interrupt())):
            self._start(self._read_events)
            try:
                return self._show()
            finally:
                self._turn.leave()
                self._view.end()

    def _show(self) -> Outcome:
        while True:
            if self._view.pause() <= 0:
                self._view.draw()
            try:
                item = self._inbox.get(timeout=self._view.pause())
            except Empty:
                self._view.draw()
                continue
            if isinstance(item, BaseException):
                raise item
            outcome = self._handle(item)
            if outcome is not None:
                return outcome

    def _handle(self, item: Event | _Interrupt | None) -> Outcome | None:
        if isinstance(item, _Interrupt):
            self._interrupts += 1
            if self._interrupts > 1:
                return Outcome(None, was_stopped=True)
            self._view.set_status(STOPPING)
        elif item is None:
            self._view.set_status(RECONNECTING)
        else:
            self._handle_event(item)
            if item.name in TERMINAL_EVENTS:
                return Outcome(item, was_stopped=self._interrupts > 0)
        if self._interrupts and not self._is_cancelling and self._turn.turn_id is not None:
            self._is_cancelling = True
            self._start(self._turn.cancel)
        return None

    def _handle_event(self, event: Event) -> None:
        self._on_event(event)
        self._display.handle(event)
        if self._interrupts == 0:
            self._view.set_status(self._display.status)

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  (raised again in the thread that waits)
                self._inbox.put(error)

        # Leaving a turn must not wait for its next event.
        threading.Thread(target=run, daemon=True).start()

    def _read_events(self) -> None:
        for event in self._turn.events():
            self._inbox.put(event)
