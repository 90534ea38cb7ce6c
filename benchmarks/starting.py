"""From the start of the process to the first answer, and what it costs to import the server."""

import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.processes import address, started

IMPORTED = ("chatkeep.app", "langchain_core.language_models.chat_models", "langchain_openai")


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """Medians of seconds; the files that are read were read a moment before."""
    folder.mkdir()
    rounds = 2 if quick else 5
    figures: dict[str, Any] = {"ready_seconds": _median(lambda: _start(folder, url), rounds)}
    print(f"\nstart to ready: {figures['ready_seconds']:.2f} s")
    for name in IMPORTED:
        figures[f"import_{name}_cpu_seconds"] = cpu = _median(lambda: _import(name), rounds)  # noqa: B023  (run at once)
        print(f"  import {name}: {cpu:.2f} s of CPU")
    return figures


def _start(folder: Path, url: str) -> float:
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
            return time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _import(name: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _median(measure: Callable[[], float], rounds: int) -> float:
    measure()
    return statistics.median(measure() for _ in range(rounds))
