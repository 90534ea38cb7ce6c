"""A backup of a database in PostgreSQL, made and checked by PostgreSQL's own programs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import sqlalchemy as sa

from chatkeep import files
from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store import server_checks
from chatkeep.store.backup import Contents, NoBackup
from chatkeep.store.database_files import PRIVATE
from chatkeep.store.postgres import CONNECT_SECONDS, libpq_parameters, single_connection
from chatkeep.store.tables import metadata

VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def dump(url: str, target: Path) -> Contents:
    """Write a database as it is now into a file for `pg_restore`, and read that file whole.

    The file appears under its name when it is whole and on disk. It has no messages between
    processes, which are of no use after a restart.

    Args:
        url: `postgresql://…`.
        target: The file; one that is there is replaced.

    Raises:
        NoBackup: There is no backup, and `target` is as it was.

    """
    if target.exists() and not target.is_file():
        raise NoBackup(f"{target} is not a file.")
    try:
        with single_connection(url) as conn:
            programs = _programs(conn)
            # One snapshot for what is counted and what is written.
            conn.execution_options(isolation_level="REPEATABLE READ")
            conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            snapshot = conn.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one()
            counts = server_checks.contents(conn)
            with files.replacement(target) as partial:
                if target.exists():
                    # An older backup's mode stays, and a backup holds private conversations.
                    target.chmod(PRIVATE)
                _dump(programs[0], url, snapshot, partial)
                _check(programs[1], partial)
                size = partial.stat().st_size
    except StoreUnavailable as error:
        raise NoBackup(f"The database cannot be used: {error.detail}") from error
    except OSError as error:
        raise NoBackup(f"{target} cannot be written: {error.strerror}.") from error
    return Contents(counts.sessions, counts.messages, size, counts.keys)


def without_password(url: str) -> tuple[str, str | None]:
    """How PostgreSQL's programs find a database, in words that may be seen, and its password.

    Raises:
        NoBackup: The URL cannot be read, or has a secret that only a command line can hand on.

    """
    # An extra: only who uses PostgreSQL has it.
    from psycopg.conninfo import make_conninfo

    try:
        parameters = libpq_parameters(url)
    except StoreUnavailable as error:
        raise NoBackup(error.detail) from error
    if "sslpassword" in parameters:
        raise NoBackup("sslpassword cannot be handed on: use a key without one.")
    password = parameters.pop("password", None)
    return make_conninfo(**parameters), password


def _programs(conn: sa.Connection) -> tuple[str, str]:
    """The paths of `pg_dump` and `pg_restore`. Raises `NoBackup` if they are not new enough."""
    needed = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    conn.rollback()
    advice = f"Install PostgreSQL's client programs, version {needed} or newer."
    paths = []
    for name in ("pg_dump", "pg_restore"):
        path = shutil.which(name)
        if path is None:
            raise NoBackup(f"{name} is not installed. {advice}")
        version = VERSION.search(_run([path, "--version"], {}))
        if version is None or int(version[1]) < needed:
            raise NoBackup(f"{path} is older than the server. {advice}")
        paths.append(path)
    return paths[0], paths[1]


def _dump(program: str, url: str, snapshot: str, file: Path) -> None:
    address, password = without_password(url)
    env = {"PGCONNECT_TIMEOUT": str(CONNECT_SECONDS), "PGAPPNAME": "chatkeep backup"}
    if password is not None:
        env["PGPASSWORD"] = password
    options = ("--format=custom", "--no-unlogged-table-data", "--no-password")
    _run(
        [program, *options, f"--snapshot={snapshot}", f"--file={file}", f"--dbname={address}"], env
    )


def _check(program: str, file: Path) -> None:
    """Read the file whole, and see that no table is missing."""
    listed = _run([program, "--list", str(file)], {})
    for table in metadata.sorted_tables:
        if not re.search(rf" TABLE DATA \S+ {table.name} ", listed):
            raise NoBackup(f"The backup has no table {table.name}.")
    _run([program, f"--file={os.devnull}", str(file)], {})


def _run(command: list[str], env: dict[str, str]) -> str:
    """Run a program, and return its output. Raises `NoBackup` with its first words if it failed."""
    done = subprocess.run(  # noqa: S603  (without a shell)
        command, env=os.environ | env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        # What follows may quote a statement.
        reason = done.stderr.strip().split("\n", 1)[0]
        raise NoBackup(f"The backup failed: {reason or f'{command[0]} ended'}.")
    return done.stdout
