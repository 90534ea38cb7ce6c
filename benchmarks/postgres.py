"""PostgreSQL beside SQLite: what a turn costs, how many fit, and a stream of another replica."""

import json
import statistics
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from tests.pgproxy import Frame, PostgresProxy
from tests.postgres import Cluster, is_installed

from benchmarks.driver import Request, turns
from benchmarks.processes import cpu_seconds, server
from benchmarks.subjects import chat_request

CLIENTS = (1, 16, 64)
MESSAGE = "A walk in the park?"
SQLITE, ONE, TWO = "SQLite", "PostgreSQL", "PostgreSQL, two workers"
DIRECT = {"CHATKEEP_MODEL_CLIENT": "direct", "CHATKEEP_SHUTDOWN_DELAY": "0"}
STREAM_TOKENS, STREAM_RATE = 200, 20


@dataclass(frozen=True, slots=True)
class Racer:
    """A server that takes part: its processes, and its database's cluster if it has one."""

    name: str
    port: int
    pid: int
    request: Request
    cluster: Cluster | None

    def cpu(self) -> float:
        """Seconds of the server's processes so far."""
        return sum(cpu_seconds(pid) for pid in (self.pid, *_children(self.pid)))

    def database_cpu(self) -> float:
        """Seconds of the database's processes so far, where it has any."""
        if self.cluster is None:
            return 0
        postmaster = int((self.cluster.data / "postmaster.pid").read_text().split()[0])
        return sum(cpu_seconds(pid) for pid in (postmaster, *_children(postmaster)))


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """Measure turns with each database, round trips, and a stream that another replica runs."""
    if not is_installed():
        print("\nPostgreSQL is not measured: it is not installed.")
        return {}
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        racers = [
            _start(stack, folder, url, name, workers)
            for name, workers in ((SQLITE, 0), (ONE, 1), (TWO, 2))
        ]
        for clients in CLIENTS:
            figures[str(clients)] = _turns(racers, clients, quick=quick)
        _show(figures)
    figures["round_trips"] = _round_trips(folder / "trips", url)
    figures["remote_ms"] = _remote_stream(folder / "remote", url, quick=quick)
    return figures


def _start(stack: ExitStack, folder: Path, url: str, name: str, workers: int) -> Racer:
    settings, cluster = dict(DIRECT), None
    if workers:
        cluster = Cluster(is_safe=True)
        stack.callback(cluster.remove)
        settings["CHATKEEP_DATABASE_URL"] = cluster.create()
        settings["CHATKEEP_WORKERS"] = str(workers)
    client, pid = stack.enter_context(server(folder / name, url, **settings))
    return Racer(name, client.base_url.port or 0, pid, chat_request("/chat"), cluster)


def _turns(racers: list[Racer], clients: int, *, quick: bool) -> dict[str, dict[str, float]]:
    """CPU of a turn, and turns a second: each server in turn, forwards and backwards."""
    rounds, repetitions = (2, 128) if quick else (8, 1_280)
    seen: dict[str, list[tuple[float, float, float]]] = {racer.name: [] for racer in racers}
    for number in range(rounds + 1):
        for racer in racers if number % 2 else racers[::-1]:
            before, database_before = racer.cpu(), racer.database_cpu()
            began = time.perf_counter()
            sessions = [[f"{clients}-{one}"] for one in range(clients)]
            count = len(turns(racer.port, racer.request, sessions, repetitions // clients, MESSAGE))
            took = time.perf_counter() - began
            own, other = racer.cpu() - before, racer.database_cpu() - database_before
            seen[racer.name].append((own / count * 1e3, other / count * 1e3, count / took))
    names = ("cpu_ms", "database_cpu_ms", "turns_per_second")
    return {
        racer: {
            # The first round warms up, and begins the sessions.
            name: statistics.median(column)
            for name, column in zip(names, zip(*rows[1:], strict=True), strict=True)
        }
        for racer, rows in seen.items()
    }


def _round_trips(folder: Path, url: str) -> dict[str, float]:
    """How often a turn of a session waits for PostgreSQL, and the first turn of one."""
    cluster = Cluster(is_safe=True)
    waits = 0

    def count(frame: Frame) -> None:
        nonlocal waits
        waits += frame.is_of_turns and frame.is_round_trip

    try:
        with (
            PostgresProxy(cluster, cluster.create()) as proxy,
            server(folder, url, **DIRECT, CHATKEEP_DATABASE_URL=proxy.url) as (client, _),
        ):
            proxy.watch = count
            counts = []
            for _ in range(40):
                waits = 0
                client.post(
                    "/chat", json={"session_id": "s", "message": MESSAGE}
                ).raise_for_status()
                counts.append(waits)
            # What else a process does from time to time is in some of them.
            trips = {"first turn": counts[0], "turn": statistics.median(counts)}
            print(f"\nRound trips to PostgreSQL: {trips}")
            return trips
    finally:
        cluster.remove()


def _remote_stream(folder: Path, url: str, *, quick: bool) -> dict[str, float]:
    """How much later a token arrives through a replica that does not run its turn."""
    cluster = Cluster(is_safe=True)
    tokens = STREAM_TOKENS // 10 if quick else STREAM_TOKENS
    try:
        with ExitStack() as stack:
            settings = {**DIRECT, "CHATKEEP_DATABASE_URL": cluster.create()}
            clients = [
                stack.enter_context(server(folder / str(number), url, **settings))[0]
                for number in range(3)
            ]
            lags = _followed(clients, tokens)
    finally:
        cluster.remove()
    cuts = statistics.quantiles(lags, n=100)
    figures = {"p50": cuts[49], "p99": cuts[98]}
    print(f"\nA token through another of three replicas, ms later: {figures}")
    return figures


def _followed(clients: list[httpx2.Client], tokens: int) -> list[float]:
    """Milliseconds from when a token is written to when a reader elsewhere has it."""
    body = {"session_id": "s", "message": f"Walk. [{tokens} tokens, {STREAM_RATE} a second]"}
    headers = {"Accept": "text/event-stream"}
    turn = threading.Event()
    turn_id = ""

    def post() -> None:
        nonlocal turn_id
        with clients[0].stream("POST", "/chat", json=body, headers=headers) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and not turn_id:
                    turn_id = json.loads(line[6:])["turn_id"]
                    turn.set()

    posting = threading.Thread(target=post)
    posting.start()
    turn.wait()
    lags = []
    with clients[1].stream("GET", f"/turns/{turn_id}/events", headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and "text" in (data := json.loads(line[6:])):
                # Each token is the time at which it was written.
                lags += [(time.monotonic() - float(word)) * 1e3 for word in data["text"].split()]
    posting.join()
    return lags


def _show(figures: dict[str, dict[str, dict[str, float]]]) -> None:
    print(f"\n{'':38}{'CPU of a turn, ms':>20}{'of the database':>20}{'turns a second':>20}")
    for clients, rows in figures.items():
        for name, row in rows.items():
            values = (row["cpu_ms"], row["database_cpu_ms"], row["turns_per_second"])
            shown = f"{values[0]:>20.2f}{values[1]:>20.2f}{values[2]:>20.0f}"
            print(f"  {clients:>2} clients, {name:<24}{shown}")


def _children(pid: int) -> list[int]:
    done = subprocess.run(["pgrep", "-P", str(pid)], stdout=subprocess.PIPE, text=True, check=False)
    return [int(line) for line in done.stdout.split()]
