"""`chatkeep doctor` with a database in PostgreSQL."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Databases
from tests.postgres import USER, Cluster, cluster, name_of
from tests.process import Server, run_command, until
from tests.upstream import Upstream

PASSWORD = "a-pass.word-1234"


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    url = databases.create("postgresql")
    with psycopg.connect(url) as conn:
        # The servers of the tests do not wait for the disk.
        conn.execute(f"ALTER DATABASE {name_of(url)} SET synchronous_commit = on")
    yield url
    databases.drop(url)


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream, database: str) -> Server:
    """One that was not started."""
    (tmp_path / "data").mkdir()
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_DATABASE_URL": database}
    return Server(tmp_path / "data", {**upstream.env, **env, "CHATKEEP_PORT": "0"})


def states(server: Server, code: int = 0, **env: str) -> dict[str, str]:
    """What is found, and how good that is."""
    arguments = ("doctor", "--no-models", "--json")
    done = run_command(*arguments, env={**server.env, **env}, folder=server.folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return {finding["what"]: finding["state"] for finding in json.loads(done.stdout)}


def test_a_database_that_is_well(server: Server, database: str) -> None:
    with server:
        server.chat("s", "hello there you")
        env = {"CHATKEEP_PORT": server.url.rpartition(":")[2]}
        with_password = database.replace("postgres@", f"postgres:{PASSWORD}@")
        found = states(server, CHATKEEP_DATABASE_URL=with_password, **env)

        assert {"warning", "error"}.isdisjoint(found.values()), found
        (described,) = [what for what in found if what.startswith("Database ")]
        assert f"postgres:…@/{name_of(database)}" in described
        assert ", PostgreSQL 1" in described
        assert f"A server answers at {server.url}" in found
        assert "1 sessions, 2 messages" in found
        assert "Processes that use the database: 1" in found
        assert "Signals between processes arrive" in found
        assert "There is no standby: what the server's disk loses is lost" in found
        assert "No key is needed, because only this machine can reach the server" in found
        server.kill()
    found = states(server)
    assert "Processes that use the database: 0" in found
    assert "Processes that were killed or do not answer: 1" in found
    assert not [what for what in found if what.startswith("Data folder")]


def test_a_database_that_cannot_be_reached(server: Server, database: str) -> None:
    for url in (
        f"postgresql://u:{PASSWORD}@127.0.0.1:9/db",
        database.replace("postgres@", f"nobody:{PASSWORD}@"),
        f"postgresql://u:{PASSWORD}@host:port/db",
        f"postgresql://u:/{PASSWORD}@host/db",
    ):
        found = states(server, 1, CHATKEEP_DATABASE_URL=url)
        (error,) = [what for what, state in found.items() if state == "error"]
        assert "cannot be used: " in error


def test_tables_that_are_not_there_are_not_made(databases: Databases, server: Server) -> None:
    url = databases.create("postgresql")
    with psycopg.connect(url) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    found = states(server, CHATKEEP_DATABASE_URL=url)
    assert "The tables will be created at the first start" in found
    assert "error" not in found.values()
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row == (0,)
    databases.drop(url)


def test_a_database_of_a_newer_version(server: Server, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
        conn.execute("UPDATE compatibility SET revision = '9998'")
    found = states(server, 1)
    assert found["The database was made by a newer version of Chatkeep"] == "error"


def test_an_encoding_that_cannot_hold_every_text(databases: Databases, server: Server) -> None:
    url = databases.create("postgresql")
    other = f"{name_of(url)}_ascii"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {other} ENCODING 'SQL_ASCII' TEMPLATE template0")
        ascii_url = url.replace(name_of(url), other)
        found = states(server, 1, CHATKEEP_DATABASE_URL=ascii_url)
        assert found["The database's encoding is SQL_ASCII"] == "error"
        env = {**server.env, "CHATKEEP_DATABASE_URL": ascii_url}
        listed = run_command("sessions", "list", env=env, folder=server.folder)
        assert listed.stderr == "The database's encoding must be UTF8, not SQL_ASCII.\n"
        conn.execute(f"DROP DATABASE {other}")
    databases.drop(url)


def test_options_that_do_not_reach_the_server(server: Server, database: str) -> None:
    url = f"{database}&options=-c%20lock_timeout%3D10s%20-c%20synchronous_commit%3Doff"
    found = states(server, CHATKEEP_DATABASE_URL=url)
    option = "idle_in_transaction_session_timeout"
    assert found[f"Our connections do not have their own {option}"] == "warning"
    assert "Our connections do not have their own lock_timeout" not in found
    assert found["Commits do not wait for the disk"] == "warning"


def test_too_few_connections(server: Server) -> None:
    found = states(server, 1, CHATKEEP_DATABASE_CONNECTIONS="200")
    (error,) = [what for what, state in found.items() if state == "error"]
    assert error.endswith("of 197 connections are in use; a process needs 203")


def test_signals_that_do_not_arrive(server: Server, databases: Databases) -> None:
    # Each database of a server has signals of its own, as a pooler may have none.
    other = databases.create("postgresql")
    found = states(server, CHATKEEP_DATABASE_LISTEN_URL=other)
    assert found["Signals between processes do not arrive"] == "warning"
    databases.drop(other)
    found = states(server, CHATKEEP_DATABASE_LISTEN_URL=f"postgresql://u:{PASSWORD}@127.0.0.1:9/d")
    (warning,) = [what for what, state in found.items() if state == "warning"]
    assert warning.startswith("Nothing can listen at postgresql://u:…@127.0.0.1:9/d: ")


@contextlib.contextmanager
def standby_of(primary: Cluster) -> Iterator[Path]:
    """Another server that receives the log; the folder of its socket."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    shutil.chown(folder, USER)
    data = str(folder / "data")
    primary._run("pg_basebackup", "-h", str(primary.folder), "-D", data, "-R")
    options = f"-c unix_socket_directories='{folder}' -c listen_addresses='' -c max_connections=200"
    primary._run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", options)
    try:
        yield folder
    finally:
        primary._run("pg_ctl", "stop", "-m", "immediate", "-D", data)
        shutil.rmtree(folder)


def test_a_standby_may_miss_acknowledged_turns_unless_commits_wait_for_it(server: Server) -> None:
    with cluster() as primary, standby_of(primary) as standby:
        url = primary.create()
        env = {"CHATKEEP_DATABASE_URL": url}
        found = states(server, **env)
        assert found["Standbys: 1, and a commit waits for none of them"] == "warning"

        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            conn.execute("SELECT pg_reload_conf()")
            is_synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            until(lambda: conn.execute(is_synchronous).fetchone())
        env["CHATKEEP_DATABASE_URL"] = f"{url}&options=-c%20synchronous_commit%3Don"
        assert "Standbys: 1, of which 1 synchronous" in states(server, **env)

        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE ROLE ordinary LOGIN")
        env["CHATKEEP_DATABASE_URL"] = url.replace("postgres@", "ordinary@")
        unseen = "Standbys: 1; whether a commit waits for them cannot be seen"
        assert unseen in states(server, **env)

        env["CHATKEEP_DATABASE_URL"] = url.replace(str(primary.folder), str(standby))
        found = states(server, 1, **env)
        assert found["The server only reads: it is a standby"] == "error"
