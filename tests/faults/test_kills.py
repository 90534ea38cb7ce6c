"""The server is killed at every write and sync of its database: nothing is lost, half or doubled.

A normal run tries some of the points, `pytest tests/faults/test_kills.py --full` each of them.
"""

import contextlib
import itertools
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.faults.strace import WRITES, attached, deadly, needs_strace
from tests.process import Server, files_with, until
from tests.sse import STREAM, Event, events
from tests.store.test_schema import database_of, rows_of
from tests.upstream import Answer, Call, Upstream, polite

pytestmark = needs_strace

SOME, CLOSER = 20, 9
"""In a normal run, one of so many points is tried; where a guarantee is broken, more of them."""

QUIET = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_LEASE_SECONDS": "3600"}

Seen = list[Event]


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    with Server(tmp_path / "data", {**upstream.env, **QUIET, "CHATKEEP_TITLE_WAIT": "0"}) as made:
        yield made


def sweep(
    server: Server,
    step: int,
    *,
    prepare: Callable[[str], None],
    act: Callable[[str], Seen],
    check: Callable[[str, Seen], None],
) -> int:
    """Kill the server at one call later each time, until a kind of call does not come any more.

    Each time in a new session. `act` waits for all that it sets off, or for the server's end, and
    returns what its client saw; `check` looks at what the next start makes of it. Returns how
    many points there were.
    """
    points = 0
    for call in WRITES:
        for number in itertools.count(1, step):
            session = f"{call} {number}"
            prepare(session)
            assert server.process is not None
            with attached(server.process.pid, *deadly(server.folder, call, number)):
                seen = act(session)
            is_dead = server.process.poll() is not None
            if is_dead:
                assert server.process.returncode == -9
                check_transactions(server)
                server.start()
            check(session, seen)
            check_database(server)
            if not is_dead:
                break
            points += 1
    return points


def post(server: Server, session: str, message: str) -> Seen:
    """Post a message with a key of its own; return the events that came before the end."""
    seen: Seen = []
    headers = {**STREAM, "Idempotency-Key": f"{session}/{message}".replace(" ", "-")}
    body = {"session_id": session, "message": message}
    with (
        contextlib.suppress(httpx2.TransportError),
        server.client() as client,
        client.stream("POST", "/chat", json=body, headers=headers) as response,
    ):
        seen.extend(events(response))
    return seen


def turn_of(seen: Seen, name: str) -> str | None:
    """The turn that an event of this name acknowledged."""
    return next((event.data["turn_id"] for event in seen if event.name == name), None)


def ended(server: Server, turn_id: str) -> str | None:
    status = str(server.get(f"/turns/{turn_id}")["status"])
    return None if status in {"queued", "running"} else status


def is_dead(server: Server) -> bool:
    assert server.process is not None
    return server.process.poll() is not None


def check_turn(server: Server, session: str, message: str, seen: Seen, before: list[str]) -> None:
    """Whatever was acknowledged is there once; a retry makes it so in any case."""
    whole = [*before, message, f"Reply to: {message}"]
    if turn_id := turn_of(seen, "turn.started"):
        turn = server.get(f"/turns/{turn_id}")
        is_recovered = turn["attempt"] > 1 or turn["status"] not in {"queued", "running"}
        assert is_recovered, "a turn of the dead process was not recovered"
        assert until(lambda: ended(server, turn_id)) == "completed"
        assert server.contents(session) == whole, "what was acknowledged is not stored"
    # What a client does that was cut off: the same again, with the same key.
    again = post(server, session, message)
    assert again[-1].name == "turn.completed"
    if turn_id:
        assert again[-1].data["turn_id"] == turn_id
    assert server.contents(session) == whole, "what was answered is not stored"
    assert {row["status"] for row in server.history(session)} == {"completed"}


def check_database(server: Server) -> None:
    path = f"file:{server.folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
        half = conn.execute(
            "SELECT id FROM turns WHERE status IN ('queued', 'running') OR (status = 'completed') "
            "<> EXISTS (SELECT 1 FROM messages WHERE messages.id = turns.message_id) "
            "AND status <> 'cancelled'"
        ).fetchall()
        assert half == []


def check_transactions(server: Server) -> None:
    """Look at what a dead process left, in a copy: opening it writes to its log."""
    with tempfile.TemporaryDirectory() as folder:
        for file in server.folder.glob("chatkeep.db*"):
            shutil.copy(file, folder)
        with contextlib.closing(sqlite3.connect(f"{folder}/chatkeep.db")) as conn:
            sql = "SELECT turns.id FROM turns JOIN messages ON messages.id = turns.message_id "
            halves = conn.execute(f"{sql} WHERE turns.status IN ('queued', 'running')").fetchall()
    assert halves == [], "a reply was stored without the end of its turn"


def first_turn(server: Server, upstream: Upstream, step: int) -> int:
    def act(session: str) -> Seen:
        upstream.calls.clear()
        seen = post(server, session, "hello out there")
        if turn_of(seen, "turn.completed"):
            until(lambda: is_dead(server) or titled(server, session))
            # Its write was answered, so that nothing more will be written.
        else:
            until(lambda: is_dead(server))
        return seen

    def check(session: str, seen: Seen) -> None:
        if turn_of(seen, "turn.completed"):
            assert len(upstream.replies) == 1
        check_turn(server, session, "hello out there", seen, [])
        until(lambda: titled(server, session))
        assert server.sessions()[session]["title"] == "hello out there"

    return sweep(server, step, prepare=lambda _: None, act=act, check=check)


def titled(server: Server, session: str) -> bool:
    try:
        return bool(server.sessions()[session]["title_source"] == "model")
    except httpx2.TransportError:
        return False


def later_turn(server: Server, _upstream: Upstream, step: int) -> int:
    def prepare(session: str) -> None:
        post(server, session, "first one here")
        until(lambda: titled(server, session))

    def act(session: str) -> Seen:
        seen = post(server, session, "second")
        if not turn_of(seen, "turn.completed"):
            until(lambda: is_dead(server))
        return seen

    def check(session: str, seen: Seen) -> None:
        before = ["first one here", "Reply to: first one here"]
        check_turn(server, session, "second", seen, before)

    return sweep(server, step, prepare=prepare, act=act, check=check)


def cancel(server: Server, upstream: Upstream, step: int) -> int:
    turns: dict[str, str] = {}

    def paced(call: Call) -> Answer:
        pace = threading.Semaphore(1)
        return polite(call) if call.is_title else Answer(["So ", "far."], pace=pace)

    def follow(session: str) -> None:
        body = {"session_id": session, "message": "stop me then"}
        with (
            contextlib.suppress(httpx2.TransportError),
            server.client() as client,
            client.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            for event in events(response):
                if event.name == "message.delta":
                    written.add(session)
                turns.setdefault(session, event.data.get("turn_id", ""))

    written: set[str] = set()

    def prepare(session: str) -> None:
        upstream.script = paced
        pool.submit(follow, session)
        until(lambda: session in written and titled(server, session))
        upstream.script = polite

    def act(session: str) -> Seen:
        try:
            with server.client() as client:
                answer = client.post(f"/turns/{turns[session]}/cancel")
        except httpx2.TransportError:
            until(lambda: is_dead(server))
            return []
        return [Event("", "cancelled", answer.json())]

    def check(session: str, seen: Seen) -> None:
        status = until(lambda: ended(server, turns[session]))
        reply = {"cancelled": "So ", "completed": "Reply to: stop me then"}[status]
        if seen:
            assert seen[0].data["status"] == status == "cancelled"
        assert server.contents(session) == ["stop me then", reply]
        assert post(server, session, "and on")[-1].name == "turn.completed"
        assert len(server.contents(session)) == 4

    with ThreadPoolExecutor(4) as pool:
        return sweep(server, step, prepare=prepare, act=act, check=check)


def deletion(server: Server, _upstream: Upstream, step: int) -> int:
    """All of a session is there, or nothing of it; in the end no file holds a word of it."""

    def canary(session: str) -> str:
        return f"canary{session.replace(' ', '')}yranac"

    def prepare(session: str) -> None:
        post(server, session, f"first one {canary(session)}")
        until(lambda: titled(server, session))

    def delete(session: str) -> int | None:
        try:
            with server.client() as client:
                return client.delete(f"/sessions/{session}").status_code
        except httpx2.TransportError:
            until(lambda: is_dead(server))
            return None

    def act(session: str) -> Seen:
        status = delete(session)
        return [] if status is None else [Event("", str(status), {})]

    def check(session: str, seen: Seen) -> None:
        hits = server.get(f"/search?q={canary(session)}")
        if session in server.sessions():
            assert seen == []
            # The title, the question, and the answer.
            assert len(hits) == 3
            assert len(server.history(session)) == 2
            assert delete(session) == 204
        else:
            assert hits == []
            until(lambda: files_with(server.folder, canary(session)) == [])
        assert files_with(server.folder, canary(session)) == [], "a file holds deleted words"

    return sweep(server, step, prepare=prepare, act=act, check=check)


IMPORTED = 450
"""Messages of an imported session: several transactions."""


def import_file(session: str) -> bytes:
    """An export with one session."""
    at = "2026-01-01T00:00:00.000000Z"
    head = {"session_id": session, "title": "Words About It", "title_source": "model"}
    head |= {"pinned": False, "archived": False, "model": None, "system_prompt": None}
    head |= {"context_messages": None, "metadata": {}, "head_seq": IMPORTED}
    lines: list[dict[str, object]] = [
        {"type": "chatkeep", "version": 1},
        {"type": "session", **head, "created_at": at, "updated_at": at},
    ]
    for seq in range(1, IMPORTED + 1):
        message = {"seq": seq, "id": f"msg_{session}_{seq}", "parent_seq": seq - 1 or None}
        message |= {"role": "user" if seq % 2 else "assistant", "content": f"brought in {seq}"}
        message |= {"status": "completed", "turn_id": None, "created_at": at}
        lines.append({"type": "message", **message})
    lines.append({"type": "end", "session_id": session})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def importing(server: Server, _upstream: Upstream, step: int) -> int:
    """A session comes in as a whole or not at all."""

    def take(session: str) -> int | None:
        try:
            with server.client() as client:
                report = client.post("/import", content=import_file(session)).json()
                return int(report["imported"])
        except httpx2.TransportError:
            until(lambda: is_dead(server))
            return None

    def act(session: str) -> Seen:
        imported = take(session)
        return [] if imported is None else [Event("", str(imported), {})]

    def check(session: str, seen: Seen) -> None:
        if seen:
            assert session in server.sessions()
        if session in server.sessions():
            messages = server.history(session)
            assert len(messages) == IMPORTED, "a session was visible before it was whole"
            assert take(session) == 0
        else:
            # What had come in was never seen, and is swept: the same ids come in again.
            until(lambda: not hidden(server))
            assert take(session) == 1
        assert len(server.history(session)) == IMPORTED
        with server.client() as client:
            client.delete(f"/sessions/{session}")

    # There are more points than elsewhere, of the same few kinds.
    rarer = step if step == 1 else 3 * step
    return sweep(server, rarer, prepare=lambda _: None, act=act, check=check)


def hidden(server: Server) -> bool:
    path = f"file:{server.folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        sql = "SELECT 1 FROM sessions WHERE tenant_id = '(hidden)'"
        return conn.execute(sql).fetchone() is not None


@pytest.mark.parametrize("scene", [first_turn, later_turn, cancel, deletion, importing])
def test_a_kill_at_any_write_loses_halves_and_doubles_nothing(
    server: Server,
    upstream: Upstream,
    full: bool,
    summarise: Callable[[str], None],
    scene: Callable[[Server, Upstream, int], int],
) -> None:
    points = scene(server, upstream, 1 if full else SOME)
    summarise(f"killed at {points} points of: {scene.__name__.replace('_', ' ')}")
    assert points > (20 if full else 2)


def test_a_migration_that_is_killed_at_any_write_is_made_whole_by_the_next_start(
    tmp_path: Path, full: bool, summarise: Callable[[str], None]
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    before = database_of("0001", f"sqlite:///{old}/chatkeep.db")
    points = 0
    for call in WRITES:
        for number in itertools.count(1, 1 if full else 2 * SOME):
            folder = tmp_path / f"{call}-{number}"
            shutil.copytree(old, folder)
            killed = migrate(folder, *deadly(folder, call, number))
            assert migrate(folder) == 0
            path = f"{folder}/chatkeep.db"
            with contextlib.closing(sqlite3.connect(path)) as conn:
                assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert conn.execute("PRAGMA foreign_key_check").fetchall() == []
            for table, rows in rows_of(f"sqlite:///{path}").items():
                for was, now in zip(before[table], rows, strict=True):
                    assert was.items() <= now.items()
            shutil.rmtree(folder)
            if killed == 0:
                break
            points += 1
    summarise(f"killed at {points} points of: a migration")
    assert points > (20 if full else 2)


MIGRATE = """
import sys
from chatkeep.store.opening import make_store
print("ready", flush=True)
sys.stdin.readline()
store = make_store(sys.argv[1], readers=1, write_queue=1)
store.open()
store.close()
"""


def migrate(folder: Path, *deadly: str) -> int:
    """Open the database in a process of its own, which migrates it; return how that ended."""
    command = [sys.executable, "-c", MIGRATE, f"sqlite:///{folder}/chatkeep.db"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with attached(process.pid, *deadly) if deadly else contextlib.nullcontext():
            process.communicate(b"go\n")
    return process.returncode
