"""A database that is cut off or holds still at an exact statement: one turn each, and no other."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Databases
from tests.pgproxy import Cut, Frame, PostgresProxy
from tests.postgres import query
from tests.process import Server, until
from tests.replicas import Replicas
from tests.upstream import Upstream, polite

EVERY = 2
"""Of so many statements a normal run tries one."""


@pytest.fixture
def proxy(databases: Databases, postgres_url: str) -> Iterator[PostgresProxy]:
    with PostgresProxy(databases.cluster, postgres_url) as running:
        yield running


@pytest.fixture
def servers(
    tmp_path: Path, postgres_url: str, proxy: PostgresProxy, upstream: Upstream
) -> Iterator[list[Server]]:
    """The first is behind the proxy."""
    upstream.script = polite
    behind = Replicas(tmp_path / "behind", proxy.url, upstream, count=1)
    beside = Replicas(tmp_path / "beside", postgres_url, upstream, count=1)
    with behind, beside:
        yield [*behind.servers, *beside.servers]


def the(
    number: int, is_wanted: Callable[[Frame], bool], then: Callable[[], None]
) -> Callable[[Frame], None]:
    """A watcher that does something at the frame with this number, once."""
    count = itertools.count(1)

    def watch(frame: Frame) -> None:
        if is_wanted(frame) and next(count) == number:
            then()

    return watch


def cut() -> None:
    raise Cut


def owners(postgres_url: str) -> set[str]:
    """The processes that are alive, as the database has it."""
    return {owner for (owner,) in query(postgres_url, "SELECT owner FROM leases")}


def ask(server: Server, session: str, upstream: Upstream) -> None:
    """Post twice; each message is stored and answered once, whatever happens on the way."""
    before = len(upstream.replies)
    for message in ("first", "second"):
        response = server.chat(session, message)
        assert response.status_code == 200, response.text
        assert response.json()["response"] == f"Reply to: {message}"
    contents = ["first", "Reply to: first", "second", "Reply to: second"]
    assert server.contents(session) == contents
    prompts = [call.messages[-1][1] for call in upstream.replies[before:]]
    assert sorted(set(prompts)) == ["first", "second"]


TWICE = "SELECT name, data FROM events GROUP BY name, data HAVING count(*) > 1"


def test_an_answer_that_is_lost_after_the_commit_makes_one_turn(
    servers: list[Server], postgres_url: str, proxy: PostgresProxy, upstream: Upstream, full: bool
) -> None:
    server, other = servers
    ask(server, "before", upstream)
    committed = 0

    def count(frame: Frame) -> None:
        nonlocal committed
        committed += frame.is_of_turns and frame.is_committed

    proxy.watch = count
    ask(server, "counted", upstream)
    assert committed >= 4
    for number in range(1, committed + 1, 1 if full else 2):
        proxy.watch = the(number, lambda frame: frame.is_of_turns and frame.is_committed, cut)
        ask(server, f"s{number}", upstream)
        assert other.contents(f"s{number}") == server.contents(f"s{number}")
    proxy.watch = lambda _: None
    assert query(postgres_url, TWICE) == []


def test_a_connection_that_is_cut_at_any_statement_makes_one_turn(
    servers: list[Server], proxy: PostgresProxy, upstream: Upstream, full: bool
) -> None:
    server, _ = servers
    ask(server, "before", upstream)
    trips = 0

    def count(frame: Frame) -> None:
        nonlocal trips
        trips += frame.is_of_turns and frame.is_round_trip

    proxy.watch = count
    ask(server, "counted", upstream)
    for number in range(1, trips + 1, 1 if full else EVERY):
        proxy.watch = the(number, lambda frame: frame.is_of_turns and frame.is_round_trip, cut)
        ask(server, f"s{number}", upstream)
    proxy.watch = lambda _: None


def test_a_replica_paused_at_any_statement_cannot_write_over_who_took_its_turn(
    servers: list[Server], postgres_url: str, proxy: PostgresProxy, upstream: Upstream, full: bool
) -> None:
    paused, other = servers
    ask(paused, "before", upstream)
    trips = 0

    def count(frame: Frame) -> None:
        nonlocal trips
        trips += frame.is_of_turns and frame.is_round_trip

    def one(session: str) -> None:
        with paused.client() as client:
            headers = {"Accept": "text/event-stream"}
            body = {"session_id": session, "message": "first"}
            with client.stream("POST", "/chat", json=body, headers=headers) as response:
                for _ in response.iter_lines():
                    pass

    proxy.watch = count
    one("counted")
    assert trips > 10
    for number in range(1, trips + 1, 1 if full else EVERY):
        session = f"s{number}"
        proxy.watch = the(
            number, lambda frame: frame.is_of_turns and frame.is_round_trip, proxy.hold_now
        )
        reader = threading.Thread(target=one, args=(session,))
        reader.start()
        until(lambda: len(owners(postgres_url)) == 1)
        proxy.watch = lambda _: None
        proxy.release()
        reader.join()
        until(lambda: [m["status"] for m in other.history(session)][-1:] == ["completed"])  # noqa: B023  (run at once)
        assert other.contents(session) == ["first", "Reply to: first"]
        until(lambda: len(owners(postgres_url)) == 2)
