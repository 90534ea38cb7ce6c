"""A database that is away, restarts, or fails over: nothing acknowledged is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path

import httpx2
import psycopg

from tests.conftest import Databases
from tests.postgres import Cluster, name_of, query
from tests.process import Server, until
from tests.replicas import LEASE_SECONDS, Reader, Replicas, post, turn_of
from tests.upstream import Answer, Call, Upstream, polite

WORDS = [f"word{number} " for number in range(40)]


def paced(upstream: Upstream) -> threading.Semaphore:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: polite(call) if call.is_title else Answer(WORDS, pace=pace)
    return pace


def beats(url: str) -> dict[str, int]:
    """How often each process that is alive has renewed its lease."""
    return dict(query(url, "SELECT owner, beat FROM leases"))


def test_an_outage_of_the_database_takes_no_turn_from_the_living(
    tmp_path: Path, cluster: Cluster, upstream: Upstream
) -> None:
    pace = paced(upstream)
    url = cluster.create()
    with Replicas(tmp_path, url, upstream) as replicas:
        one, other, _ = replicas.servers
        readers = [post(server, server.folder.name) for server in replicas.servers]
        turns = [turn_of(reader) for reader in readers]
        follower = Reader(other, "GET", f"/turns/{turns[0]}/events")
        # One of the answers may have taken all that was released.
        until(lambda: pace.release(3) or follower.text)
        before = beats(url)
        cluster.stop("immediate")
        # Longer than a lease may stand still. Answers go on meanwhile, and a post is refused.
        pace.release(30)
        stopped = time.monotonic()
        refused = one.chat("another", "hello")
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert time.monotonic() - stopped > LEASE_SECONDS
        cluster.start()
        until(lambda: all(beats(url).get(owner, inf) > beat + 3 for owner, beat in before.items()))
        assert set(beats(url)) == set(before)
        pace.release(1_000)
        for reader in (*readers, follower):
            end = reader.wait()[-1]
            assert (end.name, end.data["response"]) == ("turn.completed", "".join(WORDS))
        for server, turn in zip(replicas.servers, turns, strict=True):
            until(lambda: one.get(f"/turns/{turn}")["status"] == "completed")  # noqa: B023  (at once)
            assert one.get(f"/turns/{turn}")["attempt"] == 1
            assert one.contents(server.folder.name) == ["hello", "".join(WORDS)]
    assert len(upstream.replies) == 3


def test_a_promoted_standby_has_all_that_was_acknowledged(
    tmp_path: Path, cluster: Cluster, upstream: Upstream
) -> None:
    upstream.script = polite
    database = name_of(cluster.create())
    standby = Cluster(is_safe=True, primary=cluster)
    hosts = f"{cluster.folder},{standby.folder}"
    url = f"postgresql://postgres@/{database}?host={hosts}&target_session_attrs=read-write"
    cluster.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    cluster.sql("SELECT pg_reload_conf()")
    acknowledged: list[tuple[str, str]] = []
    is_over = threading.Event()

    def ask(server: Server, session: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            message = f"{session} {number}"
            with server.client(headers={"Idempotency-Key": message.replace(" ", "-")}) as client:
                body = {"session_id": session, "message": message}
                while True:
                    try:
                        response = client.post("/chat", json=body)
                    except httpx2.HTTPError:
                        continue
                    if response.status_code == 200:
                        break
                    time.sleep(0.1)
            acknowledged.append((message, response.json()["response"]))

    try:
        with Replicas(tmp_path, url, upstream, count=2) as replicas, ThreadPoolExecutor() as pool:
            asking = [
                pool.submit(ask, replicas.servers[number % 2], f"s{number}") for number in range(4)
            ]
            until(lambda: len(acknowledged) > 20)
            cluster.kill()
            standby.promote()
            before = len(acknowledged)
            until(lambda: len(acknowledged) > before + 20)
            is_over.set()
            for each in asking:
                each.result()
            other = replicas.servers[0]
            stored = [
                (user["content"], reply["content"])
                for number in range(4)
                for user, reply in zip(*[iter(other.history(f"s{number}"))] * 2, strict=True)
            ]
            assert sorted(stored) == sorted(acknowledged)
    finally:
        is_over.set()
        standby.remove()


def test_signals_that_are_lost_cost_only_time(
    tmp_path: Path, databases: Databases, postgres_url: str, upstream: Upstream
) -> None:
    """Like a pooler, another database accepts LISTEN, and delivers nothing."""
    deaf = databases.cluster.url("postgres")
    pace = paced(upstream)
    with Replicas(
        tmp_path, postgres_url, upstream, count=2, CHATKEEP_DATABASE_LISTEN_URL=deaf
    ) as replicas:
        one, other = replicas.servers
        first = post(one, "s")
        turn = turn_of(first)
        follower = Reader(other, "GET", f"/turns/{turn}/events")
        pace.release(10)
        until(lambda: follower.text == "".join(WORDS[:10]))
        waiting = post(other, "s", "next")
        turn_of(waiting)
        pace.release(1_000)
        assert follower.wait()[-1].data["response"] == "".join(WORDS)
        assert waiting.wait()[-1].data["response"] == "".join(WORDS)
    assert query(postgres_url, "SELECT count(*) FROM leases") == [(0,)]


def test_a_replica_that_is_held_up_by_nobody_answers_while_another_holds_a_lock(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    """The first of two posts to a session is held in its transaction: other sessions go on."""

    def script(call: Call) -> Answer:
        return polite(call)

    upstream.script = script
    with Replicas(tmp_path, postgres_url, upstream, count=1) as replicas:
        (server,) = replicas.servers
        server.chat("locked", "hello")
        with psycopg.connect(postgres_url) as connection:
            connection.execute("SELECT * FROM sessions FOR UPDATE")
            assert server.chat("free", "hello").status_code == 200
            with ThreadPoolExecutor() as pool:
                held = pool.submit(server.chat, "locked", "again")
                assert server.chat("free", "again").status_code == 200
                connection.rollback()
                assert held.result().status_code == 200


FULL = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()
"""


def test_a_full_disk_of_the_database_refuses_posts_and_loses_no_answer(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    pace = paced(upstream)
    with Replicas(tmp_path, postgres_url, upstream, count=2) as replicas:
        one, other = replicas.servers
        running = post(one, "s")
        turn = turn_of(running)
        with psycopg.connect(postgres_url) as connection:
            connection.execute(FULL)
        pace.release(1_000)
        refused = one.chat("another", "hello")
        assert refused.status_code == 503
        assert "store-unavailable" in refused.text
        assert other.get(f"/turns/{turn}")["status"] == "running"
        with psycopg.connect(postgres_url) as connection:
            connection.execute("DROP TRIGGER full_disk ON messages")
        assert running.wait()[-1].data["response"] == "".join(WORDS)
        assert other.contents("s") == ["hello", "".join(WORDS)]
        assert other.get(f"/turns/{turn}")["attempt"] == 1
