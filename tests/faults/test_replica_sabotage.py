"""Each guarantee of several processes is broken on purpose: then its own check must fail."""

import functools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from chatkeep.store import migrations, rows, sessions
from tests import sabotage
from tests.conftest import Databases
from tests.faults import test_commits, test_databases
from tests.faults import test_replicas as faults_replicas
from tests.pgproxy import PostgresProxy
from tests.postgres import Cluster
from tests.process import Server, until
from tests.replicas import Replicas, post, turn_of
from tests.server import test_replicas, test_workers
from tests.store import test_concurrency, test_schema
from tests.store.conftest import open_store
from tests.upstream import Answer, Upstream, polite


@pytest.fixture
def broken(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str, upstream: Upstream
) -> Iterator[Replicas]:
    upstream.script = polite
    program = ("tests.sabotage", request.param)
    env = {"CHATKEEP_DRAIN_SECONDS": "1"}
    with Replicas(tmp_path, postgres_url, upstream, program=program, **env) as replicas:
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
    tmp_path: Path, databases: Databases, postgres_url: str, upstream: Upstream
) -> None:
    upstream.script = polite
    program = ("tests.sabotage", "unasked_commits")
    with PostgresProxy(databases.cluster, postgres_url) as proxy:
        behind = Replicas(tmp_path / "behind", proxy.url, upstream, count=1, program=program)
        beside = Replicas(tmp_path / "beside", postgres_url, upstream, count=1)
        with behind, beside:
            servers = [*behind.servers, *beside.servers]
            with pytest.raises(AssertionError, match="store-unavailable"):
                test_commits.test_an_answer_that_is_lost_after_the_commit_makes_one_turn(
                    servers, postgres_url, proxy, upstream, full=True
                )


def test_an_end_that_does_not_look_whose_the_turn_is_is_found(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatkeep.store.turns._is_of", lambda row, *_: row.status == "running")
    stores = open_store(postgres_url), open_store(postgres_url)
    with pytest.raises(AssertionError, match=r"is None"):
        test_concurrency.test_whoever_lost_a_turn_cannot_end_it(stores)
    for store in stores:
        store.close()


@breaking("blind_followers")
def test_a_follower_that_does_not_know_where_it_is_is_found(
    broken: Replicas, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="word"):
        test_replicas.test_a_stream_is_read_through_every_replica_while_it_grows(
            *broken.servers, upstream, "s"
        )


def everywhere(name: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every replica of a module's tests be a broken one, and soon be given up."""
    broken = functools.partial(
        Replicas, program=("tests.sabotage", name), CHATKEEP_DRAIN_SECONDS="1"
    )
    monkeypatch.setattr(module, "Replicas", broken)
    monkeypatch.setattr(module, "until", functools.partial(until, seconds=10))


def test_an_outage_that_is_held_against_the_living_is_found(
    tmp_path: Path, cluster: Cluster, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere("hasty_watch", test_databases, monkeypatch)
    with pytest.raises(AssertionError, match=r"== {'"):
        test_databases.test_an_outage_of_the_database_takes_no_turn_from_the_living(
            tmp_path, cluster, upstream
        )


def test_commits_that_are_nowhere_but_in_memory_are_found(
    tmp_path: Path, cluster: Cluster, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere("unflushed_commits", test_databases, monkeypatch)
    # After this long, what is committed is on the disk all the same.
    cluster.sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
    with pytest.raises(AssertionError, match="Right contains"):
        test_databases.test_a_promoted_standby_has_all_that_was_acknowledged(
            tmp_path, cluster, upstream
        )


def test_replicas_that_only_wait_for_signals_are_found(
    tmp_path: Path,
    databases: Databases,
    postgres_url: str,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everywhere("only_signals", test_databases, monkeypatch)
    with pytest.raises(AssertionError, match="it did not happen"):
        test_databases.test_signals_that_are_lost_cost_only_time(
            tmp_path, databases, postgres_url, upstream
        )


def test_an_import_of_the_living_that_is_given_up_is_found(
    tmp_path: Path, postgres_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere("forgotten_imports", test_replicas, monkeypatch)
    with pytest.raises(AssertionError, match="given up"):
        test_replicas.test_a_file_is_imported_through_one_replica_while_others_start(
            tmp_path, postgres_url, upstream
        )


def test_a_stop_that_does_not_wait_for_requests_is_found(
    tmp_path: Path, postgres_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "stop", Server.kill)
    # So that there are always some of them.
    monkeypatch.setattr(test_workers, "polite", lambda _: Answer(["Certainly"], pause=0.2))
    with pytest.raises(AssertionError, match=r"50\d"):
        test_workers.test_a_rolling_restart_of_replicas_behind_a_balancer_fails_no_request(
            tmp_path, postgres_url, upstream, print
        )


def test_a_turn_that_nobody_runs_is_found(
    tmp_path: Path, postgres_url: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere("unknown_turns", faults_replicas, monkeypatch)
    with pytest.raises(AssertionError, match="it did not happen"):
        faults_replicas.test_a_turn_that_its_own_process_does_not_know_of_is_run_all_the_same(
            tmp_path, postgres_url, upstream
        )


@breaking("deaf_to_restarts")
def test_a_restart_that_no_reader_elsewhere_hears_of_is_found(
    broken: Replicas, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match=r"turn\.restarted"):
        faults_replicas.test_the_turns_of_a_killed_replica_go_on_elsewhere(broken, upstream)
    upstream.script = polite


def test_sessions_that_nobody_locks_are_found(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SESSION", "_FREE_SESSION", "_SESSION_OF_TURN"):
        monkeypatch.setattr(rows, name, getattr(rows, name))
    monkeypatch.setattr(sessions, "_FIND", sessions._FIND)
    sabotage.unlocked_sessions()
    stores = open_store(postgres_url), open_store(postgres_url)
    try:
        # The turn is both cancelled and started, or its row refuses to be.
        with pytest.raises(AssertionError, match=r"QUEUED|RUNNING|cannot be used"):
            test_concurrency.test_a_cancel_beside_the_start_of_a_turn_changes_only_a_turn_that_waits(
                stores
            )
    finally:
        for store in stores:
            store.close()


def test_a_program_that_uses_whatever_schema_it_finds_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_is_enough", lambda *_: True)
    with pytest.raises(BaseException, match="DID NOT RAISE"):
        test_schema.test_a_newer_schema_is_used_as_long_as_it_says_that_this_program_can(tmp_path)
