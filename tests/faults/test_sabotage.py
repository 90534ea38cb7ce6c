"""Each guarantee is broken on purpose (`tests/sabotage.py`): then its own check must fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import test_cuts, test_kills, test_order, test_readers, test_retries, test_syncs
from tests.faults.checker import findings
from tests.faults.strace import needs_strace
from tests.process import Server
from tests.upstream import Upstream


@pytest.fixture
def broken(request: pytest.FixtureRequest, tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {**upstream.env, **test_kills.QUIET, "CHATKEEP_TITLE_WAIT": "0"}
    env |= {"CHATKEEP_MAX_QUEUED_TURNS": "1000"}
    env |= {"CHATKEEP_DRAIN_SECONDS": str(test_readers.DRAIN_SECONDS)}
    server = Server(tmp_path / "data", env, program=("tests.sabotage", request.param))
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


def breaking(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broken", [name], indirect=True, ids=[name])


@needs_strace
@breaking("early_answer")
def test_the_kills_find_an_answer_that_comes_before_it_is_stored(
    broken: Server, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="what was answered is not stored"):
        test_kills.later_turn(broken, upstream, test_kills.CLOSER)


@needs_strace
@breaking("two_commits")
def test_the_kills_find_an_end_that_is_not_one_transaction(
    broken: Server, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="a reply was stored without the end of its turn"):
        test_kills.later_turn(broken, upstream, 2)


@needs_strace
@breaking("forgotten_turns")
def test_the_kills_find_a_turn_that_is_not_recovered(broken: Server, upstream: Upstream) -> None:
    with pytest.raises(AssertionError, match="was not recovered"):
        test_kills.first_turn(broken, upstream, test_kills.CLOSER)


@needs_strace
@breaking("no_sync")
def test_the_syncs_find_that_there_are_none(
    broken: Server, upstream: Upstream, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    ledger = test_syncs.traced_turns(broken, upstream, trace, 20)
    trace.unlink()
    with pytest.raises(AssertionError, match="never synced"):
        test_syncs.check(ledger, 20)


@breaking("wrong_offset")
def test_the_cuts_find_a_position_that_counts_bytes(broken: Server, upstream: Upstream) -> None:
    broken.chat("s", "the first")
    with pytest.raises(AssertionError, match="the stream is not the pieces as they were written"):
        test_cuts.sweep(broken, upstream, test_cuts.SOME)


@breaking("deaf_to_restarts")
def test_the_cuts_find_a_reader_who_gets_no_event_of_another_attempt(
    broken: Server, upstream: Upstream
) -> None:
    broken.chat("s", "the first")
    with pytest.raises(AssertionError, match="other text, cut after"):
        test_cuts.sweep_with_restarts(broken, upstream, test_cuts.SOME)


@breaking("forgotten_repeats")
def test_the_keys_find_a_request_that_makes_two_turns(broken: Server) -> None:
    with pytest.raises(AssertionError, match="a key made more than one turn"):
        test_retries.check_keys(broken, 30)


@breaking("forgotten_repeats")
def test_the_stock_clients_habit_finds_a_repeat_that_makes_two_turns(
    broken: Server, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="a repeated request made another turn"):
        test_retries.check_habit(broken, upstream)


@breaking("newest_first")
def test_the_checker_finds_turns_in_the_wrong_order(broken: Server, upstream: Upstream) -> None:
    log = test_order.run(broken, upstream, 2)
    assert any(finding.startswith("reordered") for finding in findings(log))


def test_the_stuck_readers_find_a_server_that_waits_for_them(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_READER_TIMEOUT": "3600"}
    with (
        Server(tmp_path / "data", env) as patient,
        pytest.raises(AssertionError, match="is still connected"),
    ):
        test_readers.check_stuck_readers(patient, upstream, seconds=3)


@breaking("hasty_stop")
def test_the_stop_finds_streams_that_are_let_fall(broken: Server, upstream: Upstream) -> None:
    with pytest.raises(AssertionError, match="broke off without an announcement"):
        test_readers.check_stop(broken, upstream, print)


@needs_strace
@breaking("remembered_words")
def test_the_deletions_find_words_that_are_only_marked_as_removed(
    broken: Server, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="a file holds deleted words"):
        test_kills.deletion(broken, upstream, test_kills.CLOSER)


@needs_strace
@breaking("kept_log")
def test_the_deletions_find_a_log_that_is_not_emptied(broken: Server, upstream: Upstream) -> None:
    with pytest.raises(AssertionError, match="a file holds deleted words"):
        test_kills.deletion(broken, upstream, test_kills.CLOSER)


@needs_strace
@breaking("seen_at_once")
def test_the_kills_find_an_import_that_is_seen_before_it_is_whole(
    broken: Server, upstream: Upstream
) -> None:
    with pytest.raises(AssertionError, match="visible before it was whole"):
        test_kills.importing(broken, upstream, test_kills.CLOSER)
