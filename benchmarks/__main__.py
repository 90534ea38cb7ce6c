"""What turns, lists, open streams, a search and the web page cost, at any size of the database.

The server is a real process with full durability; its model answers at once, so that what is
measured is everything but the model. Sizes take turns, round by round, so that a machine that
slows down slows them all.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from benchmarks import searching, streams
from benchmarks.filling import fill
from benchmarks.processes import CHROMIUM, cpu_seconds, server, upstream

HISTORIES, QUICK_HISTORIES = (10, 1_000, 100_000), (10, 1_000, 20_000)
SESSIONS, QUICK_SESSIONS = (100, 100_000), (100, 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: does it work?")
    parser.add_argument("--only", choices=PARTS, help="measure nothing else")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, upstream() as model_url:
        for name, measure in PARTS.items():
            if given.only in {None, name}:
                measure(Path(folder) / name, model_url, given.quick)


def _turns(folder: Path, model_url: str, quick: bool) -> None:
    turns(folder, model_url, QUICK_HISTORIES if quick else HISTORIES, *_repeated(quick))


def _lists(folder: Path, model_url: str, quick: bool) -> None:
    lists(folder, model_url, QUICK_SESSIONS if quick else SESSIONS, *_repeated(quick))


def _page(folder: Path, model_url: str, quick: bool) -> None:
    if importlib.util.find_spec("playwright") is None or not CHROMIUM.exists():
        print(f"\nThe page is not measured: it takes playwright and {CHROMIUM}.")
        return
    # Imported here: the other parts run without playwright.
    from benchmarks import page

    page.run(folder, model_url, quick=quick)


def _repeated(quick: bool) -> tuple[int, int]:
    """Rounds, and repetitions in each."""
    return (2, 10) if quick else (8, 50)


def turns(
    folder: Path, model_url: str, histories: tuple[int, ...], rounds: int, repeats: int
) -> None:
    fill(_made(folder), histories=histories, listed=0)
    with server(folder, model_url) as (client, pid):

        def turn(length: int) -> None:
            body = {"session_id": f"history-{length}", "message": "A walk in the park?"}
            client.post("/chat", json=body).raise_for_status()

        table("POST /chat", "messages", histories, turn, pid, rounds, repeats)


def lists(folder: Path, model_url: str, sizes: tuple[int, ...], rounds: int, repeats: int) -> None:
    figures = {}
    for size in sizes:
        data = folder / str(size)
        fill(_made(data), histories=(), listed=size)
        with server(data, model_url) as (client, pid):

            def page(_size: int, client: httpx2.Client = client) -> None:
                client.get("/sessions", params={"limit": 50}).raise_for_status()

            figures |= measured((size,), page, pid, rounds, repeats)
    show("GET /sessions?limit=50", "sessions", figures)


def table(
    title: str,
    unit: str,
    sizes: tuple[int, ...],
    work: Callable[[int], None],
    pid: int,
    rounds: int,
    repeats: int,
) -> None:
    show(title, unit, measured(sizes, work, pid, rounds, repeats))


def measured(
    sizes: tuple[int, ...], work: Callable[[int], None], pid: int, rounds: int, repeats: int
) -> dict[int, tuple[float, float]]:
    """Milliseconds of CPU and of wall time for each size: medians over the rounds."""
    for size in sizes:
        for _ in range(repeats):
            work(size)
    cpu: dict[int, list[float]] = {size: [] for size in sizes}
    wall: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            before, began = cpu_seconds(pid), time.perf_counter()
            for _ in range(repeats):
                work(size)
            cpu[size].append((cpu_seconds(pid) - before) / repeats * 1_000)
            wall[size].append((time.perf_counter() - began) / repeats * 1_000)
    return {size: (statistics.median(cpu[size]), statistics.median(wall[size])) for size in sizes}


def show(title: str, unit: str, figures: dict[int, tuple[float, float]]) -> None:
    print(f"\n{title:24}{'CPU ms':>10}{'wall ms':>10}{'CPU ratio':>11}")
    first = next(iter(figures.values()))[0]
    for size, (cpu, wall) in figures.items():
        ratio = cpu / first if first else float("nan")
        print(f"  {size:>9,} {unit:12}{cpu:>10.2f}{wall:>10.2f}{ratio:>11.2f}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder / "chatkeep.db"


PARTS: dict[str, Callable[[Path, str, bool], object]] = {
    "turns": _turns,
    "lists": _lists,
    "streams": lambda folder, url, quick: streams.run(folder, url, quick=quick),
    "searching": lambda folder, url, quick: searching.run(folder, url, quick=quick),
    "page": _page,
}

if __name__ == "__main__":
    main()
