"""Any of several servers at one PostgreSQL answers anything, as if there was only one."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from tests.clock import set_clock
from tests.conftest import Databases
from tests.postgres import query
from tests.process import Server, run_command, until
from tests.replicas import Reader, Replicas, post, turn_of
from tests.sse import Event, Reading, events
from tests.upstream import Answer, Call, Upstream, polite

WORDS = [f"word{number} " for number in range(40)]


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, running_upstream: Upstream
) -> Iterator[Replicas]:
    url = databases.create("postgresql")
    with Replicas(tmp_path_factory.mktemp("replicas"), url, running_upstream) as running:
        yield running
    databases.drop(url)


@pytest.fixture
def one(replicas: Replicas, upstream: Upstream) -> Server:
    assert upstream.calls == []
    return replicas.servers[0]


@pytest.fixture
def other(replicas: Replicas) -> Server:
    return replicas.servers[1]


@pytest.fixture
def third(replicas: Replicas) -> Server:
    return replicas.servers[2]


def paced(upstream: Upstream) -> threading.Semaphore:
    """Let the model answer by one word for each release."""
    pace = threading.Semaphore(0)
    upstream.script = lambda call: polite(call) if call.is_title else Answer(WORDS, pace=pace)
    return pace


def release(pace: threading.Semaphore, count: int = 1_000) -> None:
    """Let so many words go, or all there are."""
    pace.release(count)


def test_a_stream_is_read_through_every_replica_while_it_grows(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str
) -> None:
    pace = paced(upstream)
    first = post(one, session, "Feeding black cats")
    turn = turn_of(first)
    release(pace, 10)
    readers = [Reader(server, "GET", f"/turns/{turn}/events") for server in (other, third)]
    for count in (10, 20):
        expected = "".join(WORDS[:count])
        for reader in readers:
            until(lambda reader=reader, text=expected: len(reader.text) >= len(text))
            assert reader.text == expected
        release(pace, 10)
    release(pace)
    for reader in (first, *readers):
        events = reader.wait()
        assert reader.text == "".join(WORDS)
        assert events[-1].name == "turn.completed"
        assert [e.id for e in events] == [e.id for e in {e.id: e for e in events}.values()]
    assert len([call for call in upstream.calls if not call.is_title]) == 1
    titled = [[e.data["title"] for e in r.events if e.name == "session.titled"] for r in readers]
    assert titled == [["Feeding black cats"]] * 2


PIECES = [f"{number} " + "äé€🎈"[number % 4] * (number % 5) for number in range(60)]


@pytest.mark.parametrize("is_live", [True, False])
def test_a_stream_is_cut_after_every_event_and_read_on_through_another_replica(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str, is_live: bool
) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: polite(call) if call.is_title else Answer(PIECES, pace=pace)
    running = post(one, session, "Feeding black cats")
    turn = turn_of(running)
    if not is_live:
        release(pace)
        running.wait()
    reading = Reading()
    for server in itertools.cycle((other, third, one)):
        pace.release()
        headers = {"Last-Event-ID": reading.after} if reading.after else {}
        with (
            server.client() as client,
            client.stream("GET", f"/turns/{turn}/events", headers=headers) as response,
        ):
            reading.take(next(events(response)))
        if reading.end is not None:
            break
    assert reading.text == reading.stored == "".join(PIECES)
    assert reading.names[-1] == "turn.completed"
    assert len(reading.names) > len(PIECES) or not is_live
    running.wait()


def test_a_turn_is_stopped_through_another_replica(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str
) -> None:
    pace = paced(upstream)
    first = post(one, session)
    turn = turn_of(first)
    release(pace, 5)
    until(lambda: first.text == "".join(WORDS[:5]))
    with other.client() as client:
        record = client.post(f"/turns/{turn}/cancel").json()
    assert record["status"] == "cancelled"
    assert first.wait()[-1].name == "turn.cancelled"
    assert third.contents(session) == ["hello", "".join(WORDS[:5])]


def test_a_turn_is_interrupted_through_another_replica(
    one: Server, other: Server, upstream: Upstream, session: str
) -> None:
    pace = paced(upstream)
    first = post(one, session)
    turn_of(first)
    release(pace, 5)
    until(lambda: first.text == "".join(WORDS[:5]))
    second = post(other, session, "stop it", on_busy="interrupt")
    assert first.wait()[-1].name == "turn.cancelled"
    release(pace)
    assert second.wait()[-1].name == "turn.completed"
    assert other.contents(session) == ["hello", "".join(WORDS[:5]), "stop it", "".join(WORDS)]


def test_a_session_is_deleted_through_another_replica(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str
) -> None:
    pace = paced(upstream)
    running = post(one, session)
    turn = turn_of(running)
    release(pace, 5)
    waiting = post(third, session, "next")
    turn_of(waiting)
    follower = Reader(third, "GET", f"/turns/{turn}/events")
    until(lambda: follower.text == "".join(WORDS[:5]))
    with other.client() as client:
        assert client.delete(f"/sessions/{session}").status_code in {202, 204}
    for reader in (running, waiting, follower):
        assert reader.wait()[-1].name == "turn.cancelled"
    gone = [call.ended for call in upstream.calls if not call.is_title]
    assert len(gone) == 1


def test_a_repeated_post_gets_its_answer_from_another_replica(
    one: Server, other: Server, upstream: Upstream, session: str
) -> None:
    pace = paced(upstream)
    body = {"session_id": session, "message": "hello"}
    headers = {"Idempotency-Key": "one-key"}
    first = Reader(one, "POST", "/chat", json=body, headers=headers)
    turn = turn_of(first)
    with ThreadPoolExecutor() as pool, other.client(headers=headers) as client:
        again = pool.submit(client.post, "/chat", json=body)
        release(pace)
        response: httpx2.Response = again.result()
    assert response.headers["Idempotent-Replayed"] == "true"
    assert (response.json()["turn_id"], response.json()["response"]) == (turn, "".join(WORDS))
    first.wait()
    assert len(other.contents(session)) == 2


def test_turns_of_one_session_run_in_the_order_in_which_the_replicas_took_them(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str
) -> None:
    pace = paced(upstream)
    readers = []
    for number, server in enumerate((one, other, third, one, other, third)):
        reader = post(server, session, f"message {number}")
        turn_of(reader)
        readers.append(reader)
    release(pace)
    for reader in readers:
        reader.wait()
        assert reader.text == "".join(WORDS)
    messages = [m for m in other.contents(session) if m.startswith("message")]
    assert messages == [f"message {number}" for number in range(6)]
    prompts = [call.messages[-1][1] for call in upstream.calls if not call.is_title]
    assert prompts == messages


def test_a_title_is_asked_for_once_by_all_replicas(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str
) -> None:
    gate = threading.Event()

    def script(call: Call) -> Answer:
        return Answer(["Some fine title"], gate=gate) if call.is_title else polite(call)

    upstream.script = script
    servers = (one, other, third)
    readers = []
    for number, server in enumerate(servers):
        readers.append(post(server, session, f"message {number}"))
        until(lambda: len([c for c in upstream.calls if not c.is_title]) > number)  # noqa: B023  (run at once)
    gate.set()
    for reader in readers:
        reader.wait()
    until(lambda: one.sessions()[session]["title"] == "Some fine title")
    assert len([call for call in upstream.calls if call.is_title]) == 1


def watch(server: Server, after: str = "") -> Reader:
    """Read the events of a server; when this returns, none is missed."""
    reader = Reader(server, "GET", "/events", params={"after": after} if after else {})
    until(reader.has_begun.is_set)
    return reader


def until_ended(watcher: Reader, count: int) -> list[Event]:
    until(lambda: len([e for e in watcher.events if e.name == "turn.ended"]) >= count)
    return list(watcher.events)


def test_every_replica_sends_the_same_events_in_the_same_order(
    one: Server, other: Server, third: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = polite
    servers = (one, other, third)
    post(one, f"{session} first").wait()
    watchers = [watch(server) for server in servers]
    for number in range(9):
        post(servers[number % 3], f"{session} {number // 2}", "Feeding black cats").wait()
    seen = [until_ended(watcher, 9) for watcher in watchers]
    length = min(map(len, seen))
    assert seen[0][:length] == seen[1][:length] == seen[2][:length]
    numbers = [int(e.id.rpartition("-")[2]) for e in seen[0]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # Whoever comes back to another replica misses nothing, and gets nothing twice.
    middle = seen[0][length // 2]
    again = watch(third, after=middle.id)
    until(lambda: len(again.events) >= length - length // 2 - 1)
    assert again.events[: length - length // 2 - 1] == seen[0][length // 2 + 1 : length]
    for watcher in (*watchers, again):
        watcher.leave()


def test_the_first_key_closes_every_replica_and_a_revoked_one_opens_none(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    with Replicas(tmp_path, postgres_url, upstream, count=2) as replicas:
        one, other = replicas.servers
        assert one.get("/sessions") == other.get("/sessions") == []
        made = run_command("keys", "create", "first", env=one.env, folder=tmp_path)
        key = {"Authorization": f"Bearer {made.stdout.strip()}"}
        key_id = made.stderr.split(":")[0]
        for server in replicas.servers:
            with server.client() as client:
                until(lambda client=client: client.get("/sessions").status_code == 401)
                assert client.get("/sessions", headers=key).status_code == 200
        assert (
            run_command("keys", "revoke", "--yes", key_id, env=one.env, folder=tmp_path).returncode
            == 0
        )
        for server in replicas.servers:
            with server.client() as client:
                until(lambda client=client: client.get("/sessions", headers=key).status_code == 401)


def test_a_file_is_imported_through_one_replica_while_others_start(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    """A process that starts gives up what the dead have not imported wholly, and nothing else."""
    with Replicas(tmp_path, postgres_url, upstream, count=2) as replicas:
        one, other = replicas.servers
        # More than is read at once.
        names = [f"s{number:02}" for number in range(30)]
        for name in names:
            one.chat(name, f"hello {name} " * 8_000)
        with one.client() as client:
            archive = client.get("/export").content
            for name in names:
                client.delete(f"/sessions/{name}")
        half = archive.index(b"\n", len(archive) // 2) + 1
        goes_on = threading.Event()

        def upload() -> Iterator[bytes]:
            yield archive[:half]
            goes_on.wait()
            yield archive[half:]

        with ThreadPoolExecutor() as pool, one.client() as client:
            kind = {"Content-Type": "application/x-ndjson"}
            importing = pool.submit(client.post, "/import", content=upload(), headers=kind)
            try:
                hidden = "SELECT 1 FROM sessions WHERE session_id LIKE 'import:%'"
                until(lambda: query(postgres_url, hidden))
                other.stop()
                other.start()
            finally:
                goes_on.set()
            response: httpx2.Response = importing.result()
        assert response.json().get("imported") == len(names), response.text
        assert sorted(other.sessions()) == names


def test_clocks_that_disagree_by_days_change_nothing(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    upstream.script = polite
    replicas = Replicas(tmp_path, postgres_url, upstream)
    for days, server in zip((0, -400, 400), replicas.servers, strict=True):
        clock = tmp_path / f"clock {days}"
        set_clock(clock, int(time.time()) + days * 24 * 3_600)
        server.program = ("tests.clock", str(clock))
    with replicas:
        turns = set()
        for server in replicas.servers:
            with server.client(headers={"Idempotency-Key": "one"}) as client:
                body = {"session_id": "s", "message": "hello"}
                turns.add(client.post("/chat", json=body).json()["turn_id"])
        assert len(turns) == 1, "a repeated request made another turn"
        for number in range(6):
            replicas.servers[number % 3].chat("s", f"message {number}")
        history = replicas.servers[0].history("s")
        times = [message["created_at"] for message in history]
        assert times == sorted(times)
        assert [m["content"] for m in history if m["role"] == "user"] == [
            "hello",
            *(f"message {number}" for number in range(6)),
        ]
        now = datetime.now(UTC)
        for server in replicas.servers:
            assert abs(datetime.fromisoformat(times[-1]) - now) < timedelta(hours=1)
            assert server.get("/sessions")[0]["message_count"] == 14
