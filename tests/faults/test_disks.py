"""A disk that is full or fails once: what is refused is not stored, an end is stored later."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.strace import attached, files, needs_strace
from tests.faults.test_kills import QUIET, check_database, post
from tests.process import Server, files_with, until
from tests.sse import STREAM
from tests.upstream import Upstream

pytestmark = needs_strace

FAULTS = [("fdatasync", "EIO", (1, 2)), ("pwrite64", "ENOSPC", range(1, 50, 8))]
"""A call on the database, what it fails with, and which of them does: to the end of a turn."""


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    with Server(tmp_path / "data", {**upstream.env, **QUIET}) as made:
        yield made


def test_a_disk_that_fails_once_loses_and_doubles_nothing(
    server: Server, summarise: Callable[[str], None]
) -> None:
    refused = answered = 0
    for call, error, numbers in FAULTS:
        for number in numbers:
            session = f"{call} {error} {number}"
            post(server, session, "first one here")
            harm = f"inject={call}:error={error}:when={number}"
            options = (*files(server.folder, "chatkeep.db"), "-o", os.devnull, "-e", harm)
            assert server.process is not None
            headers = {**STREAM, "Idempotency-Key": f"{session}/second".replace(" ", "-")}
            body = {"session_id": session, "message": "second"}
            with attached(server.process.pid, *options), server.client() as client:
                answer = client.post("/chat", json=body, headers=headers)
            if answer.status_code == 200:
                answered += 1
                assert "event: turn.completed" in answer.text
            else:
                refused += 1
                assert answer.json()["type"] == "/problems/store-unavailable"
                assert server.contents(session) == ["first one here", "Reply to: first one here"]
            again = post(server, session, "second")
            assert again[-1].name == "turn.completed"
            assert server.contents(session)[2:] == ["second", "Reply to: second"]
            check_database(server)
    summarise(
        f"a disk that fails once: {refused} messages refused, {answered} answered all the same"
    )
    assert refused
    assert answered


@pytest.mark.parametrize("number", [1, 3])
def test_a_deletion_that_a_disk_has_failed_is_finished_without_another_request(
    server: Server, number: int
) -> None:
    canary = "canaryonafullish"
    server.chat("s", f"{canary} to be deleted")
    harm = f"inject=fdatasync:error=EIO:when={number}"
    options = (*files(server.folder, "chatkeep.db"), "-o", os.devnull, "-e", harm)
    assert server.process is not None
    with attached(server.process.pid, *options), server.client() as client:
        status = client.delete("/sessions/s").status_code

    if "s" in server.sessions():
        assert status == 503
        assert len(server.history("s")) == 2
    else:
        until(lambda: files_with(server.folder, canary) == [])
    check_database(server)


@contextlib.contextmanager
def full_disk(server: Server) -> Iterator[None]:
    """No file of the server can become larger than its write-ahead log is now."""
    assert server.process is not None
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = (server.folder / "chatkeep.db-wal").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def readiness(server: Server) -> tuple[int, str]:
    with server.client() as client:
        answer = client.get("/readyz")
    return answer.status_code, answer.json().get("type", "ready")


READY, UNAVAILABLE = (200, "ready"), (503, "/problems/store-unavailable")


def test_readiness_says_that_nothing_can_be_stored_until_it_can_again(server: Server) -> None:
    server.chat("s", "first one here")
    assert readiness(server) == READY
    with full_disk(server):
        assert server.chat("s", "second").status_code == 503

        # Not once: what is tried must not succeed by its being small.
        assert {readiness(server) for _ in range(12)} == {UNAVAILABLE}
        assert server.history("s")[-1]["content"] == "Reply to: first one here"
    assert readiness(server) == READY
    assert server.chat("s", "second").status_code == 200
    check_database(server)
