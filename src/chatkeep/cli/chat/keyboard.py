"""What the keyboard does while nothing is asked: keys are kept, and Ctrl-C is told."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interrupts(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` on Ctrl-C, and nothing else. It is called between any two instructions."""
    before = signal.signal(signal.SIGINT, lambda *_: work())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let a terminal not show what is typed ahead: it would move the rows of an answer.

    The keys are kept as they are for the next prompt.
    """
    if sys.platform == "win32" or not _owns_terminal():
        yield
        return
    import termios  # there is none on Windows

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    silent = termios.tcgetattr(keyboard)
    silent[0] &= ~termios.ICRNL
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(keyboard, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _owns_terminal() -> bool:
    # A program in the background would be stopped for changing the terminal.
    if sys.platform == "win32" or not sys.stdin.isatty():
        return False
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
