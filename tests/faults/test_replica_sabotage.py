"""Each guarantee of several processes is broken on purpose: then its own check must fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Databases
from tests.faults import test_commits
from tests.pgproxy import PostgresProxy
from tests.process import until
from tests.replicas import Replicas, post, turn_of
from tests.server import test_replicas
from tests.store import test_concurrency
from tests.store.conftest import open_store
from tests.upstream import Upstream, polite


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    url = databases.create("postgresql")
    yield url
    databases.drop(url)


@pytest.fixture
def broken(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, upstream: Upstream
) -> Iterator[Replicas]:
    upstream.script = polite
    program = ("tests.sabotage", request.param)
    env = {"CHATKEEP_DRAIN_SECONDS": "1"}
    with Replicas(tmp_path, database, upstream, program=program, **env) as replicas:
        yield replicas


def breaking(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broken", [name], indirect=True, ids=[name])


@breaking("deaf_to_stops")
def test_a_stop_that_is_not_read_is_found(broken: Replicas, upstream: Upstream) -> None:
    with pytest.raises(AssertionError, match="'running' == 'cancelled'"):
        test_replicas.test_a_turn_is_stopped_through_another_replica(*broken.servers, upstream, "s")
    upstream.script = polite


@breaking("unclaimed_titles")
def test_a_title_that_is_asked_for_more_than_once_is_found(
    broken: Replicas, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="assert 3 == 1"):
        test_replicas.test_a_title_is_asked_for_once_by_all_replicas(*broken.servers, upstream, "s")


@breaking("uncounted_events")
def test_a_gap_in_the_events_is_found(broken: Replicas, upstream: Upstream) -> None:
    with pytest.raises(AssertionError, match=r"At index 2 diff"):
        test_replicas.test_every_replica_sends_the_same_events_in_the_same_order(
            *broken.servers, upstream, "s"
        )


@breaking("forgotten_turns")
def test_turns_of_the_dead_that_nobody_takes_over_are_found(
    broken: Replicas, upstream: Upstream
) -> None:
    dead, other, _ = broken.servers
    pace = test_replicas.paced(upstream)
    running = post(dead, "s", may_break=True)
    turn = turn_of(running)
    pace.release(5)
    dead.kill()
    running.join()
    upstream.script = polite
    # After this, its lease was ended, and twice as long nothing was taken over.
    for number in range(20):
        assert other.chat(f"other {number}", "hello").status_code == 200
    with pytest.raises(AssertionError, match="it did not happen"):
        until(lambda: other.get(f"/turns/{turn}")["attempt"] == 2, seconds=5)


def test_a_commit_that_nobody_asks_about_is_found(
    tmp_path: Path, databases: Databases, database: str, upstream: Upstream
) -> None:
    upstream.script = polite
    program = ("tests.sabotage", "unasked_commits")
    with PostgresProxy(databases.cluster, database) as proxy:
        behind = Replicas(tmp_path / "behind", proxy.url, upstream, count=1, program=program)
        beside = Replicas(tmp_path / "beside", database, upstream, count=1)
        with behind, beside:
            servers = [*behind.servers, *beside.servers]
            with pytest.raises(AssertionError, match="store-unavailable"):
                test_commits.test_an_answer_that_is_lost_after_the_commit_makes_one_turn(
                    servers, proxy, upstream, full=False
                )


def test_an_end_that_does_not_look_whose_the_turn_is_is_found(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatkeep.store.turns._is_of", lambda row, *_: row.status == "running")
    stores = open_store(database), open_store(database)
    with pytest.raises(AssertionError, match=r"is None"):
        test_concurrency.test_whoever_lost_a_turn_cannot_end_it(stores)
    for store in stores:
        store.close()
