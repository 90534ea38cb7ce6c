"""Deleting a session for good: from every file, with its turns, and by itself after a while."""

import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError

from chatkeep.settings import Settings
from tests.process import Server, files_with, until
from tests.sse import STREAM, events
from tests.upstream import Answer, Call, Upstream, polite

DAY = 24 * 3_600 * 1_000_000


@pytest.fixture
def canary(request: pytest.FixtureRequest) -> str:
    """A word that nothing else has, not even another test."""
    return "Canary" + blake2b(request.node.name.encode(), digest_size=8).hexdigest()


def test_after_a_deletion_no_file_has_a_word_of_it(
    server: Server, upstream: Upstream, session: str, canary: str
) -> None:
    server.chat("another", "stays where it is")

    def wordy(call: Call) -> Answer:
        return polite(call) if call.is_title else Answer([f"{canary}reply ", "on and on " * 2_000])

    upstream.script = wordy
    for number in range(30):
        server.chat(session, f"{canary}question {number} " + "and so on " * 500)
    with server.client() as client:
        change = {
            "title": f"{canary}title",
            "system_prompt": f"{canary}prompt",
            "metadata": {f"{canary}key": f"{canary}value"},
        }
        client.patch(f"/sessions/{session}", json=change).raise_for_status()
        key = {"Idempotency-Key": f"{canary}idempotency"}
        body = {"session_id": session, "message": f"{canary}keyed"}
        client.post("/chat", json=body, headers=key).raise_for_status()
        assert files_with(server.folder, canary)

        deleted = client.delete(f"/sessions/{session}")

        assert (deleted.status_code, deleted.content) == (204, b"")
        assert files_with(server.folder, canary) == []
        assert client.get(f"/sessions/{session}").status_code == 404
        assert client.get(f"/history/{session}").status_code == 404
        assert client.get("/search", params={"q": f"{canary}question"}).json() == []
        assert client.delete(f"/sessions/{session}").status_code == 404
        # Who repeats this did not hear the answer, and does not mean a new session.
        again = client.post("/chat", json=body, headers=key)
        assert (again.status_code, again.json()["type"]) == (404, "/problems/session-not-found")
        assert client.get(f"/sessions/{session}").status_code == 404
        assert files_with(server.folder, canary) == []
        other = {"Idempotency-Key": f"{canary}anew"}
        assert client.post("/chat", json=body, headers=other).status_code == 200
        again = client.post("/chat", json=body, headers=key)
        assert again.status_code == 404
    assert len(server.history(session)) == 2
    assert len(server.history("another")) == 2


def test_a_running_turn_is_cancelled_first_and_those_that_wait(
    server: Server, upstream: Upstream, session: str, canary: str
) -> None:
    gate = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=gate)
    with server.client() as client, ThreadPoolExecutor() as pool:

        def follow(message: str) -> list[str]:
            body = {"session_id": session, "message": message}
            with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
                return [event.name for event in events(response)]

        def is_under_way(count: int) -> bool:
            listed = client.get("/usage").status_code == 200 and server.sessions()
            return session in listed and len(upstream.replies) >= count

        running = pool.submit(follow, f"{canary}running")
        until(lambda: is_under_way(1))
        waiting = [pool.submit(follow, f"{canary}waiting {n}") for n in range(3)]
        record = until(lambda: client.get(f"/sessions/{session}").json()["running_turn"])
        until(lambda: _waiting(server) == 3)

        assert client.delete(f"/sessions/{session}").status_code == 204

        assert running.result()[-1] == "turn.cancelled"
        assert [turn.result()[-1] for turn in waiting] == ["turn.cancelled"] * 3
        assert client.get(f"/turns/{record}").status_code == 404
        gate.set()
    assert files_with(server.folder, canary) == []
    assert server.chat(session, "a new beginning").status_code == 200
    assert len(server.history(session)) == 2


def _waiting(server: Server) -> int:
    path = f"file:{server.folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        sql = "SELECT count(*) FROM turns WHERE status = 'queued'"
        count: int = conn.execute(sql).fetchone()[0]
        return count


def test_many_deletions_at_once_and_turns_beside_them(
    server: Server, session: str, canary: str
) -> None:
    names = [f"{session} {number}" for number in range(24)]
    for name in names:
        server.chat(name, f"{canary}many")
    with server.client() as client, ThreadPoolExecutor(12) as pool:
        deleted = [pool.submit(client.delete, f"/sessions/{name}") for name in names]
        posted = [pool.submit(server.chat, session, f"beside {n}") for n in range(6)]

        assert {future.result().status_code for future in deleted} == {204}
        assert {future.result().status_code for future in posted} == {200}
    assert files_with(server.folder, f"{canary}many") == []
    assert len(server.history(session)) == 12


@pytest.mark.parametrize("odd", ["%00", "a%2Fb/c", "100 %", "?#&", "..%2f"])
def test_every_name_can_be_read_changed_and_deleted(server: Server, odd: str) -> None:
    server.chat(odd, "good morning to you")
    path = f"/sessions/{quote(odd, safe='')}"
    with server.client() as client:
        assert client.get(path).json()["session_id"] == odd
        assert client.patch(path, json={"title": "Odd"}).json()["title"] == "Odd"
        assert client.delete(path).status_code == 204
    assert odd not in server.sessions()


def test_what_it_cost_counts_on_without_a_name(server: Server, session: str) -> None:
    before = server.get("/usage?by=model")[0]["input_tokens"] if server.get("/usage") else 0
    server.chat(session, "what does it cost")
    counted = server.get("/usage?by=session&session_id=" + session)
    assert {row["session_id"] for row in counted} == {session}

    with server.client() as client:
        client.delete(f"/sessions/{session}")

    assert server.get("/usage?by=session&session_id=" + session) == []
    assert server.get("/usage?by=model")[0]["input_tokens"] == before + 11


def test_sessions_without_activity_expire(tmp_path: Path, upstream: Upstream, canary: str) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    server = Server(tmp_path / "data", env)
    with server:
        for name in ("old", "older", "fresh"):
            server.chat(name, f"{canary}{name}")
    _age(tmp_path / "data" / "chatkeep.db", {"old": 40, "older": 400, "fresh": 20})
    server.env |= {"CHATKEEP_RETENTION_DAYS": "30, nobody=1"}

    with server:
        until(lambda: list(server.sessions()) == ["fresh"])
        until(lambda: files_with(server.folder, f"{canary}old") == [])
        assert len(server.history("fresh")) == 2


def _age(path: Path, days: dict[str, int]) -> None:
    now = time.time_ns() // 1_000
    with contextlib.closing(sqlite3.connect(path)) as conn, conn:
        for name, age in days.items():
            at = now - age * DAY
            conn.execute(
                "UPDATE sessions SET created_at = ?, updated_at = ? WHERE session_id = ?",
                (at, at, name),
            )


@pytest.mark.parametrize("setting", ["soon", "1,acme=", "-3", "acme=x", "0", "007"])
def test_a_retention_that_is_no_number_of_days_is_refused(setting: str) -> None:
    with pytest.raises(ValidationError, match="not a number of days"):
        Settings(retention_days=setting)  # type: ignore[arg-type]  # as the environment has it


def test_who_reads_the_file_meanwhile_delays_its_last_traces_and_that_is_said(
    server: Server, session: str, canary: str
) -> None:
    server.chat(session, f"{canary} to be deleted")
    path = f"file:{server.folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        with server.client() as client:
            assert client.delete(f"/sessions/{session}").status_code == 202
            assert client.get(f"/sessions/{session}").status_code == 404
        reader.execute("COMMIT")
    server.stop()
    server.start()
    until(lambda: files_with(server.folder, canary) == [])
