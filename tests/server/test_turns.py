"""Turns as their posters handle them: stopped, interrupted, in line, over time."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.process import PATIENCE, Server, until
from tests.sse import STREAM, Reading, events, read
from tests.upstream import Answer, Call, Upstream, polite


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as opened:
        yield opened


class Slow:
    """A script whose replies wait until they may go on; it says which questions it has heard."""

    def __init__(self, upstream: Upstream) -> None:
        self.go_on = threading.Event()
        self.pace = threading.Semaphore(0)
        self._upstream = upstream
        upstream.script = self

    def __call__(self, call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        if self.go_on.is_set():
            return Answer([call.messages[-1][1].upper()])
        return Answer(["So ", "far."], pace=self.pace)

    def wait_for_questions(self, count: int) -> None:
        until(lambda: len(self._upstream.replies) == count)


@pytest.fixture
def slow(upstream: Upstream) -> Iterator[Slow]:
    script = Slow(upstream)
    yield script
    script.go_on.set()
    script.pace.release(1_000)


def posted(
    pool: ThreadPoolExecutor, server: Server, session: str, message: str, **more: Any
) -> Future[httpx2.Response]:
    return pool.submit(server.chat, session, message, **more)


def running(client: httpx2.Client, session: str) -> str:
    """The turn that is in the way of a post."""
    body = {"session_id": session, "message": "in the way?", "on_busy": "reject"}
    answer = client.post("/chat", json=body)
    assert answer.status_code == 409
    return str(answer.json()["turn_id"])


def test_a_cancelled_turn_keeps_what_was_written_and_frees_its_session(
    client: httpx2.Client, server: Server, slow: Slow, session: str
) -> None:
    reading = Reading()
    body = {"session_id": session, "message": "one"}
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        for event in events(response):
            reading.take(event)
            if event.name == "turn.started":
                turn_id = event.data["turn_id"]
                slow.pace.release()
            if event.name == "message.delta":
                cancelled = client.post(f"/turns/{turn_id}/cancel")
                assert cancelled.status_code == 200
                assert cancelled.json()["status"] == "cancelled"
    assert reading.end is not None
    assert reading.end.name == "turn.cancelled"
    assert reading.text == reading.stored == "So "
    assert reading.end.data["type"] == "/problems/turn-cancelled"
    assert [(m["content"], m["status"]) for m in server.history(session)] == [
        ("one", "cancelled"),
        ("So ", "cancelled"),
    ]
    assert client.post(f"/turns/{turn_id}/cancel").json() == cancelled.json()
    assert read(client, turn_id).end == reading.end
    slow.go_on.set()
    assert server.chat(session, "two").json()["response"] == "TWO"
    done = client.get(f"/turns/{turn_id}").json()
    assert client.post(f"/turns/{turn_id}/cancel").json() == done
    assert client.post("/turns/turn_none/cancel").status_code == 404


def test_cancelling_stops_the_call_of_the_model(
    client: httpx2.Client,
    pool: ThreadPoolExecutor,
    server: Server,
    upstream: Upstream,
    session: str,
) -> None:
    gone = threading.Event()
    upstream.gone = gone.set
    upstream.script = lambda call: polite(call) if call.is_title else Answer(hang=True)
    answer = posted(pool, server, session, "one")
    until(lambda: len(upstream.replies) == 1)
    client.post(f"/turns/{running(client, session)}/cancel")
    assert answer.result().json()["type"] == "/problems/turn-cancelled"
    assert answer.result().status_code == 409
    assert gone.wait(PATIENCE)


def test_a_turn_that_is_cancelled_in_the_queue_never_calls_the_model(
    client: httpx2.Client,
    pool: ThreadPoolExecutor,
    server: Server,
    slow: Slow,
    upstream: Upstream,
    session: str,
) -> None:
    first = posted(pool, server, session, "one")
    slow.wait_for_questions(1)
    readings = [Reading() for _ in range(3)]

    def follow(number: int) -> None:
        body = {"session_id": session, "message": f"line {number}"}
        with (
            server.client() as own,
            own.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            for event in events(response):
                if event.name == "turn.started":
                    ids[number] = event.data["turn_id"]
                readings[number].take(event)

    ids: dict[int, str] = {}
    jobs = []
    for number in range(3):
        jobs.append(pool.submit(follow, number))
        until(lambda number=number: number in ids)
    stopped = client.post(f"/turns/{ids[1]}/cancel").json()
    assert (stopped["status"], stopped["messages"][0]["content"]) == ("cancelled", "line 1")
    jobs[1].result()
    assert readings[1].names == ("turn.started", "turn.cancelled")
    slow.go_on.set()
    slow.pace.release(9)
    first.result()
    for job in jobs:
        job.result()
    assert [call.messages[-1][1] for call in upstream.replies] == ["one", "line 0", "line 2"]
    assert server.contents(session) == [
        *("one", "So far.", "line 0", "LINE 0", "line 1", "line 2", "LINE 2")
    ]


def test_a_stream_says_where_its_events_are_before_any_comes(
    client: httpx2.Client, pool: ThreadPoolExecutor, server: Server, slow: Slow, session: str
) -> None:
    first = posted(pool, server, session, "one")
    slow.wait_for_questions(1)
    body = {"session_id": session, "message": "in line"}
    post = {"json": body, "headers": {**STREAM, "Idempotency-Key": session.replace(" ", "-")}}
    with client.stream("POST", "/chat", **post) as response:
        path = response.headers["content-location"]
        turn = client.get(path.removesuffix("/events")).json()
        assert (turn["status"], path) == ("queued", f"/turns/{turn['turn_id']}/events")
        (waiting,) = turn["messages"]
        assert (waiting["content"], waiting["status"]) == ("in line", "queued")
        assert (waiting["id"], waiting["parent_id"]) == (turn["user_message_id"], None)
        with client.stream("POST", "/chat", **post) as replay:
            assert replay.headers["content-location"] == path
            assert replay.headers["idempotent-replayed"] == "true"
        record = f"/sessions/{quote(session, safe='')}"
        assert client.get(record).json()["queued_turns"] == [turn["turn_id"]]
        client.post(f"/turns/{turn['turn_id']}/cancel")
        assert list(events(response))[-1].name == "turn.cancelled"
        assert client.get(record).json()["queued_turns"] == []
    slow.go_on.set()
    slow.pace.release(9)
    assert "content-location" not in first.result().headers


def test_a_post_that_interrupts_goes_on_from_what_was_written(
    pool: ThreadPoolExecutor, server: Server, slow: Slow, upstream: Upstream, session: str
) -> None:
    first = posted(pool, server, session, "one")
    slow.wait_for_questions(1)
    slow.pace.release()
    slow.go_on.set()
    second = server.chat(session, "two", on_busy="interrupt")
    assert second.json()["response"] == "TWO"
    stopped = first.result()
    assert (stopped.status_code, stopped.json()["type"]) == (409, "/problems/turn-cancelled")
    assert "newer message" in stopped.json()["detail"]
    statuses = [message["status"] for message in server.history(session)]
    assert statuses[0] == "cancelled"
    assert statuses[-2:] == ["completed", "completed"]
    assert server.chat(session, "three", on_busy="interrupt").json()["response"] == "THREE"


def test_a_conflict_names_the_turn_in_the_way_and_where_its_stream_is(
    client: httpx2.Client, pool: ThreadPoolExecutor, server: Server, slow: Slow, session: str
) -> None:
    first = posted(pool, server, session, "one")
    slow.wait_for_questions(1)
    refused = server.chat(session, "two", on_busy="reject")
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/session-busy"
    assert refused.headers["x-should-retry"] == "false"
    slow.pace.release(9)
    with client.stream("GET", refused.json()["events"]) as response:
        last = list(events(response))[-1]
    assert last.data["turn_id"] == refused.json()["turn_id"] == first.result().json()["turn_id"]
    slow.go_on.set()
    assert server.chat(session, "three", on_busy="reject").status_code == 200
    assert server.contents(session) == ["one", "So far.", "three", "THREE"]


def test_queued_turns_run_in_the_order_of_their_arrival_and_the_queue_is_bounded(
    client: httpx2.Client, pool: ThreadPoolExecutor, server: Server, slow: Slow, session: str
) -> None:
    answers = [posted(pool, server, session, "zero")]
    slow.wait_for_questions(1)
    first = running(client, session)
    for number in range(16):
        before = client.get(f"/turns/{first}").json()
        assert before["status"] == "running"
        answers.append(posted(pool, server, session, f"q{number}"))
        until(lambda count=number + 2: _turns(server, session) == count)
    full = server.chat(session, "too many")
    assert (full.status_code, full.json()["type"]) == (429, "/problems/queue-full")
    assert int(full.headers["retry-after"]) > 0
    slow.go_on.set()
    slow.pace.release(9)
    for answer in answers:
        assert answer.result().status_code == 200
    messages = server.contents(session)[::2]
    assert messages == ["zero", *(f"q{number}" for number in range(16))]


def _turns(server: Server, session: str) -> int:
    path = f"file:{server.folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        query = "SELECT turn_count FROM sessions WHERE session_id = ?"
        return int(conn.execute(query, (session,)).fetchone()[0])


def test_a_turn_that_takes_too_long_fails_and_keeps_its_text(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> None:
    pace = threading.Semaphore(1)
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TURN_TIMEOUT": "2"}
    with Server(tmp_path_factory.mktemp("data"), upstream.env | env) as server:
        # The model's client is loaded with the first turns.
        until(lambda: server.chat("warm", "up").status_code == 200)
        upstream.script = lambda call: polite(call) if call.is_title else Answer(pace=pace)
        answer = server.chat("s", "one")
        assert (answer.status_code, answer.json()["type"]) == (504, "/problems/model-timed-out")
        assert server.contents("s") == ["one", "Fine"]
        pace.release(99)
        assert server.chat("s", "two").status_code == 200


def test_a_server_with_too_many_requests_says_so(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, pool: ThreadPoolExecutor
) -> None:
    go_on = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=go_on)
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_MAX_REQUESTS": "2"}
    with Server(tmp_path_factory.mktemp("data"), upstream.env | env) as server:
        answers = [posted(pool, server, f"s{number}", "one") for number in range(2)]
        until(lambda: len(upstream.replies) == 2)
        refused = server.chat("s3", "one")
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/overloaded")
        assert refused.headers["retry-after"]
        go_on.set()
        assert {answer.result().status_code for answer in answers} == {200}
        assert server.chat("s3", "one").status_code == 200
