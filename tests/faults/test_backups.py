"""A backup that is taken while turns are answered has every turn acknowledged before it began."""

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatkeep.store import backup
from tests.process import Server, run_command, until
from tests.upstream import Upstream

AT_ONCE = 8
BACKUPS, SOME = 20, 2


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path / "data", env) as running:
        yield running


@contextlib.contextmanager
def load(server: Server) -> Iterator[list[dict[str, str]]]:
    """Turns without end, several at once; the list has those that were acknowledged."""
    acknowledged: list[dict[str, str]] = []
    stop = threading.Event()

    def post(number: int) -> None:
        with server.client() as client:
            for turn in itertools.count():
                if stop.is_set():
                    return
                body = {"session_id": f"load {number}-{turn % 9}", "message": f"turn {turn}"}
                acknowledged.append(client.post("/chat", json=body).json())

    threads = [threading.Thread(target=post, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def chatkeep(server: Server, *arguments: str, **env: str) -> None:
    done = run_command(*arguments, env={**server.env, **env}, folder=server.folder.parent)
    assert done.returncode == 0, done.stderr


def test_databases_that_are_replaced_within_a_second_all_stay(
    server: Server, tmp_path: Path
) -> None:
    copy, target = tmp_path / "copy.db", tmp_path / "restored" / "chatkeep.db"
    for number in range(4):
        server.chat(f"session {number}", "hello")
    chatkeep(server, "backup", str(copy))
    target.parent.mkdir(mode=0o700)
    # In one process, for a command takes a second itself.
    asides = [backup.restore(copy, target)[1] for _ in range(4)]
    assert asides[0] is None
    assert len({*asides[1:]}) == 3
    for aside in asides[1:]:
        assert aside is not None
        assert backup.check(aside).sessions == 4


def test_a_backup_under_load_is_whole(
    server: Server,
    upstream: Upstream,
    tmp_path: Path,
    full: bool,
    summarise: Callable[[str], None],
) -> None:
    count = BACKUPS if full else SOME
    restored = Server(tmp_path / "restored", server.env)
    restored.env["CHATKEEP_DATA_DIR"] = str(restored.folder)
    turns = 0
    with load(server) as acknowledged:
        for number in range(count):
            more = len(acknowledged) + 20
            until(lambda more=more: len(acknowledged) >= more)
            before = list(acknowledged)
            copy = tmp_path / f"{number}.db"
            chatkeep(server, "backup", str(copy))
            chatkeep(restored, "restore", "--yes", str(copy))

            with contextlib.closing(sqlite3.connect(copy)) as conn:
                assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                contents = dict(conn.execute("SELECT id, content FROM messages"))
            for answer in before:
                assert contents[answer["message_id"]] == answer["response"]
                assert answer["user_message_id"] in contents
            turns = len(before)
            copy.unlink()
        during = len(acknowledged)
    with restored:
        for name in {answer["session_id"] for answer in before}:
            replies = {message["id"] for message in restored.history(name)}
            acknowledged_ids = {a["message_id"] for a in before if a["session_id"] == name}
            assert acknowledged_ids <= replies
        assert restored.chat("load 0-0", "and it goes on").status_code == 200
    assert during > turns
    summarise(f"{count} of {count} backups under load were whole, the last with {turns} turns")
