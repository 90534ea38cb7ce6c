"""A turn at any length of its session's history."""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.driver import turns
from benchmarks.filling import fill
from benchmarks.processes import cpu_seconds, server
from benchmarks.subjects import chat

HISTORIES, QUICK_HISTORIES = (10, 1_000, 100_000), (10, 1_000, 20_000)


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """CPU milliseconds of a turn at each length; the lengths take turns, round by round."""
    folder.mkdir()
    histories = QUICK_HISTORIES if quick else HISTORIES
    rounds, repetitions = (2, 10) if quick else (9, 200)
    fill(folder / "chatkeep.db", histories=histories, listed=0)
    spent: dict[int, list[float]] = {length: [] for length in histories}
    with server(folder, url) as (client, pid):
        port = client.base_url.port or 0
        for _ in range(rounds + 1):
            for length in histories:
                before = cpu_seconds(pid)
                turns(port, chat, [[f"history-{length}"]], repetitions, "A walk in the park?")
                spent[length].append((cpu_seconds(pid) - before) / repetitions * 1_000)
    # The first round warms up.
    figures = {str(length): statistics.median(samples[1:]) for length, samples in spent.items()}
    print(f"\na turn at any length of its history{'CPU ms':>30}")
    for length in histories:
        print(f"  {length:>9,} messages{figures[str(length)]:>46.3f}")
    return figures
