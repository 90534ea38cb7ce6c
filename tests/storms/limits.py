"""What a running server may have of the machine, changed from outside (prlimit(2))."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

from tests.process import Server


@contextlib.contextmanager
def disk_full(server: Server, *, after_bytes: int = 0) -> Iterator[None]:
    """No file of the server grows beyond this size: as on a full disk, its log included.

    Python ignores the signal that comes with it, so that every such write fails with EFBIG.
    """
    with _limited(server, resource.RLIMIT_FSIZE, after_bytes):
        yield


@contextlib.contextmanager
def memory_full(server: Server, *, spare_bytes: int) -> Iterator[None]:
    """The server gets so much more memory than it has mapped now, and then none."""
    assert server.process is not None
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[0]
    mapped = int(pages) * resource.getpagesize()
    with _limited(server, resource.RLIMIT_AS, mapped + spare_bytes):
        yield


@contextlib.contextmanager
def _limited(server: Server, kind: int, value: int) -> Iterator[None]:
    process = server.process
    assert process is not None
    soft, hard = resource.prlimit(process.pid, kind)
    resource.prlimit(process.pid, kind, (value, hard))
    try:
        yield
    finally:
        # It may have died of it.
        if process.poll() is None:
            resource.prlimit(process.pid, kind, (soft, hard))
