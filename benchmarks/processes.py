"""The processes that take part: the server, its model, and what they use (proc(5))."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2

CHROMIUM = Path("/usr/bin/chromium")


def resident_bytes(pid: int) -> int:
    """Memory that a process has in use, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far, children not counted."""
    # Its clock (clock_getcpuclockid(3)), because proc(5) counts in ticks: a dozen turns in one.
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def upstream() -> Iterator[str]:
    """A model in a process of its own; its address."""
    command = [sys.executable, "-m", "benchmarks.upstream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.stdin.close()


@contextmanager
def server(data: Path, model_url: str, **settings: str) -> Iterator[tuple[httpx2.Client, int]]:
    """A real server whose model is the upstream; its client and its process."""
    env = os.environ | {
        "CHATKEEP_DATA_DIR": str(data),
        "CHATKEEP_MODEL": "openai:instant",
        "OPENAI_BASE_URL": model_url,
        **settings,
    }
    data.mkdir(parents=True, exist_ok=True)
    with (data / "log").open("a+") as log:
        process = started(env, log)
        try:
            url = address(process, log)
            with httpx2.Client(base_url=url, timeout=120) as client:
                # The first turn waits until the model's client is loaded, in another thread.
                warm_up = {"session_id": "warm-up", "message": "Are you ready?"}
                client.post("/chat", json=warm_up).raise_for_status()
                yield client, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def started(env: Mapping[str, str], log: IO[str]) -> subprocess.Popen[str]:
    """A server that begins to start, and writes its log, as it does by default, to a file."""
    command = [sys.executable, "-m", "chatkeep", "serve", "--port", "0"]
    return subprocess.Popen(command, env=env, stderr=log, text=True)


def address(process: subprocess.Popen[str], log: IO[str]) -> str:
    """Where a server answers, as soon as it does."""
    while True:
        log.seek(0)
        if (match := re.search(r"Chatkeep answers on (\S+)", log.read())) is not None:
            return match[1]
        if process.poll() is not None:
            log.seek(0)
            raise SystemExit(f"the server did not start: {log.read()}")
        time.sleep(0.01)
