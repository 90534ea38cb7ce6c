"""A real PostgreSQL: a cluster in a private folder, and databases that are copied from one."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def is_installed() -> bool:
    return bool(BINARIES)


class Cluster:
    """A server that listens on a socket in its own folder."""

    def __init__(self, *, is_safe: bool = False, primary: "Cluster | None" = None) -> None:
        """Make a server, or a standby of another one."""
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        shutil.chown(self.folder, USER)
        self.data = self.folder / "data"
        self._settings = SETTINGS if is_safe else SETTINGS | UNSAFE
        self._numbers = itertools.count()
        data = str(self.data)
        if primary is None:
            self._run("initdb", "-N", "-E", "UTF8", "--locale=C", "-A", "trust", "-D", data)
        else:
            self._run("pg_basebackup", "-h", str(primary.folder), "-D", data, "-R", "-c", "fast")
        self.start()

    def start(self) -> None:
        settings = self._settings | {"unix_socket_directories": str(self.folder)}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", log, "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "-m", mode, "-D", str(self.data))

    def kill(self) -> None:
        """End the server and its connections without a warning, as a power failure does."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(
            ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for each in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-w", "-D", str(self.data))

    def remove(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def create(self, template: str = "template1") -> str:
        """Make a database; its URL."""
        name = f"test{os.getpid()}_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {name_of(url)} WITH (FORCE)")

    def sql(self, statement: str) -> None:
        self._run("psql", "-q", "-h", str(self.folder), "-d", "postgres", "-c", statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(BINARIES[-1] / program), *arguments]
        if os.geteuid() == 0:
            # The server refuses to run as root.
            command = ["runuser", "-u", USER, "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def name_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def change(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())


@contextlib.contextmanager
def cluster(*, is_safe: bool = False) -> Iterator[Cluster]:
    made = Cluster(is_safe=is_safe)
    try:
        yield made
    finally:
        made.remove()
