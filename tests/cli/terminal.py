"""A program in a real pseudo-terminal, and a screen that shows what a person would see."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import pyte

from tests.process import PATIENCE, until

ENTER, ALT_ENTER = "\r", "\x1b\r"
CTRL_C, CTRL_D = "\x03", "\x04"

# The child must own the terminal, so that Ctrl-C in it becomes a signal.
_LOGIN = "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"


class Screen(pyte.HistoryScreen):
    """A terminal's screen that answers questions, and is resized as terminals are.

    With `reflows`, a row that becomes too wide is wrapped; else it is cut off.
    """

    def __init__(
        self, columns: int, lines: int, *, reflows: bool, answer: Callable[[str], None]
    ) -> None:
        self._reflows = reflows
        self._answer = answer
        super().__init__(columns, lines, history=100_000)

    def write_process_input(self, data: str) -> None:
        self._answer(data)

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        lines, columns = lines or self.lines, columns or self.columns
        rows: list[list[Any]] = []
        cursor = (0, 0)
        for y in range(self.lines):
            cells = [self.buffer[y][x] for x in range(self.columns)]
            while cells and cells[-1].data == " " and cells[-1].bg == "default":
                cells.pop()
            parts = [cells[x : x + columns] for x in range(0, len(cells), columns)] or [[]]
            parts = parts if self._reflows else parts[:1]
            if y == self.cursor.y:
                part = min(self.cursor.x // columns, len(parts) - 1)
                cursor = (len(rows) + part, min(self.cursor.x - part * columns, columns - 1))
            rows += parts
        while len(rows) > lines and not rows[-1] and cursor[0] < len(rows) - 1:
            rows.pop()
        over = max(0, len(rows) - lines)
        self.history.top.extend(dict(enumerate(row)) for row in rows[:over])
        self.lines, self.columns = lines, columns
        self.buffer.clear()
        for y, row in enumerate(rows[over:]):
            self.buffer[y].update(enumerate(row))
        self.cursor.y, self.cursor.x = max(0, cursor[0] - over), cursor[1]

    def past(self) -> list[str]:
        """The rows that have scrolled away."""
        return [
            "".join(row[x].data if x in row else " " for x in range(max(row, default=-1) + 1))
            for row in self.history.top
        ]


class Terminal:
    """A program and its terminal."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
        reflows: bool = True,
    ) -> None:
        self._command = command
        self._env = {**env, "TERM": "xterm-256color"}
        self._lock = threading.Lock()
        self._screen = Screen(columns, lines, reflows=reflows, answer=self.type)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        self._announce_size()
        python = (sys.executable, "-c", _LOGIN, *self._command)
        self.process = subprocess.Popen(
            python, env=self._env, stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the program has ended
            while data := os.read(self._master, 65_536):
                with self._lock:
                    self.raw += data
                    self._stream.feed(data)

    def _announce_size(self) -> None:
        size = struct.pack("HHHH", self._screen.lines, self._screen.columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, *, columns: int, lines: int) -> None:
        with self._lock:
            self._screen.resize(lines, columns)
            self._announce_size()

    @property
    def shown(self) -> str:
        """What the screen shows."""
        with self._lock:
            return "\n".join(row.rstrip() for row in self._screen.display)

    @property
    def scrolled(self) -> str:
        """What has scrolled away, and what the screen shows."""
        with self._lock:
            rows = [*self._screen.past(), *self._screen.display]
            return "\n".join(row.rstrip() for row in rows)

    def style(self, text: str) -> Any:
        """The first cell of a text on the screen."""
        with self._lock:
            for y, row in enumerate(self._screen.display):
                if text in row:
                    return self._screen.buffer[y][row.index(text)]
        raise AssertionError(f"{text!r} is not on the screen")

    def wait(self, *texts: str, without: str | None = None) -> None:
        """Wait until the screen shows all of these."""
        try:
            until(lambda: self._shows(texts, without))
        except AssertionError:
            detail = f"{texts} without {without!r} was not shown, but:\n{self.shown}"
            raise AssertionError(detail) from None

    def _shows(self, texts: tuple[str, ...], without: str | None) -> bool:
        shown = self.shown
        if not all(text in shown for text in texts):
            assert self.process.poll() is None, f"the program has ended:\n{shown}"
            return False
        return without is None or without not in shown

    def end(self) -> int:
        """Wait until the program ends by itself; return its exit code."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join()
        return code
