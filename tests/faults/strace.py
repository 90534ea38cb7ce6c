"""System calls of a running server, watched or made deadly, by strace."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WRITES = ("pwrite64", "fdatasync", "ftruncate", "unlink")
"""What SQLite changes a file with, as it was seen to; the others of this kind it never calls."""

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


@contextmanager
def attached(pid: int, *options: str) -> Iterator[None]:
    """strace on a process and all its threads, from now until the end of the block."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), *options], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    try:
        first = tracer.stderr.readline()
        assert "attached" in first, first
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGTERM)
        tracer.communicate()


def files(folder: Path, *names: str) -> list[str]:
    """Only calls on these files, under any name that SQLite gives beside them."""
    paths = [folder / f"{name}{suffix}" for name in names for suffix in ("", "-wal", "-journal")]
    return [part for path in paths for part in ("-P", str(path))]


def deadly(folder: Path, call: str, number: int) -> list[str]:
    """Kill the process as it enters the `number`th of these calls on the database."""
    return [
        *files(folder, "chatkeep.db"),
        *("-o", os.devnull, "-e", f"trace={call}"),
        *("-e", f"inject={call}:signal=SIGKILL:when={number}"),
    ]
