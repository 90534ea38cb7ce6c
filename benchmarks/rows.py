"""Pages of a history, of the list and of a search, at any number of rows."""

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.filling import TEXT, fill
from benchmarks.processes import cpu_seconds, server

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (100, 1_000, 20_000)
RARE = "zyzzyva"
HITS = 10
"""Messages that have the rare word, however many there are."""


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """Milliseconds of CPU and of wall time for each page at each size: medians of the rounds.

    All sizes are served at the same time, so that a slow moment hits them all.
    """
    rounds, repetitions = (2, 10) if quick else (9, 50)
    with ExitStack() as stack:
        running = {}
        for size in QUICK_SIZES if quick else SIZES:
            data = folder / str(size)
            data.mkdir(parents=True)
            fill(data / "chatkeep.db", histories=(size,), listed=size, texts=_texts(size))
            running[size] = stack.enter_context(server(data, url))
        samples: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        for _ in range(rounds + 1):
            for size, (client, pid) in running.items():
                for name, path in _pages(size).items():
                    samples[name, size].append(_round(client, pid, path, repetitions))
    figures: dict[str, Any] = {}
    print(f"\npages at any number of rows{'CPU ms':>38}{'wall ms':>10}")
    for (name, size), each in sorted(samples.items()):
        # The first round warms up.
        cpu, wall = map(statistics.median, zip(*each[1:], strict=True))
        figures.setdefault(name, {})[str(size)] = {"cpu_ms": cpu, "wall_ms": wall}
        print(f"  {name:10}{size:>10,} rows{cpu:>38.2f}{wall:>10.2f}")
    return figures


def _pages(size: int) -> dict[str, str]:
    return {
        "history": f"/history/history-{size}?limit=50",
        "sessions": "/sessions?limit=50",
        "search": f"/search?q={RARE}",
    }


def _round(client: httpx2.Client, pid: int, path: str, repetitions: int) -> tuple[float, float]:
    """Milliseconds of CPU, on average, and of wall time, in the middle."""
    wall, before = [], cpu_seconds(pid)
    for _ in range(repetitions):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        wall.append((time.perf_counter() - began) * 1_000)
    return (cpu_seconds(pid) - before) / repetitions * 1_000, statistics.median(wall)


def _texts(size: int) -> Iterator[str]:
    """Messages, of which ten, anywhere, have the rare word."""
    for number in itertools.count():
        yield f"{TEXT}{RARE}" if number % (size // HITS) == 0 else TEXT
