"""Pages of a history, of the list and of a search, at any number of rows."""

import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.filling import TEXT, fill
from benchmarks.processes import cpu_seconds, server

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (100, 1_000, 20_000)
RARE = "zyzzyva"
FOUND = 10
"""Messages that have the rare word, however many there are."""


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """Milliseconds of CPU and of wall time for each page at each size: medians."""
    figures: dict[str, Any] = {}
    repeats = 20 if quick else 400
    print(f"\npages at any number of rows{'CPU ms':>38}{'wall ms':>10}")
    for size in QUICK_SIZES if quick else SIZES:
        data = folder / str(size)
        data.mkdir(parents=True)
        fill(data / "chatkeep.db", histories=(size,), listed=size, texts=_texts(size))
        pages = {
            f"/history/history-{size}?limit=50": "history",
            "/sessions?limit=50": "sessions",
            f"/search?q={RARE}": "search",
        }
        with server(data, url) as (client, pid):
            for path, name in pages.items():
                for _ in range(repeats):
                    client.get(path).raise_for_status()
                wall, cpu = [], cpu_seconds(pid)
                for _ in range(repeats):
                    began = time.perf_counter()
                    client.get(path)
                    wall.append((time.perf_counter() - began) * 1_000)
                spent = (cpu_seconds(pid) - cpu) / repeats * 1_000
                middle = statistics.median(wall)
                figures.setdefault(name, {})[str(size)] = {"cpu_ms": spent, "wall_ms": middle}
                print(f"  {name:10}{size:>10,} rows{spent:>40.2f}{middle:>10.2f}")
        (data / "chatkeep.db").unlink()
    return figures


def _texts(size: int) -> Iterator[str]:
    """Messages, of which ten, anywhere, have the rare word."""
    for number in itertools.count():
        yield f"{TEXT}{RARE}" if number % (size // FOUND) == 0 else TEXT
