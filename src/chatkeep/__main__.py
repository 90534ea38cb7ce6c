"""The `chatkeep` command, also as `python -m chatkeep`: what must be done before heavy imports."""

import os
import signal
import sys

PLATFORMS = ("linux", "darwin")


def main() -> None:
    """Run the command line; see `chatkeep.cli.errors.ExitCode`."""
    if sys.platform not in PLATFORMS:
        sys.stderr.write("Chatkeep runs on Linux and macOS only.\n")
        sys.exit(2)  # as for wrong usage
    _exit_on_interrupt()
    _open_closed_streams()
    # Heavy: Ctrl-C is handled before it begins.
    from chatkeep.cli import main as run

    try:
        run()
    finally:
        _exit_on_interrupt()


def _exit_on_interrupt() -> None:
    """Make Ctrl-C end the process at once and without output: there is nothing to clean up.

    `chatkeep.cli.process.interruptible` changes that for a while.
    """
    # A shell starts what it runs in the background so that Ctrl-C does not reach it.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))


def _open_closed_streams() -> None:
    """Open standard streams that are closed.

    Otherwise the next file that is opened, perhaps the database, gets the number of a standard
    stream, and what a library or a child process prints is written to it. As with GNU's programs
    (gnulib, `stdopen`), writing to standard output then fails, so that lost output is noticed.
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
