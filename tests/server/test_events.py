"""`GET /events`: what happens to the sessions, for whoever watches, honest about gaps."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import httpx2
import pytest

from tests.process import PATIENCE, Server
from tests.sse import Event, lines_of, parse
from tests.upstream import Answer, Upstream, polite


@contextmanager
def watching(server: Server, **headers: str) -> Iterator["Queue[Event]"]:
    """The events as they come, from the moment when the block begins."""
    seen: Queue[Event] = Queue()
    started = threading.Event()
    stop = threading.Event()

    def lines(response: httpx2.Response) -> Iterator[str]:
        for line in lines_of(response):
            started.set()
            if stop.is_set():
                return
            yield line

    def watch() -> None:
        with (
            server.client() as client,
            client.stream("GET", "/events", headers=headers) as response,
        ):
            for event in parse(lines(response)):
                seen.put(event)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    yield seen
    stop.set()
    # One more event wakes the reader, which then leaves.
    server.chat("the last one", "goodbye to you")
    thread.join(PATIENCE)


def until_name(seen: "Queue[Event]", name: str, **data: Any) -> list[Event]:
    """The events up to the first with this name and this in it."""
    received = []
    while True:
        event = seen.get(timeout=PATIENCE)
        received.append(event)
        if event.name == name and data.items() <= event.data.items():
            return received


def test_a_watcher_sees_what_happens_whoever_causes_it(server: Server, session: str) -> None:
    with watching(server) as seen:
        answer = server.chat(session, "good morning to you").json()
        started = until_name(seen, "turn.ended", session_id=session)
        names = [event.name for event in started if event.data.get("session_id") == session]
        assert names[:2] == ["session.created", "turn.started"]
        assert started[-1].data == {
            "turn_id": answer["turn_id"],
            "session_id": session,
            "status": "completed",
        }
        if "session.titled" not in names:
            titled = until_name(seen, "session.titled", session_id=session)[-1]
            assert titled.data["title"] == answer["title"]

        with server.client() as client:
            changed = client.patch(f"/sessions/{session}", json={"title": "Mine"}).json()
            assert changed["title"] == "Mine"
            updated = until_name(seen, "session.updated", session_id=session)[-1]
            assert updated.data == server.sessions()[session]

            client.delete(f"/sessions/{session}")
            deleted = until_name(seen, "session.deleted", session_id=session)[-1]
            assert deleted.data == {"session_id": session}


def test_a_turn_that_is_cancelled_has_its_event_too(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(hang=True)
    with watching(server) as seen:
        thread = threading.Thread(target=server.chat, args=(session, "never answered"))
        thread.start()
        turn_id = until_name(seen, "turn.started", session_id=session)[-1].data["turn_id"]
        with server.client() as client:
            client.post(f"/turns/{turn_id}/cancel")
        thread.join()

        assert until_name(seen, "turn.ended", turn_id=turn_id)[-1].data["status"] == "cancelled"
        upstream.script = polite


def test_a_session_that_is_deleted_announces_the_ends_of_its_turns(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(hang=True)
    with watching(server) as seen:
        threads = []
        turn_ids = []
        for name in ("turn.started", "turn.queued"):
            thread = threading.Thread(target=server.chat, args=(session, "never answered"))
            thread.start()
            threads.append(thread)
            turn_ids.append(until_name(seen, name, session_id=session)[-1].data["turn_id"])
        with server.client() as client:
            client.delete(f"/sessions/{session}")
        for thread in threads:
            thread.join()

        ends: dict[str, str] = {}
        while len(ends) < len(turn_ids):
            data = until_name(seen, "turn.ended", session_id=session)[-1].data
            ends[data["turn_id"]] = data["status"]
        assert ends == dict.fromkeys(turn_ids, "cancelled")
        upstream.script = polite


def test_a_watcher_who_comes_back_has_missed_nothing(server: Server, session: str) -> None:
    with watching(server) as seen:
        server.chat(session, "good morning to you")
        first = until_name(seen, "turn.started", session_id=session)[-1]
        rest = until_name(seen, "turn.ended", session_id=session)

    with watching(server, **{"Last-Event-ID": first.id}) as again:
        assert until_name(again, "turn.ended", session_id=session)[-1] == rest[-1]


@pytest.mark.parametrize("after", ["", "nonsense", "0123456789ab-5", "x-99999999999999999999"])
def test_a_watcher_who_was_away_too_long_has_to_read_the_list(server: Server, after: str) -> None:
    with watching(server, **{"Last-Event-ID": after}) as seen:
        server.chat("any", "good morning to you")
        first = seen.get(timeout=PATIENCE)
    assert (first.name == "events.missed") is bool(after)


def test_a_watcher_who_is_further_behind_than_is_stored_gets_an_event_of_it(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_MAX_FEED_EVENTS": "4"}
    with Server(tmp_path / "data", env) as server:
        with watching(server) as seen:
            server.chat("s", "good morning to you")
            first = until_name(seen, "session.created")[-1]
        for number in range(4):
            server.chat("s", f"good morning {number}")

        with watching(server, **{"Last-Event-ID": first.id}) as again:
            missed = again.get(timeout=PATIENCE)
            assert missed.name == "events.missed"
            server.chat("s", "good evening")
            assert until_name(again, "turn.ended")[-1].data["session_id"] == "s"


def test_a_watcher_does_not_hold_up_the_end_of_the_server(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    server = Server(tmp_path / "data", env)
    server.start()
    with server.client() as client, client.stream("GET", "/events") as response:
        lines = response.iter_lines()
        assert next(lines).startswith(":")
        assert server.process is not None
        server.process.terminate()
        assert [line for line in lines if line.startswith("event")] == []
    assert server.process.wait(PATIENCE) == 0
