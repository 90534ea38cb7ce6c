"""From the start of the process to the first answer, and what it costs to import the server."""

import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.processes import address, cpu_seconds, started

IMPORTED = (
    "sys",  # nothing: the interpreter alone
    "chatkeep.app",
    "langchain_core.language_models.chat_models",
    "langchain_openai",
)


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """Medians of seconds; the files that are read were read a moment before."""
    folder.mkdir()
    rounds = 1 if quick else 5
    # The first is not counted: it reads what the others find in the cache.
    uncounted = 0 if quick else 1
    starts = [_start(folder, url) for _ in range(uncounted + rounds)][uncounted:]
    ready, ready_cpu = map(statistics.median, zip(*starts, strict=True))
    figures: dict[str, Any] = {"ready_seconds": ready, "ready_cpu_seconds": ready_cpu}
    print(f"\nstart to ready: {ready:.2f} s, {ready_cpu:.2f} s of CPU")
    for name in IMPORTED:
        cpu = statistics.median([_import(name) for _ in range(uncounted + rounds)][uncounted:])
        figures[f"import_{name}_cpu_seconds"] = cpu
        print(f"  import {name}: {cpu:.2f} s of CPU")
    return figures


def _start(folder: Path, url: str) -> tuple[float, float]:
    """Seconds until it is ready, and of CPU."""
    env = os.environ | {
        "CHATKEEP_DATA_DIR": str(folder),
        "CHATKEEP_MODEL": "openai:instant",
        "OPENAI_BASE_URL": url,
    }
    with (folder / "log").open("a+") as log:
        log.truncate(0)
        began = time.perf_counter()
        process = started(env, log)
        try:
            httpx2.get(f"{address(process, log)}/readyz").raise_for_status()
            return time.perf_counter() - began, cpu_seconds(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _import(name: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
