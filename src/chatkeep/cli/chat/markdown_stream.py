"""A reply in Markdown, printed in a terminal while it is streamed.

Complete blocks are printed for good and scroll away. Only the last block, which may still grow,
is drawn again.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.segment import Segment, Segments
from rich.spinner import Spinner
from rich.text import Text

from chatkeep.cli.chat.markdown import Row, TerminalMarkdown, is_verbatim, split
from chatkeep.cli.output import clean

FRAME_SECONDS = 1 / 12
IDLE_SECONDS = 0.25
"""How often the size of the terminal is checked while nothing is added."""

DRAWING_SHARE = 0.25
"""Drawing takes at most this share of the time: a long block is drawn less often."""

NARROWEST = 20
"""Columns. A narrower terminal wraps the rows."""

_OPEN_IMAGE = re.compile(r"!\[([^\]\n]*)\]\(data:[^)\s]*\Z")
"""An image whose data are not complete yet."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Something printed for good. `has_gap`: a blank row precedes. `widths`: those of its rows."""

    shown: RenderableType
    has_gap: bool
    widths: tuple[int, ...] = ()


class MarkdownStream:
    """One reply on the screen: a `View`.

    Rich's own `Live` counts rows as it has drawn them, which is wrong after the terminal has
    wrapped them to a new size. Here the widths of the rows are known, and so is how they wrap.
    """

    def __init__(self, console: Console, *, above: RenderableType | None = None) -> None:
        """Begin a reply in a terminal, below `above`, such as the question."""
        self._console = console
        self._size = console.size
        self._printed: list[_Block] = []
        self._is_empty = above is None
        self._is_after_lines = False
        self._waiting = [] if above is None else [_Block(above, has_gap=False)]
        self._rest = ""
        self._spinner: Spinner | None = None
        self._live: tuple[int, ...] = (0,)
        self._changed = True
        self._due = 0.0

    def add(self, piece: str) -> None:
        """Add the next piece; the next `draw` shows it."""
        self._rest += clean(piece)
        self._changed = True

    def show(self, *lines: Text) -> None:
        """End the text so far, and print lines below it for good, those of a row without gaps."""
        blocks, rest = split(self._rest)
        self._rest = ""
        self._add_blocks([*blocks, rest])
        for line in lines:
            has_gap = not self._is_empty and not self._is_after_lines
            self._waiting.append(_Block(line, has_gap))
            self._is_empty, self._is_after_lines = False, True
        self._changed = True

    def set_status(self, status: str | None) -> None:
        """Show a spinner with the status below the reply, or none."""
        self._spinner = None if status is None else Spinner("dots", Text(status, "dim"))
        self._changed = True

    def pause(self) -> float:
        """Return the seconds until `draw` has something to do."""
        has_work = self._changed or self._spinner is not None
        wait = self._due - time.monotonic()
        return max(0.0, wait if has_work else max(wait, IDLE_SECONDS))

    def draw(self) -> None:
        """Print the complete blocks, and draw the last one again."""
        began = time.monotonic()
        self._refit()
        if self._changed or self._spinner is not None:
            blocks, self._rest = split(self._rest)
            self._add_blocks(blocks)
            self._paint(self._finished(), self._unfinished())
            self._changed = False
        now = time.monotonic()
        self._due = now + max(FRAME_SECONDS, (now - began) / DRAWING_SHARE)

    def discard(self, reason: str) -> None:
        """Drop what is not printed for good, and print why another text follows."""
        self._rest = ""
        self._waiting.append(_Block(Text(reason, "dim"), has_gap=not self._is_empty))
        self._is_empty = self._is_after_lines = False
        self._changed = True

    def end(self) -> None:
        """Print the rest for good, and show the cursor at the beginning of a line."""
        self._refit()
        self._spinner = None
        blocks, rest = split(self._rest)
        self._rest = ""
        self._add_blocks([*blocks, rest])
        self._paint(self._finished(), [[]], is_end=True)

    def _add_blocks(self, texts: Iterable[str]) -> None:
        for text in texts:
            if text.strip():
                self._waiting.append(_Block(TerminalMarkdown(text), has_gap=not self._is_empty))
                self._is_empty = self._is_after_lines = False

    def _finished(self) -> list[Row]:
        waiting, self._waiting = self._waiting, []
        rows: list[Row] = []
        for block in waiting:
            own = self._rows(block.shown, has_gap=block.has_gap)
            self._printed.append(_Block(block.shown, block.has_gap, _widths(own)))
            if self._has_long(own):
                # The terminal wraps it, also to a new size: what is above it is not drawn again.
                self._printed.clear()
            rows += own
        return rows

    def _has_long(self, rows: list[Row]) -> bool:
        """Return whether the terminal wraps one of these rows."""
        return any(width > self._size.width for width in _widths(rows))

    def _unfinished(self) -> list[Row]:
        rows: list[Row] = []
        if self._rest.strip():
            rest = _OPEN_IMAGE.sub(r"[image: \1]", self._rest)
            rows = self._rows(TerminalMarkdown(rest), has_gap=not self._is_empty)
            # Rows that may not wrap are counted.
            rows = [part for row in rows for part in _cut(row, self._size.width)]
        if self._spinner is not None:
            shown = self._spinner.render(time.monotonic())
            rows += self._rows(shown, has_gap=bool(rows) or not self._is_empty)
        return rows[-self._lowest_row() :] or [[]]

    def _rows(self, shown: RenderableType, *, has_gap: bool) -> list[Row]:
        width = max(self._console.width, NARROWEST)
        options = self._console.options.update(width=width, height=None)
        lines = Segment.split_lines(self._console.render(shown, options))
        rows = [row[1:] if is_verbatim(row) else _trim(row, width) for row in lines]
        while rows and not rows[-1]:
            rows.pop()
        while rows and not rows[0]:
            del rows[0]
        return [[], *rows] if has_gap and rows else rows

    def _lowest_row(self) -> int:
        return max(1, self._console.height - 1)

    def _paint(self, above: list[Row], live: list[Row], *, is_end: bool = False) -> None:
        """Replace the live rows by `live`, with `above` printed for good above them, in one write.

        Each row is written over the old one, so that nothing flickers. The cursor is then in the
        first column of the last row.
        """
        up = min(len(self._live) - 1, self._lowest_row())
        # Rows that the terminal wraps are not counted, so the live rows are erased first.
        is_counted = not self._has_long(above)
        out = [_control("\x1b[?25l" + _up(up) + ("" if is_counted else "\x1b[J"))]
        for row in above:
            out += [*row, *self._erased(row), Segment.line()]
        # A character that is wider in this terminal than in Rich's tables must not wrap a row.
        out.append(_control("\x1b[?7l"))
        for number, row in enumerate(live):
            out += [Segment.line()] if number else []
            out += [*row, *self._erased(row)]
        left = max(0, up + 1 - len(above) - len(live)) if is_counted else 0
        out += [_control("\n\x1b[2K" * left + _up(left)), _control("\r\x1b[?7h")]
        out += [_control("\x1b[?25h")] if is_end else []
        self._console.print(Segments(out), end="", crop=False)
        self._live = _widths(live)
        self._forget(self._size.height)

    def _erased(self, row: Row) -> list[Segment]:
        # At the right edge, erasing to the end of the line would take the last character.
        is_full = Segment.get_line_length(row) >= self._console.width
        return [] if is_full else [_control("\x1b[K")]

    def _refit(self) -> None:
        """After a change of size, draw again what the screen shows of the reply.

        Terminals wrap rows that became too wide, or cut them off. This one is assumed to wrap: if
        it does not, some rows above are lost, but none is shown twice.
        """
        old, self._size = self._size, self._console.size
        if old == self._size:
            return
        self._forget(min(old.height, self._size.height))
        if old.width == self._size.width:
            return
        up = self._wrapped(self._live[:-1]) + sum(self._wrapped(b.widths) for b in self._printed)
        erase = _control("\r" + _up(min(up, self._lowest_row())) + "\x1b[J")
        self._console.print(Segments([erase]), end="", crop=False)
        self._waiting, self._printed = self._printed + self._waiting, []
        self._live = (0,)
        self._changed = True

    def _forget(self, height: int) -> None:
        """Drop printed blocks that are not whole on a screen of this height: they scroll away."""
        rows = self._wrapped(self._live[:-1])
        first = len(self._printed)
        for block in reversed(self._printed):
            rows += self._wrapped(block.widths)
            if rows >= height:
                break
            first -= 1
        del self._printed[:first]

    def _wrapped(self, widths: Iterable[int]) -> int:
        """Count the rows that rows of these widths become in a terminal that wraps them."""
        return sum(max(1, -(-width // self._size.width)) for width in widths)


def _trim(row: Row, width: int) -> Row:
    """Cut a row to the width, and its blanks at the end: they would wrap in a narrower terminal."""
    row = Segment.adjust_line_length(row, width, pad=False)
    while row and not (row[-1].style and row[-1].style.bgcolor):
        text = row[-1].text.rstrip(" ")
        if text:
            row[-1] = Segment(text, row[-1].style)
            break
        row.pop()
    return row


def _cut(row: Row, width: int) -> list[Row]:
    """Split a row into parts of this width, as a terminal wraps it."""
    length = Segment.get_line_length(row)
    cuts = [*range(width, length, width), length]
    return [list(part) for part in Segment.divide(row, cuts)] if length > width else [row]


def _widths(rows: list[Row]) -> tuple[int, ...]:
    return tuple(Segment.get_line_length(row) for row in rows)


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows else ""


def _control(codes: str) -> Segment:
    return Segment(codes, None, [])
