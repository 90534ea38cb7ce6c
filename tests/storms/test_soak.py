"""Turn after turn: what a server holds does not grow with what it has done.

A normal run makes 500 turns and looks at descriptors and threads alone; `--full` makes 20,000 in
2,000 sessions, and looks at memory, the write-ahead log and the log too.
"""

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.process import PATIENCE, Server
from tests.storms.conversation import pieces_of, reply_to
from tests.storms.rows import faults
from tests.upstream import Answer, Call, Upstream, polite

SOME, ALL = 500, 20_000
"""Turns in a normal run, and with `--full`."""

TURNS_OF_A_SESSION = 10
CLIENTS = 16
SAMPLES = 10
"""Times that the process is looked at; after the first it is as warm as it gets."""

MEMORY_GROWTH = 1.15
LOG_LINES_GROWTH = 1.2
"""The log grows with the turns: a turn's share at the end over that at the beginning."""
MAX_WAL_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Sample:
    turns: int
    memory_kb: int
    descriptors: int
    threads: int
    wal_bytes: int
    log_bytes: int


def sample(server: Server, turns: int) -> Sample:
    """Look at the process from outside; nothing is under way."""
    assert server.process is not None
    process = Path(f"/proc/{server.process.pid}")
    lines = (process / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    wal = server.folder / "chatkeep.db-wal"
    return Sample(
        turns=turns,
        memory_kb=int(status["VmRSS"].split()[0]),
        descriptors=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        log_bytes=server.log.stat().st_size,
    )


def script(call: Call) -> Answer:
    return polite(call) if call.is_title else Answer(pieces_of(call.messages[-1][1]))


async def chat(server: Server, first: int, last: int) -> None:
    """These turns, by all clients together; each client takes the next that nobody has."""
    numbers = itertools.count(first)
    async with httpx2.AsyncClient(base_url=server.url, timeout=PATIENCE) as http:

        async def client() -> None:
            while (number := next(numbers)) < last:
                text = f"number{number} of the soak"
                session = f"session {number // TURNS_OF_A_SESSION}"
                answer = await http.post("/chat", json={"session_id": session, "message": text})
                assert answer.status_code == 200, answer.text
                assert answer.json()["response"] == reply_to(text)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


def test_a_server_does_not_grow_with_the_turns_it_has_made(
    tmp_path: Path, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    upstream.script = script
    turns = ALL if full else SOME
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_LOG_FORMAT": "json"}
    with Server(tmp_path / "data", env | {"CHATKEEP_TITLE_WAIT": "0"}) as server:
        samples = []
        for at in range(SAMPLES):
            step = turns // SAMPLES
            asyncio.run(chat(server, at * step, (at + 1) * step))
            # The test's own record of the calls would grow instead.
            upstream.calls.clear()
            samples.append(sample(server, (at + 1) * step))
        counts = [session["message_count"] for session in server.sessions().values()]
        assert sum(counts) == 2 * turns
        assert len(counts) == turns // TURNS_OF_A_SESSION
        assert faults(server.folder) == []
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
    check(samples, full=full)
    for one in samples if full else samples[-1:]:
        summarise(str(one))


def check(samples: list[Sample], *, full: bool) -> None:
    first, last = samples[0], samples[-1]
    assert last.threads <= first.threads, samples
    # Connections of clients that have just gone may still be counted.
    # Each client may have a connection of its own, and one to the model.
    assert last.descriptors <= first.descriptors + 2 * CLIENTS, samples
    if not full:
        return
    assert last.memory_kb <= first.memory_kb * MEMORY_GROWTH, samples
    assert max(one.wal_bytes for one in samples) <= MAX_WAL_BYTES, samples
    per_turn = (last.log_bytes - first.log_bytes) / (last.turns - first.turns)
    assert per_turn <= first.log_bytes / first.turns * LOG_LINES_GROWTH, samples


def test_a_server_that_grows_would_be_noticed() -> None:
    steady = Sample(2_000, 100_000, 40, 9, 4_000_000, 600_000)
    check([steady, Sample(20_000, 110_000, 39, 9, 4_000_000, 6_000_000)], full=True)
    for worse in (
        Sample(20_000, 120_000, 39, 9, 4_000_000, 6_000_000),
        Sample(20_000, 110_000, 80, 9, 4_000_000, 6_000_000),
        Sample(20_000, 110_000, 39, 12, 4_000_000, 6_000_000),
        Sample(20_000, 110_000, 39, 9, 90_000_000, 6_000_000),
        Sample(20_000, 110_000, 39, 9, 4_000_000, 60_000_000),
    ):
        with pytest.raises(AssertionError):
            check([steady, worse], full=True)
