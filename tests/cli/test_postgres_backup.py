"""`chatkeep backup`, `restore` and `erase` with a database in PostgreSQL."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chatkeep.store.backup import NoBackup
from chatkeep.store.dump import without_password
from tests.postgres import Cluster, cluster
from tests.process import Server, run_command
from tests.upstream import Upstream

PASSWORD = "a-pass.word-1234"


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream, postgres_url: str) -> Iterator[Server]:
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_DATABASE_URL": postgres_url}
    with Server(tmp_path / "data", {**upstream.env, **env}) as running:
        yield running


def chatkeep(
    server: Server, *arguments: str, code: int = 0, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    done = run_command(*arguments, env={**server.env, **env}, folder=server.folder, stdin=stdin)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done


def test_a_backup_is_restored_by_the_command_that_restore_prints(
    server: Server, postgres_url: str, tmp_path: Path
) -> None:
    server.chat("s", "before the backup")
    copy = tmp_path / "a copy"
    with_password = postgres_url.replace("postgres@", f"postgres:{PASSWORD}@")

    report = chatkeep(server, "backup", str(copy), "--json", CHATKEEP_DATABASE_URL=with_password)
    assert json.loads(report.stdout) == {
        "file": str(copy),
        "sessions": 1,
        "messages": 2,
        "bytes": copy.stat().st_size,
        "keys": None,
    }
    assert copy.stat().st_mode & 0o777 == 0o600
    server.chat("s", "after the backup")
    assert "already" in chatkeep(server, "backup", str(copy), code=1).stderr
    server.stop()
    explained = chatkeep(
        server, "restore", "-y", str(copy), code=1, CHATKEEP_DATABASE_URL=with_password
    )
    assert explained.stdout == ""
    command = explained.stderr.strip().split("\n")[-1]
    server.start()
    assert len(server.contents("s")) == 4
    server.stop()
    subprocess.run(shlex.split(command), check=True)

    server.start()
    assert server.contents("s") == ["before the backup", "Reply to: before the backup"]
    assert server.chat("s", "and it goes on").status_code == 200
    assert len(server.get("/search?q=backup&role=user")) == 1
    shown = chatkeep(server, "backup", "--force", str(copy)).stdout
    assert shown.startswith(f"{copy}: 1 sessions, 4 messages, ")


def test_a_backup_needs_programs_that_are_there_and_new_enough(
    server: Server, tmp_path: Path
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    copy = tmp_path / "copy"
    output = chatkeep(server, "backup", str(copy), code=1, PATH=str(empty)).stderr
    assert output.startswith("pg_dump is not installed. Install PostgreSQL's client programs")

    (empty / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.4'\n")
    (empty / "pg_dump").chmod(0o755)
    output = chatkeep(server, "backup", str(copy), code=1, PATH=str(empty)).stderr
    assert "is older than the server" in output

    # It is the right version, and fails.
    version = subprocess.run(["pg_dump", "--version"], capture_output=True, check=True, text=True)
    script = f"""#!/bin/sh
    if [ "$1" = --version ]; then echo '{version.stdout.strip()}'; exit; fi
    echo 'pg_dump: error: no space' >&2; echo 'detail: a secret' >&2; exit 1
    """
    (empty / "pg_dump").write_text(script)
    shutil.copy(shutil.which("pg_restore") or "", empty)
    path = f"{empty}{os.pathsep}{os.environ['PATH']}"
    output = chatkeep(server, "backup", str(copy), code=1, PATH=path).stderr
    assert output == "The backup failed: pg_dump: error: no space.\n"
    assert not copy.exists()
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_a_backup_has_the_password_in_no_list_of_processes(server: Server, tmp_path: Path) -> None:
    url = server.env["CHATKEEP_DATABASE_URL"].replace("postgres@", f"postgres:{PASSWORD}@")
    seen = tmp_path / "seen"
    script = f"""#!/bin/sh
    [ "$1" = --version ] || printf '%s\\n' "$*" "PASSWORD=$PGPASSWORD" >{seen}
    exec {shutil.which("pg_dump")} "$@"
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pg_dump").write_text(script)
    (folder / "pg_dump").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    chatkeep(server, "backup", str(tmp_path / "copy"), PATH=path, CHATKEEP_DATABASE_URL=url)
    arguments, password = seen.read_text().splitlines()
    assert PASSWORD not in arguments
    assert password == f"PASSWORD={PASSWORD}"


def test_a_password_is_taken_out_of_a_url_wherever_it_is() -> None:
    shown = "sslmode=require host=h port=1 dbname=db user=u"
    for url, password in (
        ("postgresql://u:p%40@h:1/db?sslmode=require", "p@"),
        ("postgresql://u:/p?@h:1/db?sslmode=require", "/p?"),
        ("postgres://u@h:1/db?sslmode=require&password=p", "p"),
    ):
        address, taken = without_password(url)
        assert (set(address.split()), taken) == (set(shown.split()), password)
    assert without_password("postgresql:///db") == ("dbname=db", None)
    options = "postgresql:///db?options=-c%20search_path%3Dmine"
    assert "options='-c search_path=mine'" in without_password(options)[0]
    for bad in ("postgresql:///db?sslpassword=p", "postgresql://h:port/db"):
        with pytest.raises(NoBackup):
            without_password(bad)


def test_what_is_no_file_is_not_replaced_by_a_backup(server: Server, tmp_path: Path) -> None:
    chatkeep(server, "backup", "--force", "/dev/null", code=1)
    assert Path("/dev/null").is_char_device()
    chatkeep(server, "backup", str(tmp_path / "nowhere" / "copy"), code=1)
    chatkeep(server, "restore", "-y", str(tmp_path / "nowhere"), code=1)


def files_with(folder: Path, words: str) -> list[Path]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if words.encode() in file.read_bytes().lower()]


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def test_erase_leaves_what_is_deleted_in_no_table_and_no_index(
    own_cluster: Cluster, tmp_path: Path, upstream: Upstream
) -> None:
    """As the files of the server show."""
    url, base = own_cluster.create(), own_cluster.data / "base"
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_DATABASE_URL": url}
    with Server(tmp_path / "data", {**upstream.env, **env}) as server:
        server.chat("gone", "the deletedcanary sings")
        server.chat("stays", "the otherbird sings")
        with server.client() as client:
            assert client.delete("/sessions/gone").is_success
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("VACUUM")
            conn.execute("CHECKPOINT")
        assert files_with(base, "deletedcanary"), "a deletion does it already"

        chatkeep(server, "erase", code=1, stdin="n\n")
        assert files_with(base, "deletedcanary")
        done = chatkeep(server, "erase", stdin="y\n")

        assert "Writing messages anew." in done.stderr
        assert "in no table and no index any more" in done.stdout
        assert "write-ahead log" in done.stdout
        assert files_with(base, "deletedcanary") == []
        assert files_with(base, "otherbird")
        # Of this the command speaks.
        assert files_with(own_cluster.data / "pg_wal", "deletedcanary")
        assert len(server.get("/search?q=otherbird&role=user")) == 1


def test_erase_does_not_claim_what_an_older_transaction_prevents(
    server: Server, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
        assert row
        server.chat("s", "this it does not see")
        output = chatkeep(server, "erase", "--yes", code=1).stderr
        assert f"still seen by process {row[0]}" in output
    with psycopg.connect(postgres_url) as conn:
        conn.execute("LOCK TABLE messages IN ACCESS SHARE MODE")
        output = chatkeep(server, "erase", "--yes", code=1).stderr
        assert "messages cannot be written anew: canceling statement due to lock" in output
    result = json.loads(chatkeep(server, "erase", "--yes", "--json").stdout)
    assert {"messages", "search", "stream_chunks"} <= set(result["tables"])
    assert result["checkpoint"] is True
    assert "backups" in result["remains"]


def test_a_role_that_may_not_ask_for_a_checkpoint_is_told(
    own_cluster: Cluster, tmp_path: Path, upstream: Upstream
) -> None:
    own_cluster.sql("CREATE ROLE ordinary LOGIN")
    url = own_cluster.create()
    with psycopg.connect(url) as conn:
        conn.execute("GRANT ALL ON SCHEMA public TO ordinary")
    url = url.replace("postgres@", "ordinary@")
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_DATABASE_URL": url}
    with Server(tmp_path / "data", {**upstream.env, **env}) as server:
        server.chat("s", "hello there you")
        assert "next checkpoint" in chatkeep(server, "erase", "--yes").stdout


def test_erase_completes_a_deletion_in_sqlite(tmp_path: Path, upstream: Upstream) -> None:
    env = {"CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path / "data", {**upstream.env, **env}) as server:
        server.chat("s", "hello there you")
        assert "A Chatkeep is using" in chatkeep(server, "erase", code=1).stderr
        server.stop()
        shown = chatkeep(server, "erase").stdout
        assert shown == "What is deleted is in no file of the database any more.\n"
        (server.folder / "chatkeep.db").unlink()
        assert "There is no database" in chatkeep(server, "erase", code=1).stderr
