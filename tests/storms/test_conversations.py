"""Anything that clients, the clock and a killer may do to a few sessions, step by step.

After each step the server's answers are compared with those of a model of a conversation. A
normal run tries some sequences of steps, always the same; with `--full` there are 200, others each
time. A failure prints the steps that lead to it.
"""

import contextlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.clock import set_clock
from tests.faults.test_kills import check_database, hidden
from tests.process import Server, until
from tests.sse import STREAM, TERMINAL, Event, events, read
from tests.storms.conversation import Conversation, Turn, pieces_of, reply_to
from tests.upstream import Answer, Call, Upstream, polite

SOME, ALL = (10, 40), (200, 60)
"""Sequences and steps of each, in a normal run and with `--full`."""

NAMES = ("first", "second")
MAX_QUEUED = 2
MAX_KILLS = 3
"""Kills in a sequence: as many as the attempts of a turn. A start takes a second."""

RETENTION_DAYS = 1
NOON = 1_800_000_000
HOUR = 3_600

ENDINGS = {"completes": "completed", "fails": "failed", "waits": "completed"}
"""What a message asks of its model, and how its turn ends then."""


class Script:
    """A model that obeys the second word of a message, and waits until it is released."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces: dict[str, list[threading.Semaphore]] = defaultdict(list)
        self._released: set[str] = set()

    def __call__(self, call: Call) -> Answer:
        content = call.messages[-1][1]
        word = content.split()[1]
        if call.is_title:
            return polite(call)
        if word == "fails":
            return Answer(status=401)
        if word == "completes":
            return Answer(pieces_of(content))
        with self._lock:
            # Its first piece comes at once.
            pace = threading.Semaphore(1_000 if content in self._released else 1)
            self._paces[content].append(pace)
        return Answer(pieces_of(content), pace=pace)

    def release(self, content: str) -> None:
        with self._lock:
            self._released.add(content)
            for pace in self._paces.pop(content, []):
                pace.release(1_000)

    def is_released(self, content: str) -> bool:
        return content in self._released


class World:
    """A server, its model and its clock, for all sequences of steps."""

    def __init__(self, server: Server, upstream: Upstream, clock: Path) -> None:
        self.server = server
        self.script = Script()
        upstream.script = self.script
        self.clock_file = clock
        self.clock = NOON
        self.runs = itertools.count()
        self.numbers = itertools.count()
        self.steps = 0

    def pass_hours(self, hours: int) -> None:
        self.clock += hours * HOUR
        set_clock(self.clock_file, self.clock)


class Conversations(RuleBasedStateMachine):
    """The steps. `self.sessions` is what the server must have made of them."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.run = next(self.world.runs)
        self.sessions: dict[str, Conversation] = {}
        self.keys: dict[str, tuple[str, dict[str, Any], Turn]] = {}
        self.http = self.world.server.client()
        self.kills = 0

    # What a step is made of.

    def id_of(self, name: str) -> str:
        return f"run {self.run}/{name}"

    def content(self, kind: str) -> str:
        return f"w{self.run}x{next(self.world.numbers)} {kind}"

    def post(self, body: dict[str, Any], key: str = "") -> httpx2.Response:
        """Post and leave, once it is known whether the turn was accepted."""
        headers = {**STREAM, **({"Idempotency-Key": key} if key else {})}
        with self.http.stream("POST", "/chat", json=body, headers=headers) as response:
            if response.status_code != 200:
                response.read()
        return response

    def accepted(self, name: str, body: dict[str, Any], response: httpx2.Response) -> Turn:
        """Let the model accept the turn that the server has accepted."""
        assert response.status_code == 200, response.text
        turn_id = response.headers["content-location"].split("/")[2]
        record = self.http.get(f"/turns/{turn_id}").json()
        session = self.sessions.setdefault(name, Conversation(self.world.clock))
        turn = Turn(turn_id, record["user_message_id"], record["message_id"], "", 0)
        if "regenerate" in body:
            original = session.turns[body["regenerate"]]
            assert turn.question == original.question
            turn.content, turn.regenerates = original.content, True
        else:
            turn.content = body["message"]
        if "parent_id" in body:
            turn.names_parent, turn.below = True, body["parent_id"]
        running = session.running
        session.accept(turn, self.world.clock)
        if running is not None and body.get("on_busy") == "interrupt":
            self.stop(session)
        self.go_on(session)
        return turn

    def stop(self, session: Conversation) -> None:
        assert session.running is not None
        content = session.running.content
        session.end("cancelled", pieces_of(content)[0], self.world.clock)

    def go_on(self, session: Conversation) -> None:
        """Let the model's turns end that wait for nobody, then wait for the server to do so."""
        while (turn := session.running) is not None:
            kind = turn.content.split()[1]
            if kind == "waits" and not self.world.script.is_released(turn.content):
                self.wait_for_first_piece(turn)
                break
            text = "" if kind == "fails" else reply_to(turn.content)
            session.end(ENDINGS[kind], text, self.world.clock)
        for turn in session.ended:
            self.wait_for_end(turn)

    def wait_for_first_piece(self, turn: Turn) -> None:
        with self.http.stream("GET", f"/turns/{turn.id}/events") as response:
            assert next(e for e in events(response) if e.name == "message.delta").data == {
                "text": pieces_of(turn.content)[0]
            }

    def wait_for_end(self, turn: Turn) -> None:
        """All that a reader of the stream gets is what is stored, however the turn ended."""
        reading = read(self.http, turn.id)
        assert reading.end is not None
        assert reading.end.name == f"turn.{turn.status}", (turn, reading)
        assert reading.text == turn.text
        if turn.text:
            assert reading.stored == turn.text

    def drop_session(self, name: str) -> None:
        session = self.sessions.pop(name)
        self.keys = {key: used for key, used in self.keys.items() if used[0] != name}
        for turn in session.turns.values():
            self.world.script.release(turn.content)

    def expire(self) -> None:
        """Wait until what is too old is gone."""
        for name, session in list(self.sessions.items()):
            if session.expires(self.world.clock, RETENTION_DAYS):
                path = f"/sessions/{self.id_of(name)}"
                until(lambda path=path: self.http.get(path).status_code == 404)
                self.drop_session(name)

    # The steps.

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            body = {"session_id": self.id_of(name), "message": self.content("completes")}
            self.submit(name, {**body, "on_busy": "queue"}, "")

    @rule(
        name=st.sampled_from(NAMES),
        kind=st.sampled_from(list(ENDINGS)),
        on_busy=st.sampled_from(["queue", "reject", "interrupt"]),
        with_key=st.booleans(),
        data=st.data(),
    )
    def post_message(
        self, name: str, kind: str, on_busy: str, with_key: bool, data: st.DataObject
    ) -> None:
        session = self.sessions.get(name)
        body = {"session_id": self.id_of(name), "message": self.content(kind), "on_busy": on_busy}
        if session is not None and data.draw(st.booleans(), "branches"):
            body["parent_id"] = data.draw(st.sampled_from([None, *session.messages]), "below")
        self.submit(name, body, body["message"].split()[0] if with_key else "")

    @precondition(lambda self: any(session.turns for session in self.sessions.values()))
    @rule(data=st.data(), on_busy=st.sampled_from(["queue", "reject", "interrupt"]))
    def regenerate(self, data: st.DataObject, on_busy: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        turn = data.draw(st.sampled_from(list(self.sessions[name].turns)))
        body = {"session_id": self.id_of(name), "regenerate": turn, "on_busy": on_busy}
        self.submit(name, body, "")

    def submit(self, name: str, body: dict[str, Any], key: str) -> None:
        session = self.sessions.get(name)
        response = self.post(body, key)
        if session is not None and session.running is not None:
            if body["on_busy"] == "reject":
                assert response.status_code == 409
                assert response.json()["turn_id"] == session.running.id
                return
            if len(session.waiting) >= MAX_QUEUED:
                assert response.status_code == 429
                return
        turn = self.accepted(name, body, response)
        if key:
            self.keys[key] = (name, body, turn)
        self.compare(name)

    @precondition(lambda self: self.keys)
    @rule(data=st.data(), other=st.booleans())
    def repeat_a_request(self, data: st.DataObject, other: bool) -> None:
        key = data.draw(st.sampled_from(list(self.keys)))
        name, body, turn = self.keys[key]
        if self.world.clock - turn.accepted >= 24 * HOUR:
            # The key has had its day: the request is a new one.
            del self.keys[key]
            self.submit(name, body, key)
            return
        if other:
            assert self.post({**body, "message": "another"}, key).status_code == 422
            return
        response = self.post(body, key)
        assert response.headers["idempotent-replayed"] == "true"
        assert response.headers["content-location"] == f"/turns/{turn.id}/events"
        self.compare(name)

    @precondition(lambda self: any(session.turns for session in self.sessions.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        session = self.sessions[name]
        turn = session.turns[data.draw(st.sampled_from(list(session.turns)))]
        if session.running is turn:
            self.stop(session)
        elif turn.status == "queued":
            turn.status = "cancelled"
        answer = self.http.post(f"/turns/{turn.id}/cancel")
        assert answer.json()["status"] == turn.status
        self.go_on(session)
        self.compare(name)

    @precondition(lambda self: any(session.running for session in self.sessions.values()))
    @rule(data=st.data())
    def let_the_model_go_on(self, data: st.DataObject) -> None:
        busy = sorted(name for name, session in self.sessions.items() if session.running)
        name = data.draw(st.sampled_from(busy))
        running = self.sessions[name].running
        assert running is not None
        self.world.script.release(running.content)
        self.go_on(self.sessions[name])
        self.compare(name)

    @precondition(lambda self: any(session.messages for session in self.sessions.values()))
    @rule(data=st.data())
    def choose_a_branch(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        session = self.sessions[name]
        message = data.draw(st.sampled_from(list(session.messages)))
        answer = self.http.patch(f"/sessions/{self.id_of(name)}", json={"head": message})
        assert answer.status_code == (200 if session.is_idle else 409)
        if session.is_idle:
            session.choose(message, self.world.clock)
        self.compare(name)

    @precondition(lambda self: self.sessions)
    @rule(
        data=st.data(),
        change=st.sampled_from(
            [{"pinned": True}, {"pinned": False, "archived": True}, {"metadata": {"a": [1, "b"]}}]
        ),
        title=st.sampled_from([None, "A Title of Mine", "Another Title"]),
        tag=st.sampled_from(["none", "fresh", "stale"]),
    )
    def change_settings(
        self, data: st.DataObject, change: dict[str, object], title: str | None, tag: str
    ) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        session, path = self.sessions[name], f"/sessions/{self.id_of(name)}"
        # A title that the model still owes would change the tag too.
        until(lambda: session.title or self.http.get(path).json()["title_source"] == "model")
        etag = self.http.get(path).headers["etag"]
        if tag == "stale":
            session.settings["metadata"] = {"number": next(self.world.numbers)}
            between = {"metadata": session.settings["metadata"]}
            assert self.http.patch(path, json=between).status_code == 200
        body = {**change, **({"title": title} if title else {})}
        headers = {} if tag == "none" else {"If-Match": etag}
        answer = self.http.patch(path, json=body, headers=headers)
        assert answer.status_code == (412 if tag == "stale" else 200), answer.text
        if tag != "stale":
            session.settings |= change
            session.title = title or session.title
        self.compare(name)

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        assert self.http.delete(f"/sessions/{self.id_of(name)}").status_code == 204
        self.drop_session(name)
        self.compare(name)

    @precondition(lambda self: any(session.is_idle for session in self.sessions.values()))
    @rule(data=st.data(), deletes=st.booleans())
    def carry_away_and_back(self, data: st.DataObject, deletes: bool) -> None:
        idle = sorted(name for name, session in self.sessions.items() if session.is_idle)
        name = data.draw(st.sampled_from(idle))
        body = self.http.get("/export", params={"session_id": self.id_of(name)}).content
        if deletes:
            assert self.http.delete(f"/sessions/{self.id_of(name)}").status_code == 204
            self.keys = {key: used for key, used in self.keys.items() if used[0] != name}
            self.sessions[name].import_times(self.world.clock)
        report = self.http.post("/import", content=body).json()
        assert (report["imported"], report["skipped_count"]) == ((1, 0) if deletes else (0, 1))
        self.compare(name)

    @precondition(lambda self: any(session.ended for session in self.sessions.values()))
    @rule(data=st.data())
    def read_on_from_anywhere(self, data: st.DataObject) -> None:
        ended = [turn for session in self.sessions.values() for turn in session.ended]
        turn = data.draw(st.sampled_from(ended))
        with self.http.stream("GET", f"/turns/{turn.id}/events") as response:
            all_events: list[Event] = list(events(response))
        # How many pieces arrive together depends on the moment; what is drawn must not.
        at = data.draw(st.integers(0, 999), "read before") % (len(all_events) - 1)
        before = "".join(e.data["text"] for e in all_events[: at + 1] if e.name == "message.delta")
        rest = read(self.http, turn.id, after=all_events[at].id)
        assert before + rest.text == turn.text
        assert rest.names[-1] in TERMINAL

    @precondition(lambda self: any(session.messages for session in self.sessions.values()))
    @rule(data=st.data())
    def search(self, data: st.DataObject) -> None:
        messages = [m for session in self.sessions.values() for m in session.messages.values()]
        word = data.draw(st.sampled_from(messages)).content.split()[-2]
        hits = self.http.get("/search", params={"q": word, "limit": 100}).json()
        assert {hit["message_id"] for hit in hits if hit["message_id"]} == {
            message.id for message in messages if word in message.content.split()
        }

    @rule(hours=st.sampled_from([-5, 14, 14, 14, 400 * 24]))
    def let_the_clock_jump(self, hours: int) -> None:
        self.world.pass_hours(hours)
        self.expire()

    @precondition(
        lambda self: self.kills < MAX_KILLS and any(s.running for s in self.sessions.values())
    )
    @rule()
    def kill_the_server(self) -> None:
        self.kills += 1
        self.world.server.kill()
        self.world.server.start()
        self.http.close()
        self.http = self.world.server.client()
        for name, session in self.sessions.items():
            session.restart(self.world.clock)
            self.go_on(session)
            self.compare(name)

    # What must be true.

    def compare(self, name: str) -> None:
        """All that a client can read of a session is what the model says."""
        self.world.steps += 1
        path, session = self.id_of(name), self.sessions.get(name)
        if session is None:
            assert self.http.get(f"/sessions/{path}").status_code == 404
            assert self.http.get(f"/history/{path}").status_code == 404
            return
        record = self.http.get(f"/sessions/{path}").json()
        expected = {
            **session.settings,
            "head": session.head,
            "message_count": len(session.branch),
            "running_turn": session.running.id if session.running else None,
            "queued_turns": [turn.id for turn in session.waiting if turn.status == "queued"],
        }
        if session.title:
            expected |= {"title": session.title, "title_source": "user"}
        assert {field: record[field] for field in expected} == expected
        history = self.http.get(f"/history/{path}", params={"details": True}).json()
        assert [_as_model(message) for message in history] == [
            (m.id, m.parent, m.role, m.content, m.status, m.turn, session.children(m.parent))
            for m in session.branch
        ]
        times = [message["created_at"] for message in history]
        assert times == sorted(times)

    def teardown(self) -> None:
        """In the end nothing runs, the list is right, the file is whole; then it is emptied."""
        with contextlib.closing(self.http):
            for name, session in self.sessions.items():
                for turn in session.turns.values():
                    self.world.script.release(turn.content)
                self.go_on(session)
                self.compare(name)
            listed = self.http.get("/sessions").json()
            assert {entry["session_id"]: entry["message_count"] for entry in listed} == {
                self.id_of(name): len(session.branch) for name, session in self.sessions.items()
            }
            # What was deleted or has expired, also of earlier runs, is removed in the background.
            until(lambda: not hidden(self.world.server))
            check_database(self.world.server)
            for name in self.sessions:
                assert self.http.delete(f"/sessions/{self.id_of(name)}").status_code == 204


def _as_model(message: dict[str, Any]) -> tuple[object, ...]:
    fields = ("id", "parent_id", "role", "content", "status", "turn_id", "siblings")
    return tuple(message[field] for field in fields)


@pytest.fixture
def world(tmp_path: Path, upstream: Upstream) -> Iterator[World]:
    clock = tmp_path / "clock"
    set_clock(clock, NOON)
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TITLE_WAIT": "0"}
    env |= {"CHATKEEP_MAX_QUEUED_TURNS": str(MAX_QUEUED)}
    env |= {"CHATKEEP_RETENTION_DAYS": str(RETENTION_DAYS)}
    env |= {"CHATKEEP_RETENTION_CHECK_SECONDS": "0.1"}
    with Server(tmp_path / "data", env, program=("tests.clock", str(clock))) as server:
        yield World(server, upstream, clock)


def test_a_server_agrees_with_a_model_of_conversations_after_any_steps(
    world: World, full: bool, summarise: Callable[[str], None]
) -> None:
    machine = type("Machine", (Conversations,), {"world": world})
    sequences, steps = ALL if full else SOME
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=steps,
            derandomize=not full,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    summarise(f"{sequences} sequences of {steps} steps: {world.steps} comparisons with the model")
