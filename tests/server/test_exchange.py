"""What processes write for each other: nothing that nobody needs, and nothing that stays behind."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.postgres import change, query
from tests.process import Server, run_command, until
from tests.replicas import Reader, Replicas, post, turn_of
from tests.upstream import Answer, Upstream, polite

BETWEEN = ("followers", "stream_chunks")
"""The tables that are empty while no turn runs."""


def paced(upstream: Upstream) -> threading.Semaphore:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["secret "] * 40, pace=pace)
    )
    return pace


def is_empty(postgres_url: str) -> bool:
    return not any(query(postgres_url, f"SELECT 1 FROM {table}") for table in BETWEEN)


def test_nothing_is_left_of_a_turn_whose_follower_has_died_and_whose_session_is_deleted(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    pace = paced(upstream)
    with Replicas(tmp_path, postgres_url, upstream, count=2) as replicas:
        one, other = replicas.servers
        running = post(one, "s")
        follower = Reader(other, "GET", f"/turns/{turn_of(running)}/events", may_break=True)
        pace.release(5)
        until(lambda: query(postgres_url, "SELECT 1 FROM stream_chunks"))
        other.kill()
        follower.join()
        until(lambda: not query(postgres_url, "SELECT 1 FROM followers"))
        pace.release(1_000)
        running.wait()
        with one.client() as client:
            assert client.delete("/sessions/s").status_code == 202
        until(lambda: is_empty(postgres_url), "text of a deleted session is left")


def test_nothing_is_written_for_turns_that_nobody_reads_elsewhere(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    pace = paced(upstream)
    with Replicas(tmp_path, postgres_url, upstream, count=1) as replicas:
        (server,) = replicas.servers
        readers = [post(server, "s", message) for message in ("one", "two")]
        pace.release(60)
        until(lambda: len(readers[1].text) > 20)
        assert query(postgres_url, "SELECT 1 FROM stream_chunks") == []
        pace.release(1_000)
        for reader in readers:
            reader.wait()
        until(lambda: is_empty(postgres_url), "a follower is left")


def test_no_follower_stays_behind_turns_that_wait_for_each_other(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    upstream.script = polite
    with (
        Replicas(tmp_path, postgres_url, upstream, count=2) as replicas,
        ThreadPoolExecutor(12) as pool,
    ):
        asked = [
            pool.submit(replicas.servers[number % 2].chat, "s", str(number)) for number in range(12)
        ]
        assert [each.result().status_code for each in asked] == [200] * 12
        until(lambda: is_empty(postgres_url), "a follower is left")


def test_an_erased_user_is_in_no_event(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    pace = paced(upstream)
    with Replicas(tmp_path, postgres_url, upstream, count=1) as replicas:
        (server,) = replicas.servers
        made = run_command("keys", "create", "app", env=server.env, folder=tmp_path)
        key = {"Authorization": f"Bearer {made.stdout.strip()}"}
        until(lambda: refuses(server))
        body = {"session_id": "private", "message": "hello"}
        user = {**key, "Chatkeep-User": "alice"}
        running = Reader(server, "POST", "/chat", json=body, headers=user)
        turn_of(running)
        pace.release(5)
        until(lambda: query(postgres_url, "SELECT 1 FROM events WHERE tenant_id LIKE '%alice'"))
        with server.client() as client:
            assert client.delete("/users/alice", headers=key).status_code == 202
        running.wait()
        until(
            lambda: (
                query(postgres_url, "SELECT count(*) FROM tenants WHERE parent_id IS NOT NULL")
                == [(0,)]
            )
        )
        until(
            lambda: (
                not query(
                    postgres_url, "SELECT 1 FROM event_counters WHERE tenant_id LIKE '%alice'"
                )
            )
        )
        assert query(postgres_url, "SELECT 1 FROM events WHERE session_id = 'private'") == []


def refuses(server: Server) -> bool:
    with server.client() as client:
        return client.get("/sessions").status_code == 401


def test_a_stop_writes_each_event_once(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["word "] * 4, pause=0.05)
    )
    running = "SELECT count(*) FROM turns WHERE status = 'running'"
    twice = "SELECT name, data FROM events GROUP BY name, data HAVING count(*) > 1"
    with Replicas(tmp_path, postgres_url, upstream, count=1) as replicas:
        (server,) = replicas.servers

        def ask(session: str) -> None:
            with contextlib.suppress(httpx2.HTTPError):
                server.chat(session, "hello there my friend")

        for number in range(4):
            with ThreadPoolExecutor(12) as pool:
                for client in range(12):
                    pool.submit(ask, f"{number}-{client}")
                until(lambda: query(postgres_url, running)[0][0] >= 8)
                server.stop()
            server.start()
        assert query(postgres_url, twice) == []


def test_a_turn_that_has_failed_too_often_ends_for_those_who_follow_it_too(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    """Its owner dies in each attempt, before a word of it has come."""
    gate = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=gate)
    with Replicas(tmp_path, postgres_url, upstream, count=2) as replicas:
        dying, other = replicas.servers
        running = post(dying, "s", may_break=True)
        turn = turn_of(running)
        query_owner = f"SELECT owner FROM turns WHERE id = '{turn}'"
        owner = query(postgres_url, query_owner)
        # As if it was the last attempt of a process that is dead already.
        change(postgres_url, f"UPDATE turns SET attempt = 3 WHERE id = '{turn}'")
        follower = Reader(other, "GET", f"/turns/{turn}/events")
        until(lambda: query(postgres_url, "SELECT 1 FROM followers"))
        dying.kill()
        running.join()
        assert follower.wait()[-1].name == "turn.interrupted"
        assert query(postgres_url, query_owner) != owner
        gate.set()


def test_workers_end_as_a_server_without_workers_ends(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    with Replicas(tmp_path, postgres_url, upstream, count=1, CHATKEEP_WORKERS="2") as replicas:
        assert replicas.servers[0].stop() == 0
