"""The processes that take part: the server, its model, and what they use (proc(5))."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

TICK = os.sysconf("SC_CLK_TCK")
CHROMIUM = Path("/usr/bin/chromium")


def resident_bytes(pid: int) -> int:
    """Memory that a process has in use, shared pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far, children not counted (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


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
        "CHATKEEP_LOG_LEVEL": "warning",
        "OPENAI_BASE_URL": model_url,
        **settings,
    }
    command = [sys.executable, "-m", "chatkeep", "serve", "--port", "0"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        if "Chatkeep answers on " not in said:
            raise SystemExit(f"the server did not start: {said}{process.stderr.read()}")
        url = said.split("Chatkeep answers on ")[1].split(" ")[0]
        try:
            with httpx2.Client(base_url=url, timeout=120) as client:
                # The first turn waits until the model's client is loaded, in another thread.
                warm_up = {"session_id": "warm-up", "message": "Are you ready?"}
                client.post("/chat", json=warm_up).raise_for_status()
                yield client, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
