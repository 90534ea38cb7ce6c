"""Searching among a million messages, with turns beside it."""

import itertools
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from tests.postgres import Cluster, is_installed

from benchmarks.filling import fill
from benchmarks.processes import server

MESSAGES, QUICK_MESSAGES = 1_000_000, 20_000
LENGTH = 1_000
"""Messages of one session."""

TURNS = 16
PACED, INSTANT = "openai:paced-3", "openai:instant"
LOADS = (
    ("nothing beside it", 0, INSTANT),
    (f"beside {TURNS} turns of a model that writes 10 tokens a second", TURNS, PACED),
    (f"beside {TURNS} clients without a pause, of a model that answers at once", TURNS, INSTANT),
)
SEARCHES, QUICK_SEARCHES = 100, 20

VOCABULARY = 50_000
WORDS = 40
COMMON = "the"

QUERIES = {
    "a rare word": "word40000",
    "a word of every message": COMMON,
    "two words": f"{COMMON} word300",
    "two common words": f"{COMMON} word0",
    "a phrase": f'"{COMMON} word0"',
    "a beginning": "word4999*",
}


def run(folder: Path, model_url: str, *, quick: bool) -> None:
    """Search in a large database, alone and beside turns; then the same in PostgreSQL."""
    folder.mkdir()
    count = QUICK_MESSAGES if quick else MESSAGES
    fill(folder / "chatkeep.db", histories=(LENGTH,) * (count // LENGTH), listed=0, texts=_texts())
    searches = QUICK_SEARCHES if quick else SEARCHES
    print(f"\nGET /search among {count:,} messages: milliseconds, p50 and p95")
    if is_installed():
        cluster = Cluster(is_safe=True)
        try:
            url = cluster.create()
            began = time.monotonic()
            _move(folder, url)
            print(f"  to PostgreSQL in {time.monotonic() - began:.0f} seconds")
            _measure("PostgreSQL", folder / "own", model_url, searches, CHATKEEP_DATABASE_URL=url)
        finally:
            cluster.remove()
    _measure("SQLite", folder, model_url, searches)


def _move(folder: Path, url: str) -> None:
    """Copy the database that was filled."""
    command = [sys.executable, "-m", "chatkeep", "migrate-database", url]
    env = os.environ | {"CHATKEEP_DATA_DIR": str(folder)}
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def _measure(what: str, folder: Path, model_url: str, searches: int, **env: str) -> None:
    with server(folder, model_url, CHATKEEP_MODELS=PACED, **env) as (client, _pid):
        for load, turns, model in LOADS:
            print(f"  {what}, {load}")
            with _turns(client, turns, model):
                # Not measured: the turns begin all at once, with sessions and titles to make.
                for query in QUERIES.values():
                    _search(client, query)
                for words, query in QUERIES.items():
                    took = sorted(_search(client, query) for _ in range(searches))
                    middle, late = statistics.median(took), took[len(took) * 95 // 100]
                    print(f"    {words:26}{middle:>8.1f}{late:>8.1f}")


def _texts() -> Iterator[str]:
    """Messages whose words are as common as words are: the nth of them in 1 of n places."""
    chance = random.Random(1)
    weights = list(itertools.accumulate(1 / (n + 1) for n in range(VOCABULARY)))
    words = [f"word{n}" for n in range(VOCABULARY)]
    while True:
        yield f"{COMMON} " + " ".join(chance.choices(words, cum_weights=weights, k=WORDS))


def _search(client: httpx2.Client, query: str) -> float:
    began = time.perf_counter()
    client.get("/search", params={"q": query}).raise_for_status()
    return (time.perf_counter() - began) * 1_000


@contextmanager
def _turns(client: httpx2.Client, count: int, model: str) -> Iterator[None]:
    """So many turns at any time."""
    stop = threading.Event()

    def post(number: int) -> None:
        with httpx2.Client(base_url=client.base_url, timeout=120) as own:
            while not stop.is_set():
                body = {"session_id": f"beside-{number}", "message": "A walk in the park?"}
                body["model"] = model
                own.post("/chat", json=body).raise_for_status()

    threads = [threading.Thread(target=post, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
