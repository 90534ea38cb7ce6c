"""What it costs to know the caller: a turn with a key, beside the same turn without one."""

import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.driver import Request, turns
from benchmarks.processes import cpu_seconds, server
from benchmarks.subjects import chat_request

CLIENTS = (1, 16)
MESSAGE = "A walk in the park?"
WITHOUT, WITH, AS_USER = "without a key", "with a key", "with a key, for a user"


def run(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """How many times the CPU of a turn without a key, for each number of clients.

    Three servers run at the same time, so that each has the same number of turns, and each is
    measured in turn, forwards and backwards.
    """
    rounds, repetitions = (2, 96) if quick else (10, 960)
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        racing: list[tuple[str, int, int, Request]] = []
        for name in (WITHOUT, WITH, AS_USER):
            client, pid = stack.enter_context(server(folder / name, url))
            user = {"Chatkeep_User": "al"} if name == AS_USER else {}
            key = {} if name == WITHOUT else {"Authorization": f"Bearer {_key(folder / name)}"}
            request = chat_request("/chat", **key, **user)
            racing.append((name, client.base_url.port or 0, pid, request))
        print(f"\n{'CPU of a turn / without a key':49}{WITH:>24}{AS_USER:>24}")
        for clients in CLIENTS:
            spent: dict[str, list[float]] = {name: [] for name, *_ in racing}
            for number in range(rounds + 1):
                for name, port, pid, request in racing if number % 2 else racing[::-1]:
                    before = cpu_seconds(pid)
                    sessions = [[f"{number}-{one}"] for one in range(clients)]
                    turns(port, request, sessions, repetitions // clients, MESSAGE)
                    spent[name].append(cpu_seconds(pid) - before)
            # The first round warms up.
            ratios = {
                name: statistics.median(
                    one / base for one, base in zip(own[1:], spent[WITHOUT][1:], strict=True)
                )
                for name, own in spent.items()
            }
            figures[str(clients)] = ratios
            print(f"  {clients:>2} clients{ratios[WITH]:>61.3f}{ratios[AS_USER]:>24.3f}")
    return figures


def _key(folder: Path) -> str:
    """Make a key beside the running server."""
    command = [sys.executable, "-m", "chatkeep", "keys", "create", "benchmark"]
    env = os.environ | {"CHATKEEP_DATA_DIR": str(folder)}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
