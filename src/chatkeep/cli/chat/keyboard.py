"""The keyboard while an answer is streamed: keys wait for the prompt, and Ctrl-C is handled."""

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_interrupt(work: Callable[[], None]) -> Iterator[None]:
    """Call `work` on Ctrl-C in the block, between any two instructions, and do nothing else."""
    before = signal.signal(signal.SIGINT, lambda *_: work())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def no_echo() -> Iterator[None]:
    """Hide what is typed ahead in the block: it would move the rows of an answer.

    The keys stay in the terminal's buffer as they are, for the next prompt.
    """
    # prompt_toolkit's `raw_mode` would make Ctrl-C a key, which nobody reads meanwhile.
    if not _owns_terminal():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    hidden = termios.tcgetattr(keyboard)
    hidden[0] &= ~termios.ICRNL
    hidden[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(keyboard, termios.TCSADRAIN, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _owns_terminal() -> bool:
    # A program in the background would be stopped for changing the terminal.
    return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
