"""Turns and streamed tokens: Chatkeep beside its baseline, and beside its rivals.

Everybody runs at the same time, and has its turn in each round, so that a machine that slows down
slows them all. CPU time is that of the process, user and system, and the median of the rounds.
"""

import itertools
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.subjects import Subject, everything, rival, upstream_itself

CLIENTS = (1, 16, 64, 256)
OPENING = 3
"""Turns of a new session before any is measured: its title is made, and the context is full."""

LONGEST = 10
"""Turns of a session that are measured: so long is a conversation."""

FAST, SLOW = 512, 64
"""Turns that are measured in a round: many where they are short."""

MESSAGE = "A walk in the park?"
READERS, TOKENS = 32, 200
RATE, QUICK_RATE = 50, 200
"""Tokens a second of those that come alone."""

ADDED = ("added p50", "added p99")
UNSYNCED = 64
"""Clients with which the tutorial is measured without syncs, too."""

Figures = dict[str, Any]

_numbers = itertools.count()


def turns(folder: Path, url: str, *, quick: bool, rivals: bool) -> Figures:
    """CPU time, latency and syncs of turns, for each number of clients."""
    figures: Figures = {}
    clients, rounds = (CLIENTS[1:2], 1) if quick else (CLIENTS, 3)
    with (
        everything(folder, url, rivals=rivals) as subjects,
        upstream_itself(url) as below,
        _unsynced(folder, url) if rivals else nullcontext() as unsynced,
    ):
        for count in clients:
            racing = [below, *subjects, *([unsynced] if unsynced and count == UNSYNCED else [])]
            measured: dict[str, list[Figures]] = {one.name: [] for one in racing}
            for _ in range(rounds):
                for one in racing:
                    measured[one.name].append(_turns(one, count, quick=quick))
            print(f"\n{f'turns, {count} clients':59}", end="")
            print("".join(f"{words:>11}" for words in ("CPU ms", "turns/s", *ADDED, "p50", "p99")))
            for name, samples in measured.items():
                figures.setdefault(name, {})[str(count)] = median = _median(samples)
                for late in ("p50_ms", "p99_ms"):
                    directly = figures[below.name][str(count)][late]
                    median[f"added_{late}"] = median[late] - directly
                print(
                    f"  {name:57}{median['cpu_ms']:>11.2f}{median['turns_per_second']:>11.0f}",
                    end="",
                )
                shown = ("added_p50_ms", "added_p99_ms", "p50_ms", "p99_ms")
                print("".join(f"{median[each]:>11.2f}" for each in shown))
        for one in subjects:
            figures[one.name]["first_turn_cpu_ms"] = _first_turns(one, quick=quick)
        figures["syncs_per_turn"] = _syncs(subjects[0], clients)
    return figures


def tokens(folder: Path, url: str, *, quick: bool, rivals: bool) -> Figures:
    """CPU time of a streamed token, those that come at once and those that come alone."""
    figures: Figures = {}
    rounds = 1 if quick else 2
    with everything(folder, url, rivals=rivals) as subjects, upstream_itself(url) as below:
        racing = [below, *subjects]
        measured: dict[str, list[Figures]] = {one.name: [] for one in racing}
        for one in racing:
            # The first stream of a process imports what streams need.
            one.firsts(_names(2), MESSAGE)
        for _ in range(rounds):
            for one in racing:
                measured[one.name].append(_tokens(one, quick=quick))
        print(f"\n{'CPU of a token in µs, ms to the first token (p50)':49}", end="")
        heads = ("at once", "alone", "1 reader", f"{READERS} readers")
        print("".join(f"{words:>13}" for words in heads))
        for name, samples in measured.items():
            figures[name] = median = _median(samples)
            print(f"  {name:47}{median['at_once_us']:>13.1f}{median['alone_us']:>13.1f}", end="")
            shown = ("first_token_one_reader_p50_ms", "first_token_p50_ms")
            print("".join(f"{median[each]:>13.2f}" for each in shown))
    return figures


def _turns(one: Subject, count: int, *, quick: bool) -> Figures:
    """One round of one subject, in sessions that are new and then have had their first turns."""
    wanted = (FAST if one.is_fast else SLOW) // (4 if quick else 1)
    each = max(1, min(LONGEST, math.ceil(wanted / count)))
    sessions = _sessions(count, math.ceil(wanted / count / each))
    one.drive(sessions, OPENING, MESSAGE)
    before, began = _cpu(one), time.perf_counter()
    took = sorted(one.drive(sessions, each, MESSAGE))
    seconds, cpu = time.perf_counter() - began, _cpu(one) - before
    return {
        "cpu_ms": cpu / len(took) * 1_000,
        "turns_per_second": len(took) / seconds,
        "p50_ms": statistics.median(took) * 1_000,
        "p99_ms": took[int(len(took) * 0.99)] * 1_000,
    }


def _first_turns(one: Subject, *, quick: bool) -> float:
    """CPU milliseconds of a session's first turn, with its title where it gets one."""
    count = 32 if quick else 128
    before = _cpu(one)
    one.drive(_sessions(16, count // 16), 1, MESSAGE)
    # The title may be made beside the answer, and be stored a moment later.
    time.sleep(0.2)
    return (_cpu(one) - before) / count * 1_000


def _tokens(one: Subject, *, quick: bool) -> Figures:
    readers, repetitions = (8, 4) if quick else (READERS, 8) if one.is_fast else (READERS, 1)
    rate = QUICK_RATE if quick else RATE
    sessions = _names(readers)
    one.drive([[session] for session in sessions], OPENING, MESSAGE)
    spent: dict[int, float] = {}
    for count in (1, TOKENS):
        before = _cpu(one)
        for _ in range(repetitions):
            one.firsts(sessions, f"Go on. [{count} tokens]")
        spent[count] = (_cpu(one) - before) / readers / repetitions
    before = _cpu(one)
    burst = one.firsts(sessions, f"Go on. [{TOKENS} tokens, {rate} a second]")
    paced = (_cpu(one) - before) / readers
    first = [each for session in sessions for each in one.firsts([session], "Go on. [2 tokens]")]
    return {
        "at_once_us": (spent[TOKENS] - spent[1]) / (TOKENS - 1) * 1e6,
        "alone_us": (paced - spent[1]) / (TOKENS - 1) * 1e6,
        "first_token_p50_ms": statistics.median(burst) * 1_000,
        "first_token_one_reader_p50_ms": statistics.median(first) * 1_000,
    }


def _syncs(one: Subject, clients: tuple[int, ...]) -> Figures:
    """How often the disk is waited for, in a turn."""
    if shutil.which("strace") is None:
        print("\nSyncs are not counted: that takes strace.")
        return {}
    figures = {}
    for count in clients:
        sessions = _sessions(count, 1)
        one.drive(sessions, OPENING, MESSAGE)
        with _counted_syncs(one.pid) as syncs:
            one.drive(sessions, LONGEST, MESSAGE)
        figures[str(count)] = syncs[0] / count / LONGEST
    shown = ", ".join(f"{value:.3f} with {count} clients" for count, value in figures.items())
    print(f"\nsyncs in a turn: {shown}")
    return figures


@contextmanager
def _unsynced(folder: Path, url: str) -> Iterator[Subject]:
    """The tutorial without what it costs to be safe from a loss of power."""
    with rival("tutorial", folder / "unsynced", url, SYNC="OFF") as one:
        yield replace(one, name=f"{one.name}, synchronous OFF")


@contextmanager
def _counted_syncs(pid: int) -> Iterator[list[int]]:
    """Count the syncs of a process; the count is there after the block."""
    count = [0]
    with tempfile.NamedTemporaryFile("r") as trace:
        only = ["-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none"]
        command = ["strace", *only, "-o", trace.name, "-p", str(pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        yield count
        tracer.terminate()
        tracer.wait()
        count[0] = sum("sync(" in line for line in trace)


def _sessions(clients: int, each: int) -> list[list[str]]:
    return [_names(each) for _ in range(clients)]


def _names(count: int) -> list[str]:
    """Names of sessions that nobody has used."""
    return [f"session-{next(_numbers)}" for _ in range(count)]


def _cpu(one: Subject) -> float:
    return one.cpu() if one.pid else 0.0


def _median(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
