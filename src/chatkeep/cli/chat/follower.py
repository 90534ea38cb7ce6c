"""A turn and the person who waits for it: its events to the screen, Ctrl-C to the server."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import IO, Protocol

from rich.console import Console, RenderableType
from rich.text import Text

from chatkeep.cli.chat.api import one_line
from chatkeep.cli.chat.keyboard import interrupts
from chatkeep.cli.chat.markdown import clean
from chatkeep.cli.chat.markdown_stream import IDLE_SECONDS, MarkdownStream
from chatkeep.cli.chat.turn import (
    CANCELLED,
    COMPLETED,
    DELTA,
    LAST,
    RESTARTED,
    STARTED,
    Event,
    Turn,
)

WAITING = "waiting"
THINKING = "thinking · Ctrl-C stops"
STOPPING = "stopping"
LOST = "the connection is lost, trying again"
VOID = "The server was interrupted. Ignore the text above: the answer starts again."


COMPLETE, FAILED, STOPPED = 0, 1, 130
"""Exit codes. The last is what a shell gives to a program that Ctrl-C ended."""


class View(Protocol):
    """Where a reply is shown while it comes."""

    def add(self, piece: str) -> None:
        """Take the next piece."""

    def say(self, words: str | None) -> None:
        """Show what is waited for, if anything."""

    def void(self, words: str) -> None:
        """Say that what was shown is void, and why."""

    def pause(self) -> float:
        """The seconds until `draw` has something to do."""

    def draw(self) -> None:
        """Show what has come."""

    def end(self) -> None:
        """Show the rest: the reply is over."""


class Plain:
    """A view that writes the text as it comes, for a file or a pipe."""

    def __init__(self, file: IO[str], notes: IO[str]) -> None:
        """Take where the text goes, and where what is said about it goes."""
        self._file = file
        self._notes = notes
        self._last = "\n"

    def add(self, piece: str) -> None:
        """Write the piece at once."""
        text = clean(piece)
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        self._file.write(text.encode(encoding, "replace").decode(encoding))
        self._file.flush()
        self._last = text[-1:] or self._last

    def say(self, words: str | None) -> None:
        """Say nothing: whoever reads a pipe can wait."""

    def void(self, words: str) -> None:
        """Say it beside the text, and begin a line."""
        self.end()
        self._notes.write(f"{words}\n")

    def pause(self) -> float:
        """Nothing is ever due."""
        return IDLE_SECONDS

    def draw(self) -> None:
        """Everything is written already."""

    def end(self) -> None:
        """End the last line."""
        if self._last != "\n":
            self._file.write("\n")
            self._file.flush()
            self._last = "\n"


def is_screen(console: Console) -> bool:
    """Whether the console is a terminal on which a cursor can be moved."""
    if console.is_dumb_terminal or console.legacy_windows:
        return False
    return console.is_terminal and console.file.isatty()


def view(console: Console, *, above: RenderableType | None = None) -> View:
    """The view that suits the console; `above` stands above the reply on a screen."""
    if is_screen(console):
        return MarkdownStream(console, above=above)
    return Plain(console.file, sys.stderr)


@dataclass(frozen=True, slots=True)
class Ending:
    """How following a turn ended. Without an event the person left, and the turn goes on."""

    event: Event | None
    was_stopped: bool


def tell_end(ending: Ending, console: Console) -> int:
    """Say how a turn ended, if its answer is not whole; return the exit code."""
    if ending.event is None:
        console.print(Text("The answer continues on the server.", "dim"))
        return STOPPED
    if ending.event.name == COMPLETED:
        return COMPLETE
    if ending.event.name == CANCELLED and ending.was_stopped:
        console.print(Text("stopped", "dim"))
        return STOPPED
    complain(console, str(ending.event.data.get("detail", ending.event.name)))
    return FAILED


def complain(console: Console, words: str) -> None:
    """Say in one line what is wrong."""
    console.print(Text(one_line(words), "red"), soft_wrap=True)


class _Stop:
    """Ctrl-C was pressed."""


Item = Event | _Stop | BaseException | None


class Follower:
    """Follows one turn to its end."""

    def __init__(self, turn: Turn, shown: View, heard: Callable[[Event], None]) -> None:
        """Take the turn, where it is shown, and who else is told of its events."""
        self._turn = turn
        self._view = shown
        self._heard = heard
        # Its `put` may be called by a signal handler in the very thread that waits in `get`.
        self._inbox: SimpleQueue[Item] = SimpleQueue()
        self._stops = 0
        self._is_cancelling = False

    def follow(self) -> Ending:
        """Show the turn to its end. Ctrl-C stops the turn; a second one leaves it.

        Raises `Refused` when it cannot begin, or can no longer be read.
        """
        self._view.say(WAITING)
        with interrupts(lambda: self._inbox.put(_Stop())):
            self._start(self._read)
            try:
                return self._show()
            finally:
                self._turn.leave()
                self._view.end()

    def _show(self) -> Ending:
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
            ending = self._take(item)
            if ending is not None:
                return ending

    def _take(self, item: Event | _Stop | None) -> Ending | None:
        if isinstance(item, _Stop):
            self._stops += 1
            if self._stops > 1:
                return Ending(None, was_stopped=True)
            self._view.say(STOPPING)
        elif item is None:
            self._view.say(LOST)
        else:
            self._hear(item)
            if item.name in LAST:
                return Ending(item, was_stopped=self._stops > 0)
        if self._stops and not self._is_cancelling and self._turn.turn_id is not None:
            self._is_cancelling = True
            self._start(self._cancel)
        return None

    def _hear(self, event: Event) -> None:
        self._heard(event)
        if event.name == DELTA:
            self._view.add(str(event.data["text"]))
            self._say(None)
        elif event.name == STARTED:
            self._say(THINKING)
        elif event.name == RESTARTED:
            self._view.void(VOID)
            self._say(THINKING)

    def _say(self, words: str | None) -> None:
        if self._stops == 0:
            self._view.say(words)

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  (raised again in the thread that waits)
                self._inbox.put(error)

        # Whoever leaves a turn must not wait for its next event.
        threading.Thread(target=run, daemon=True).start()

    def _read(self) -> None:
        for event in self._turn.events():
            self._inbox.put(event)

    def _cancel(self) -> None:
        self._turn.cancel()
