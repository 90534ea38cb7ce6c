"""The machine's clock stands still, jumps ahead and jumps back: nothing depends on it."""

import threading
from pathlib import Path

from tests.clock import set_clock
from tests.process import Server, until
from tests.upstream import Answer, Upstream, polite

NOON = 1_800_000_000
DAY = 24 * 3_600


def test_a_clock_that_stands_still_or_jumps_back_harms_nothing(
    tmp_path: Path, upstream: Upstream
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, NOON)
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_LEASE_SECONDS": "1"}
    with Server(tmp_path / "data", env, program=("tests.clock", str(clock))) as server:
        questions = []
        for jump in (0, 0, -DAY, 3 * DAY, -400 * DAY, 0):
            set_clock(clock, NOON + jump)
            questions.append(f"at {jump}, number {len(questions)}")
            assert server.chat("s", questions[-1]).status_code == 200

        def keyed() -> str:
            with server.client() as client:
                body = {"session_id": "s", "message": "once"}
                answer = client.post("/chat", json=body, headers={"Idempotency-Key": "k"})
                return str(answer.json()["turn_id"])

        first = keyed()
        set_clock(clock, NOON - 30 * DAY)
        assert keyed() == first
        never = threading.Event()
        upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=never)
        with server.client() as client:
            body = {"session_id": "s", "message": "left behind"}
            with client.stream(
                "POST", "/chat", json=body, headers={"Accept": "text/event-stream"}
            ) as response:
                next(response.iter_lines())
        set_clock(clock, NOON - 800 * DAY)
        server.kill()
        never.set()
        upstream.script = polite
        server.start()
        until(lambda: len(server.history("s")) == 2 * len(questions) + 4)
        assert keyed() == first

        history = server.history("s")
        questions += ["once", "left behind"]
        assert [message["content"] for message in history[::2]] == questions
        assert [message["content"] for message in history[1::2]] == [
            f"Reply to: {question}" for question in questions
        ]
        times = [message["created_at"] for message in history]
        assert times == sorted(times)
        assert len(server.get("/sessions?limit=5")) == 1


def post_with_key(server: Server, session: str, key: str) -> str:
    with server.client() as client:
        body = {"session_id": session, "message": f"under {key}"}
        answer = client.post("/chat", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["turn_id"])


def test_a_clock_that_jumps_a_year_and_back_harms_nothing(
    tmp_path: Path, upstream: Upstream
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, NOON)
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_LEASE_SECONDS": "1"}
    with Server(tmp_path / "data", env, program=("tests.clock", str(clock))) as server:
        go_on = threading.Event()
        upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=go_on)
        with server.client() as client:
            body = {"session_id": "s", "message": "while it jumps"}
            stream = {"Accept": "text/event-stream"}
            with client.stream("POST", "/chat", json=body, headers=stream) as response:
                lines = response.iter_lines()
                next(lines)
                for jump in (365, -365, 0, 365):
                    set_clock(clock, NOON + jump * DAY)
                    assert server.get("/sessions/s")["running_turn"]
                go_on.set()
                assert "event: turn.completed" in "".join(lines)
        upstream.script = polite

        # It is a year later: a key that was used then has had its day.
        early = post_with_key(server, "early", "k")
        set_clock(clock, NOON + 730 * DAY)
        late = post_with_key(server, "late", "late")
        assert post_with_key(server, "early", "k") != early
        # And back: what seems to come from the future is of today, so no retry is doubled.
        set_clock(clock, NOON)
        assert post_with_key(server, "late", "late") == late

        for session in ("s", "early", "late"):
            server.chat(session, "it is today again")
            times = [message["created_at"] for message in server.history(session)]
            assert times == sorted(times)
            record = server.get(f"/sessions/{session}")
            assert record["created_at"] <= times[0] <= times[-1] <= record["updated_at"]
        # What is new is listed below what a clock has put into the future, and is not lost.
        server.chat("new", "hello out there")
        assert server.sessions()["new"]["created_at"].startswith("2027-01-15")
