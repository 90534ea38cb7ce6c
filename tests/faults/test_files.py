"""Files that are not as the server left them: linked, emptied, opened to others, damaged."""

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.process import Server, run_command
from tests.upstream import Upstream

MESSAGE = "what shall I pack?"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream) -> Path:
    """A data folder with a conversation, whose server has ended."""
    folder = tmp_path_factory.mktemp("filled")
    with Server(folder, {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}) as server:
        for number in range(40):
            server.chat(f"session {number // 10}", f"{MESSAGE} {number}")
    return folder


@pytest.fixture
def server(filled: Path, tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    """A server that is not started yet, on a copy of that folder."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    shutil.copy(filled / "chatkeep.db", folder)
    made = Server(folder, {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"})
    yield made
    made.__exit__()


def on(path: Path, server: Server) -> Server:
    """Another server, on the database at this path."""
    other = Server(path.parent, {**server.env, "CHATKEEP_DATABASE_URL": f"sqlite:///{path}"})
    other.log = other.folder / "other.log"
    return other


def chatkeep(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, env=server.env, folder=server.folder)


def refused(server: Server) -> str:
    """Start a server that must not start; return why it says so."""
    run = chatkeep(server, "serve", "--port", "0")
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr.partition("chatkeep cannot start.\n")[2]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# One file, one server.


def test_a_second_server_on_a_symbolic_link_is_refused(server: Server, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere.db"
    link.symlink_to(server.folder / "chatkeep.db")
    folder = tmp_path / "linked"
    folder.symlink_to(server.folder)
    server.start()

    assert "Another Chatkeep" in refused(on(link, server))
    assert "Another Chatkeep" in refused(on(folder / "chatkeep.db", server))
    assert server.url in chatkeep(on(link, server), "doctor", "--no-models").stdout


def test_a_server_on_a_symbolic_link_keeps_its_log_beside_the_file(
    server: Server, tmp_path: Path
) -> None:
    link = tmp_path / "elsewhere.db"
    link.symlink_to(server.folder / "chatkeep.db")
    with on(link, server) as linked:
        assert linked.chat("session 0", "and now?").status_code == 200
        assert (server.folder / "chatkeep.db-wal").stat().st_size > 0
        assert "Another Chatkeep" in refused(server)

    assert not list(tmp_path.glob("elsewhere.db-*"))
    server.start()
    assert server.contents("session 0")[-1] == "Reply to: and now?"


def test_a_file_with_two_names_is_refused_under_both(server: Server, tmp_path: Path) -> None:
    second = tmp_path / "second.db"
    server.start()
    os.link(server.folder / "chatkeep.db", second)

    assert "hard links" in refused(on(second, server))
    assert server.chat("session 0", "still there?").status_code == 200
    server.stop()
    assert "hard links" in refused(server)
    second.unlink()
    server.start()
    assert server.contents("session 0")[-1] == "Reply to: still there?"


def test_a_restore_that_was_killed_before_its_last_step_is_taken_back(server: Server) -> None:
    database = server.folder / "chatkeep.db"
    os.link(database, server.folder / "chatkeep.db.before-20260101-000000")

    server.start()

    assert len(server.sessions()) == 4
    assert database.stat().st_nlink == 1


# A database that is not there any more.


@pytest.mark.parametrize("has_lock", [True, False])
def test_an_empty_file_is_not_taken_for_a_new_database(server: Server, has_lock: bool) -> None:
    database = server.folder / "chatkeep.db"
    backup = shutil.copy(database, server.folder / "backup.db")
    if has_lock:
        server.start()
        server.kill()
    database.write_bytes(b"")

    reason = refused(server)
    assert "is empty" in reason
    assert "to start over" in reason
    assert database.stat().st_size == 0
    assert "is empty" in chatkeep(server, "doctor", "--no-models").stdout
    assert chatkeep(server, "restore", "--yes", str(backup)).returncode == 0
    server.start()
    assert len(server.sessions()) == 4


def test_a_database_that_is_gone_is_not_made_anew_over_its_log(server: Server) -> None:
    database = server.folder / "chatkeep.db"
    backup = shutil.copy(database, server.folder / "backup.db")
    server.start()
    server.chat("session 0", "only in the log")
    server.kill()
    moved = database.rename(server.folder / "moved.db")

    assert "is gone" in refused(server)
    moved.rename(database)
    server.start()
    assert server.contents("session 0")[-1] == "Reply to: only in the log"

    server.kill()
    database.unlink()
    assert chatkeep(server, "restore", "--yes", str(backup)).returncode == 0
    server.start()
    assert server.contents("session 0")[-1] != "Reply to: only in the log"
    with contextlib.closing(sqlite3.connect(database)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_new_database_is_in_the_log(server: Server) -> None:
    (server.folder / "chatkeep.db").unlink()
    (server.folder / ".chatkeep.db.new").write_bytes(b"left by a start that was killed")

    server.start()

    assert "database_created" in server.log.read_text()
    assert server.sessions() == {}
    assert not (server.folder / ".chatkeep.db.new").exists()


def test_what_is_no_file_is_refused(server: Server) -> None:
    database = server.folder / "chatkeep.db"
    database.unlink()
    os.mkfifo(database)
    assert "is not a file" in refused(server)
    database.unlink()
    database.mkdir()
    assert "is not a file" in refused(server)


# Nobody else reads it.


def test_files_that_were_opened_to_others_are_closed_again(server: Server) -> None:
    server.start()
    server.kill()
    names = ["chatkeep.db", "chatkeep.db-wal", "chatkeep.db-shm", "chatkeep.db.lock"]
    files = [server.folder / name for name in names]
    for file in files:
        file.chmod(0o666)
    server.folder.chmod(0o777)
    output = chatkeep(server, "doctor", "--no-models").stdout
    assert "can be read or written by others" in output
    assert "can be written to by others" in output

    server.start()

    assert [mode(file) for file in files] == [0o600] * 4
    log = server.log.read_text()
    assert log.count("file_mode_repaired") == 4
    assert "folder_open_to_others" in log
    assert mode(server.folder) == 0o777


def test_every_file_is_private_whatever_the_umask(tmp_path: Path, upstream: Upstream) -> None:
    made = Server(tmp_path / "data", {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"})
    inherited = os.umask(0)
    try:
        made.start()
        assert made.chat("s", MESSAGE).status_code == 200
        backup = made.folder / "backup.db"
        backup.touch()
        assert chatkeep(made, "backup", "--force", str(backup)).returncode == 0
        names = [path for path in made.folder.iterdir() if path != made.log]
        assert len(names) >= 5
        assert {path.name: oct(mode(path)) for path in names} == dict.fromkeys(
            (path.name for path in names), oct(0o600)
        )
        made.stop()
        assert chatkeep(made, "restore", "--yes", str(backup)).returncode == 0
        assert {oct(mode(path)) for path in made.folder.glob("chatkeep.db*")} == {oct(0o600)}
    finally:
        os.umask(inherited)
        made.__exit__()


def test_an_address_that_others_could_have_written_is_not_used(server: Server) -> None:
    server.start()
    (server.folder / "chatkeep.db.lock").chmod(0o666)

    run = chatkeep(server, "sessions", "list")

    assert run.returncode == 1
    assert "does not answer" in run.stderr


def test_a_lock_that_is_a_link_overwrites_nothing(server: Server, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("words")
    (server.folder / "chatkeep.db.lock").symlink_to(precious)

    assert "data folder cannot be used" in refused(server)
    assert precious.read_text() == "words"


# A damaged page.

PAGE = 4_096
SOME = 7
"""In a normal run one of so many pages is damaged, with `--full` each."""

READS = ("/sessions", "/sessions?limit=2", "/history/session%200", "/search?q=pack", "/usage")
READS += ("/sessions/session%201", "/history/session%201?details=true", "/readyz")


def damage(server: Server, page: int) -> None:
    with (server.folder / "chatkeep.db").open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xff" * PAGE)


def use(server: Server) -> Iterator[httpx2.Response]:
    """What a server answers; an answer that was begun and cannot be ended has none."""
    calls = [("GET", path, None) for path in READS]
    calls += [
        ("POST", "/chat", {"session_id": name, "message": "and now?"})
        for name in ("session 2", "new")
    ]
    calls += [("PATCH", "/sessions/session%203", {"title": "Renamed"})]
    calls += [("DELETE", "/sessions/session%203", None)]
    with server.client() as client:
        for method, path, body in calls:
            with contextlib.suppress(httpx2.RemoteProtocolError):
                yield client.request(method, path, json=body)


def test_whatever_page_is_damaged_the_server_says_so(
    server: Server, filled: Path, full: bool, summarise: Callable[[str], None]
) -> None:
    pages = (filled / "chatkeep.db").stat().st_size // PAGE
    not_started = unavailable = 0
    for page in range(1, pages, 1 if full else SOME):
        shutil.copy(filled / "chatkeep.db", server.folder)
        for suffix in ("-wal", "-shm"):
            (server.folder / f"chatkeep.db{suffix}").unlink(missing_ok=True)
        damage(server, page)
        server.log.unlink(missing_ok=True)
        with contextlib.suppress(AssertionError):
            server.start()
        assert server.process is not None
        if server.process.poll() is not None:
            assert server.process.returncode == 2
            reason = server.log.read_text().partition("chatkeep cannot start.\n")[2]
            assert "damaged" in reason or "malformed" in reason, page
            not_started += 1
        else:
            answers = list(use(server))
            failures = [answer for answer in answers if answer.status_code >= 500]
            kinds = {(answer.status_code, answer.json()["type"]) for answer in failures}
            assert kinds <= {(503, "/problems/store-unavailable")}, page
            unavailable += bool(failures)
            server.kill()
        assert "Traceback" not in server.log.read_text(), page
    summarise(f"of {pages} pages damaged: {not_started} no start, {unavailable} some answers 503")
    assert not_started
