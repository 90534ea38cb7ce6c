"""The `chatkeep` command, also as `python -m chatkeep`: what holds before anything is imported."""

import os
import signal
import sys

STOPPED = 130


def main() -> None:
    """Run the command line; `chatkeep.cli.main` says with which exit codes."""
    _stop_at_once()
    _open_closed_streams()
    # Heavy: Ctrl-C is taken care of before it begins.
    from chatkeep.cli import main as run

    try:
        run()
    finally:
        _stop_at_once()


def _stop_at_once() -> None:
    """Let Ctrl-C end the process without a word, because there is nothing to clean up.

    Where there is, `chatkeep.cli.process.interruptible` changes that for a while.
    """
    # A shell starts what it runs in the background so that Ctrl-C does not reach it.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))


def _open_closed_streams() -> None:
    """Open something in the place of standard streams that are closed.

    Else the next file that is opened, perhaps the database, gets the number of a standard stream,
    and what a library or a child prints goes into it. As with GNU's programs (gnulib, `stdopen`)
    writing to standard output then fails: nobody takes lost output for written output.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            # The lowest free number, which is that of the stream.
            number = os.open(os.devnull, flags)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))


if __name__ == "__main__":
    main()
