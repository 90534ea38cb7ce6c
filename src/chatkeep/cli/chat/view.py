"""Where a reply is shown while it is streamed: on a screen, or as plain text in a file or pipe."""

import sys
from typing import IO, Protocol

from rich.console import Console, RenderableType
from rich.text import Text

from chatkeep.cli.chat.markdown_stream import IDLE_SECONDS, MarkdownStream
from chatkeep.cli.output import clean, one_line


class View(Protocol):
    """Shows one reply."""

    def add(self, piece: str) -> None:
        """Add the next piece of the text."""

    def show(self, *lines: Text) -> None:
        """End the text so far, and show lines that are not a part of the reply below it."""

    def set_status(self, status: str | None) -> None:
        """Show what the reader waits for, or nothing."""

    def discard(self, reason: str) -> None:
        """Show that the text so far is void, and why. Another text follows."""

    def pause(self) -> float:
        """Return the seconds until `draw` has something to do."""

    def draw(self) -> None:
        """Show what was added."""

    def end(self) -> None:
        """Show the rest; nothing is added any more."""


class PlainView:
    """A view that writes text at once, without a status."""

    def __init__(self, file: IO[str], notes: IO[str]) -> None:
        """Begin a reply.

        Args:
            file: Gets the text.
            notes: Gets the reasons of `discard`, and the lines of `show` if it is a terminal: who
                reads it otherwise expects errors.

        """
        self._file = file
        self._notes = notes
        self._last = ""
        self._gap = ""

    def add(self, piece: str) -> None:
        """Write the piece."""
        text = self._gap + clean(piece)
        self._gap = ""
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        self._file.write(text.encode(encoding, "replace").decode(encoding))
        self._file.flush()
        self._last = text[-1:] or self._last

    def show(self, *lines: Text) -> None:
        """Write the lines beside the text, which goes on below a blank line."""
        self.end()
        self._gap = "\n" if self._last else ""
        if lines and self._notes.isatty():
            Console(file=self._notes).print(*lines, sep="\n")

    def set_status(self, status: str | None) -> None:
        """Do nothing."""

    def discard(self, reason: str) -> None:
        """Write the reason, and begin a new line of the text."""
        self.end()
        self._notes.write(f"{reason}\n")

    def pause(self) -> float:
        """Return the longest pause: nothing is ever due."""
        return IDLE_SECONDS

    def draw(self) -> None:
        """Do nothing: everything is written already."""

    def end(self) -> None:
        """End the last line."""
        if self._last not in {"", "\n"}:
            self._file.write("\n")
            self._file.flush()
            self._last = "\n"


def is_screen(console: Console) -> bool:
    """Return whether the console is a terminal on which a cursor can be moved."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


def make_view(console: Console, *, above: RenderableType | None = None) -> View:
    """Make the view that suits a console. Only a screen shows `above`, on top of the reply."""
    if is_screen(console):
        return MarkdownStream(console, above=above)
    return PlainView(console.file, sys.stderr)


def print_error(console: Console, sentence: str) -> None:
    """Print what went wrong, in one line that is not wrapped."""
    console.print(Text(one_line(sentence), "red"), soft_wrap=True)
