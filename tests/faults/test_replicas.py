"""Replicas that die, pause or are cut off: their turns go on elsewhere, and none is lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatkeep.domain.model import SystemPrompts
from chatkeep.store import turn_creation, turns
from tests.postgres import query
from tests.process import Server, until
from tests.replicas import LEASE_SECONDS, Reader, Replicas, post, turn_of
from tests.store.conftest import open_store, run
from tests.turn_requests import turn_request
from tests.upstream import Answer, Call, Upstream, polite

WORDS = [f"word{number} " for number in range(40)]


@pytest.fixture
def replicas(tmp_path: Path, postgres_url: str, upstream: Upstream) -> Iterator[Replicas]:
    with Replicas(tmp_path, postgres_url, upstream) as running:
        yield running


def slow(upstream: Upstream, *, seconds: float = 0.05) -> None:
    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        pace = threading.Semaphore(0)

        def release() -> None:
            for _ in range(len(WORDS) + 5):
                time.sleep(seconds)
                pace.release()

        threading.Thread(target=release, daemon=True).start()
        return Answer(WORDS, pace=pace)

    upstream.script = script


def whole(server: Server, session: str) -> None:
    assert server.contents(session) == ["hello", "".join(WORDS)]


def test_the_turns_of_a_killed_replica_go_on_elsewhere(
    replicas: Replicas, upstream: Upstream
) -> None:
    slow(upstream)
    dead, other, third = replicas.servers
    names = [f"s{number}" for number in range(6)]
    with dead.client() as client:
        turns = []
        for name in names:
            with client.stream(
                "POST",
                "/chat",
                json={"session_id": name, "message": "hello"},
                headers={"Accept": "text/event-stream"},
            ) as response:
                first = next(line for line in response.iter_lines() if line.startswith("data"))
            turns.append(first.split('"turn_id":"')[1].split('"')[0])
    follower = Reader(other, "GET", f"/turns/{turns[0]}/events")
    until(lambda: follower.text)
    dead.kill()
    killed = time.monotonic()
    events = follower.wait()
    assert "turn.restarted" in [event.name for event in events]
    for name in names:
        until(lambda name=name: len(third.history(name)) == 2)
        until(lambda name=name: third.history(name)[1]["status"] == "completed")
        whole(third, name)
    attempts = [third.get(f"/turns/{turn}")["attempt"] for turn in turns]
    assert attempts == [2] * len(turns)
    assert time.monotonic() - killed > LEASE_SECONDS


def test_a_replica_that_was_paused_changes_nothing_when_it_wakes(
    replicas: Replicas, upstream: Upstream
) -> None:
    slow(upstream)
    paused, other, _ = replicas.servers
    mine = post(paused, "s")
    turn = turn_of(mine)
    until(lambda: mine.text)
    assert paused.process is not None
    os.kill(paused.process.pid, signal.SIGSTOP)
    try:
        until(lambda: other.get(f"/turns/{turn}")["attempt"] == 2)
    finally:
        os.kill(paused.process.pid, signal.SIGCONT)
    events = mine.wait()
    assert [e.name for e in events].count("turn.restarted") == 1
    assert events[-1].data["response"] == "".join(WORDS)
    whole(other, "s")
    # It has a new lease, and takes turns again.
    assert paused.chat("t", "hello").status_code == 200


def test_the_turns_of_a_replica_that_stops_go_on_at_once(
    replicas: Replicas, upstream: Upstream
) -> None:
    slow(upstream, seconds=0.2)
    stopping, other, third = replicas.servers
    mine = post(stopping, "s")
    turn = turn_of(mine)
    waiting = post(other, "s", "next")
    turn_of(waiting)
    until(lambda: mine.text)
    assert stopping.process is not None
    stopping.process.terminate()
    mine.wait()
    follower = Reader(third, "GET", f"/turns/{turn}/events")
    slow(upstream, seconds=0.001)
    assert follower.wait()[-1].data["response"] == "".join(WORDS)
    assert waiting.wait()[-1].name == "turn.completed"
    assert third.contents("s") == ["hello", "".join(WORDS), "next", "".join(WORDS)]


def test_a_turn_that_its_own_process_does_not_know_of_is_run_all_the_same(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    """Its post was refused, because nobody could say in time whether its commit took effect."""
    upstream.script = polite
    with Replicas(tmp_path, postgres_url, upstream, count=2) as replicas:
        one, other = replicas.servers
        owner = query(postgres_url, "SELECT owner FROM leases ORDER BY owner LIMIT 1")[0][0]
        store = open_store(postgres_url)
        runner = turns.RunnerConfig(owner, "openai:scripted", SystemPrompts("Be kind."), 5)
        created = run(
            lambda: store.write(
                turn_creation.create_turn,
                tenant="default",
                request=turn_request("s", b"digest", "hello"),
                ids=turn_creation.NewIds(),
                runner=runner,
                max_queued=9,
                make_title=lambda *_: "hello",
                at=1,
            )
        )
        store.close()
        turn = created.turn.turn_id
        until(lambda: other.get(f"/turns/{turn}")["status"] == "completed")
        assert one.get(f"/turns/{turn}")["attempt"] == 2
        assert other.contents("s") == ["hello", "Reply to: hello"]
