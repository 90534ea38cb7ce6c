"""The machine's clock stands still, jumps ahead and jumps back: nothing depends on it."""

import threading
from pathlib import Path

from tests.process import Server, until
from tests.upstream import Answer, Upstream, polite

NOON = 1_800_000_000
DAY = 24 * 3_600


def test_a_clock_that_stands_still_or_jumps_back_harms_nothing(
    tmp_path: Path, upstream: Upstream
) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(NOON))
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_LEASE_SECONDS": "1"}
    with Server(tmp_path / "data", env, program=("tests.clock", str(clock))) as server:
        asked = []
        for jump in (0, 0, -DAY, 3 * DAY, -400 * DAY, 0):
            clock.write_text(str(NOON + jump))
            asked.append(f"at {jump}, number {len(asked)}")
            assert server.chat("s", asked[-1]).status_code == 200

        def keyed() -> str:
            with server.client() as client:
                body = {"session_id": "s", "message": "once"}
                answer = client.post("/chat", json=body, headers={"Idempotency-Key": "k"})
                return str(answer.json()["turn_id"])

        first = keyed()
        clock.write_text(str(NOON - 30 * DAY))
        assert keyed() == first
        never = threading.Event()
        upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=never)
        with server.client() as client:
            body = {"session_id": "s", "message": "left behind"}
            with client.stream(
                "POST", "/chat", json=body, headers={"Accept": "text/event-stream"}
            ) as response:
                next(response.iter_lines())
        clock.write_text(str(NOON - 800 * DAY))
        server.kill()
        never.set()
        upstream.script = polite
        server.start()
        until(lambda: len(server.history("s")) == 2 * len(asked) + 4)
        assert keyed() == first

        history = server.history("s")
        questions = [*asked, "once", "left behind"]
        assert [message["content"] for message in history[::2]] == questions
        assert [message["content"] for message in history[1::2]] == [
            f"Reply to: {question}" for question in questions
        ]
        times = [message["created_at"] for message in history]
        assert times == sorted(times)
        assert len(server.get("/sessions?limit=5")) == 1
