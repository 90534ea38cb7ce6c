"""`chatkeep migrate-database`, as its user runs it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chatkeep.cli.databases import without_password
from tests.postgres import name_of
from tests.process import Server, run_command, until
from tests.upstream import Upstream


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path / "data", env) as running:
        yield running


@pytest.fixture
def target(postgres_url: str) -> str:
    return postgres_url


def migrate(
    server: Server, target: str, *options: str, **env: str
) -> subprocess.CompletedProcess[str]:
    arguments = ("migrate-database", target, *options)
    done = run_command(*arguments, env={**server.env, **env}, folder=server.folder)
    assert "Traceback" not in done.stderr
    return done


def test_a_server_goes_on_at_the_other_database_and_back(
    server: Server, target: str, tmp_path: Path
) -> None:
    server.chat("trip", "what shall I pack?")
    history = server.history("trip")
    server.stop()

    done = migrate(server, target)

    assert done.returncode == 0, done.stderr
    assert "messages\t2\n" in done.stdout
    assert f"CHATKEEP_DATABASE_URL={target}\n" in done.stdout
    server.env["CHATKEEP_DATABASE_URL"] = target
    server.start()
    assert server.history("trip") == history
    server.chat("trip", "and what else?")
    history = server.history("trip")
    server.stop()

    back = f"sqlite:///{tmp_path}/back.db"
    done = migrate(server, back, "--json")

    assert json.loads(done.stdout)["rows"]["messages"] == 4
    server.env["CHATKEEP_DATABASE_URL"] = back
    server.start()
    assert server.history("trip") == history
    assert [hit["session_id"] for hit in server.get("/search?q=pack")] == ["trip"] * 2
    assert (tmp_path / "back.db").stat().st_mode & 0o077 == 0


def test_the_database_of_a_running_server_is_not_copied(server: Server, target: str) -> None:
    server.chat("s", "stays here then")
    done = migrate(server, target)
    assert done.returncode == 1
    assert "Another Chatkeep is using" in done.stderr
    server.stop()
    assert migrate(server, target).returncode == 0

    server.env["CHATKEEP_DATABASE_URL"] = target
    server.start()
    done = migrate(server, f"sqlite:///{server.folder}/new.db")
    assert done.returncode == 1
    assert "A Chatkeep is using the source" in done.stderr


def test_a_target_that_cannot_be_used_is_named_without_its_password(
    server: Server, target: str
) -> None:
    server.stop()
    password = "a-pass.word-1234"
    nobody = target.replace("postgres@", f"nobody:{password}@")
    for bad, code, words in (
        (nobody, 1, "The target cannot be used: The database cannot be opened: "),
        (f"postgresql://u:{password}@127.0.0.1:9/db", 1, "The target cannot be used"),
        (f"mysql://u:{password}@host/db", 2, "write sqlite:///path or postgresql://"),
    ):
        done = migrate(server, bad)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert password not in done.stdout + done.stderr
    working = target.replace("postgres@", f"postgres:{password}@")
    done = migrate(server, working)
    assert done.returncode == 0, done.stderr
    assert f"postgresql://postgres:…@/{name_of(target)}" in done.stdout
    assert password not in done.stdout + done.stderr


def test_a_copy_that_is_killed_in_the_middle_can_be_made_again(server: Server, target: str) -> None:
    server.chat("s", "survives that")
    server.stop()
    with psycopg.connect(target) as other, psycopg.connect(target, autocommit=True) as watcher:
        # The copy waits for this table, and has copied those before it.
        other.execute("LOCK TABLE messages IN SHARE MODE")
        run = subprocess.Popen(
            [sys.executable, "-m", "chatkeep", "migrate-database", target],
            env=server.env,
            cwd=server.folder,
        )
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'messages'::regclass"
        until(lambda: watcher.execute(waiting).fetchone())
        run.kill()
        run.wait()
        other.rollback()
        tables = ("tenants", "sessions", "turns", "messages", "calls")
        counts = " UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in tables)

        def is_over() -> bool:
            busy = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            mine = "AND application_name = 'chatkeep'"
            return watcher.execute(f"{busy}{mine}").fetchone() is None

        until(is_over)
        assert [row[0] for row in watcher.execute(counts)] == [2, 0, 0, 0, 0]

    assert migrate(server, target).returncode == 0
    server.env["CHATKEEP_DATABASE_URL"] = target
    server.start()
    assert server.contents("s")[0] == "survives that"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p%40ss@h:5432/db?host=/tmp/x", "postgresql://u:…@h:5432/db?host=/tmp/x"),
        (
            "postgres://u@h/db?password=p&sslmode=require",
            "postgres://u@h/db?password=…&sslmode=require",
        ),
        ("postgresql://u:/a@b@h/db", "postgresql://u:…@h/db"),
        ("postgresql://u:a?c@h/db?x=y", "postgresql://u:…@h/db?x=y"),
        ("postgresql:///db?sslpassword=p", "postgresql:///db?sslpassword=…"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("sqlite:////data/chatkeep.db", "sqlite:////data/chatkeep.db"),
    ],
)
def test_the_url_of_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
