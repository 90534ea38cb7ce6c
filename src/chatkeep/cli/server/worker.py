"""One of several processes that serve on one socket: `python -m chatkeep.cli.server.worker`.

Its arguments are three file descriptors: the socket, where it reports that it is ready, and one
that the supervisor holds open for as long as it lives.
"""

import contextlib
import os
import signal
import socket
import sys
import threading

from chatkeep.cli import configuration
from chatkeep.cli.server import foreground


def main() -> None:
    """Serve until a signal comes, or the supervisor is gone."""
    listening, ready, alive = map(int, sys.argv[1:])
    settings = configuration.settings()
    foreground.log(settings)
    listener = socket.socket(fileno=listening)
    threading.Thread(target=_stop_after, args=(alive,), daemon=True).start()

    def report(_notice: str | None) -> None:
        # Who started this one may have lost patience.
        with contextlib.suppress(BrokenPipeError):
            os.write(ready, b"1")
        os.close(ready)

    foreground.serve(settings, listener, report)


def _stop_after(alive: int) -> None:
    """Stop this process once nobody holds the other end open."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
