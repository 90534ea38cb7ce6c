"""Two faults at once: each is survived alone, and so is every pair of them here.

Each pair is a scene that ends with a server that works; then nothing of it is lost or doubled, and
no turn is left.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clock import set_clock
from tests.faults.strace import attached, needs_strace
from tests.process import Server, files_with, until
from tests.sse import STREAM, events
from tests.storms.conversation import pieces_of, reply_to
from tests.storms.limits import disk_full
from tests.storms.rows import faults
from tests.upstream import Answer, Call, Upstream, polite


class Scene:
    """A server, its model, and one turn that its client has left after the first piece."""

    def __init__(self, server: Server, upstream: Upstream, session: str) -> None:
        self.server = server
        self.upstream = upstream
        self.session = session
        self.question = f"words of {session}"
        self.first_piece, _ = pieces_of(self.question)
        self.reply = reply_to(self.question)
        self.go_on = threading.Semaphore(1)
        self.answer = Answer(pieces_of(self.question), pace=self.go_on)
        upstream.script = self.script
        self.turn = self.post()

    def script(self, call: Call) -> Answer:
        return polite(call) if call.is_title else self.answer

    def post(self) -> str:
        """Post and read the first piece; then the client is gone."""
        body = {"session_id": self.session, "message": self.question}
        with (
            self.server.client() as http,
            http.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            turn = ""
            for event in events(response):
                turn = turn or event.data["turn_id"]
                if event.name == "message.delta":
                    break
        return turn

    def finish(self) -> None:
        """Let the model write on, now and at any later call."""
        self.answer = Answer(pieces_of(self.question))
        self.go_on.release(1_000)

    def restart(self) -> None:
        self.server.kill()
        self.server.start()

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = self.server.get(f"/turns/{self.turn}")
        return record

    def status(self) -> str:
        """How the turn ended, in the end."""
        until(lambda: self.record()["status"] not in {"queued", "running"})
        return str(self.record()["status"])

    def cancel(self) -> str:
        with self.server.client() as http:
            return str(http.post(f"/turns/{self.turn}/cancel").json()["status"])

    def works(self, *before: str) -> None:
        """The session has these messages, and goes on."""
        assert self.server.contents(self.session) == list(before)
        self.upstream.script = polite
        assert self.server.chat(self.session, "and on").status_code == 200
        assert self.server.contents(self.session) == [*before, "and on", reply_to("and on")]


def cut_while_the_disk_is_full(scene: Scene) -> None:
    """What arrived before the cut is stored when there is space."""
    # After both pieces, before the model says that this was all.
    scene.answer.cut_after = 3
    with disk_full(scene.server):
        scene.go_on.release(1_000)
        until(lambda: scene.record()["status"] == "running" and _is_refused(scene))
    assert scene.status() == "failed"
    scene.works(scene.question, scene.reply)


def answered_while_the_disk_is_full(scene: Scene) -> None:
    """Paid words are not lost."""
    with disk_full(scene.server):
        scene.finish()
        until(lambda: scene.upstream.replies[0].ended is not None)
        assert _is_refused(scene)
    assert scene.status() == "completed"
    scene.works(scene.question, scene.reply)
    assert len(scene.upstream.replies) == 2


def killed_before_its_end_was_stored_on_a_full_disk(scene: Scene) -> None:
    """The turn runs again."""
    with disk_full(scene.server):
        scene.finish()
        until(lambda: scene.upstream.replies[0].ended is not None)
        assert _is_refused(scene)
        scene.restart()
    assert scene.status() == "completed"
    assert scene.record()["attempt"] == 2
    scene.works(scene.question, scene.reply)


def stopped_while_the_disk_is_full(scene: Scene) -> None:
    """It ends in time although nothing can be stored, and the next start goes on."""
    with disk_full(scene.server):
        scene.finish()
        until(lambda: scene.upstream.replies[0].ended is not None)
        scene.server.stop()
    scene.server.start()
    assert scene.status() == "completed"
    scene.works(scene.question, scene.reply)


def cancelled_while_the_disk_is_full(scene: Scene) -> None:
    """It stops at once, and is stored as stopped when there is space."""
    with ThreadPoolExecutor(1) as pool:
        with disk_full(scene.server):
            cancelling = pool.submit(scene.cancel)
            until(lambda: _is_refused(scene))
            assert scene.record()["status"] == "running"
        assert cancelling.result() == "cancelled"
    scene.works(scene.question, scene.first_piece)


def killed_while_it_recovers_from_a_kill(scene: Scene) -> None:
    """Third time lucky."""
    scene.restart()
    until(lambda: len(scene.upstream.replies) == 2)
    scene.restart()
    scene.finish()
    assert scene.status() == "completed"
    assert scene.record()["attempt"] == 3
    scene.works(scene.question, scene.reply)


def killed_while_the_model_is_away(scene: Scene) -> None:
    """After the start nobody answers: the turn fails, and can be answered once more."""
    scene.answer = Answer(status=500)
    scene.restart()
    assert scene.status() == "failed"
    scene.answer = Answer(pieces_of(scene.question))
    with scene.server.client() as http:
        again = http.post("/chat", json={"session_id": scene.session, "regenerate": scene.turn})
    assert again.json()["response"] == scene.reply
    scene.works(scene.question, scene.reply)


def killed_while_the_clock_is_set_back(scene: Scene) -> None:
    """See `tests/clock.py`: this server's time is what a file says."""
    clock = Path(scene.server.program[1])
    set_clock(clock, int(clock.read_text()) - 400 * 24 * 3_600)
    scene.restart()
    scene.finish()
    assert scene.status() == "completed"
    times = [message["created_at"] for message in scene.server.history(scene.session)]
    assert times == sorted(times)
    scene.works(scene.question, scene.reply)


def cancelled_while_the_model_hangs(scene: Scene) -> None:
    """Nobody reads, nobody writes; what came is stored."""
    with scene.server.client() as http:
        assert http.post(f"/turns/{scene.turn}/cancel").json()["status"] == "cancelled"
    scene.works(scene.question, scene.first_piece)


def deleted_while_the_model_hangs(scene: Scene) -> None:
    """No word of it is left, though a turn was under way."""
    with scene.server.client() as http:
        assert http.delete(f"/sessions/{scene.session}").status_code == 204
        assert http.get(f"/turns/{scene.turn}").status_code == 404
    until(lambda: files_with(scene.server.folder, scene.question) == [])
    scene.upstream.script = polite
    assert scene.server.chat(scene.session, "anew").status_code == 200
    assert scene.server.contents(scene.session) == ["anew", reply_to("anew")]


def deleted_while_the_disk_is_full(scene: Scene) -> None:
    """Refused, or hidden at once and swept when there is space."""
    with disk_full(scene.server), scene.server.client() as http:
        assert http.delete(f"/sessions/{scene.session}").status_code == 503
    with scene.server.client() as http:
        assert http.delete(f"/sessions/{scene.session}").status_code in {204, 404}
    until(lambda: files_with(scene.server.folder, scene.question) == [])


def _is_refused(scene: Scene) -> bool:
    """Whether the disk is as full as the scene wants it: nothing new can be posted."""
    return scene.server.chat("other", "is there space?").status_code == 503


PAIRS: list[Callable[[Scene], None]] = [
    cut_while_the_disk_is_full,
    answered_while_the_disk_is_full,
    killed_before_its_end_was_stored_on_a_full_disk,
    stopped_while_the_disk_is_full,
    cancelled_while_the_disk_is_full,
    killed_while_it_recovers_from_a_kill,
    killed_while_the_model_is_away,
    killed_while_the_clock_is_set_back,
    cancelled_while_the_model_hangs,
    deleted_while_the_model_hangs,
    deleted_while_the_disk_is_full,
]


@pytest.fixture(scope="module")
def harmed(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    """One server for all scenes: after each it works."""
    clock = tmp_path_factory.mktemp("clock") / "clock"
    set_clock(clock, 1_800_000_000)
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TITLE_WAIT": "0"}
    env |= {"CHATKEEP_MODEL_RETRIES": "0", "CHATKEEP_DRAIN_SECONDS": "1"}
    folder = tmp_path_factory.mktemp("data")
    with Server(folder, env, program=("tests.clock", str(clock))) as made:
        yield made


def delete(server: Server, session: str) -> int:
    with server.client() as http:
        return http.delete(f"/sessions/{session}").status_code


@needs_strace
def test_a_reader_gets_the_end_when_a_turn_fails_while_its_session_is_deleted(
    harmed: Server, upstream: Upstream
) -> None:
    """The model's failure comes while the deletion waits for the disk."""
    fail = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=401, gate=fail)
    body = {"session_id": "deleted", "message": "words to be deleted"}
    wal = harmed.folder / "chatkeep.db-wal"
    slow = ["-o", os.devnull, "-e", "inject=fdatasync:delay_enter=1000000"]
    with (
        harmed.client() as http,
        http.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ThreadPoolExecutor(1) as pool,
    ):
        names = (event.name for event in events(response))
        assert next(names) == "turn.started"
        until(lambda: harmed.sessions()["deleted"]["title_source"] == "model")
        assert harmed.process is not None
        with attached(harmed.process.pid, "-e", "trace=fdatasync", *slow):
            before = wal.stat().st_mtime_ns
            deleting = pool.submit(delete, harmed, "deleted")
            until(lambda: wal.stat().st_mtime_ns != before)
            fail.set()
            assert list(names)[-1] == "turn.cancelled"
        assert deleting.result() == 204


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.__name__.replace("_", " "))
def test_a_turn_survives(harmed: Server, upstream: Upstream, pair: Callable[[Scene], None]) -> None:
    pair(Scene(harmed, upstream, pair.__name__))
    until(lambda: not [f for f in faults(harmed.folder) if "has not ended" in f])
    assert faults(harmed.folder) == []
