"""`chatkeep serve --workers`, and restarts of workers and replicas under load: no request fails."""

import asyncio
import contextlib
import getpass
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx2
import pytest

from tests.postgres import query
from tests.process import Server, free_port, run_command, until
from tests.replicas import Replicas
from tests.upstream import Upstream, polite

CLIENTS = 10
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

RATE = 50
"""Turns a second of all clients together."""


@pytest.fixture
def workers(tmp_path: Path, postgres_url: str, upstream: Upstream) -> Iterator[Server]:
    upstream.script = polite
    env = {"CHATKEEP_WORKERS": "2", "CHATKEEP_SHUTDOWN_DELAY": "0.5"}
    with Replicas(tmp_path, postgres_url, upstream, count=1, **env) as running:
        yield running.servers[0]


class Load:
    """Clients that post at a steady rate until they are stopped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[str] = []
        self.failed: list[str] = []
        self._is_stopped = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._clients = [asyncio.create_task(self._post_on(n)) for n in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_stopped.set()
        await asyncio.gather(*self._clients)

    async def _post_on(self, client: int) -> None:
        """Post one message after the other, each on a connection of its own or on one for all."""
        keeps = client % 2
        limits = httpx2.Limits(max_keepalive_connections=keeps)
        async with httpx2.AsyncClient(base_url=self.url, timeout=30, limits=limits) as http:
            while not self._is_stopped.is_set():
                message = f"message {len(self.sent)} of {client}"
                self.sent.append(message)
                body = {"session_id": f"client {client}", "message": message}
                try:
                    response = await http.post("/chat", json=body)
                    if response.status_code != 200:
                        self.failed.append(f"{response.status_code}: {response.text}")
                except httpx2.HTTPError as error:
                    self.failed.append(repr(error))
                await asyncio.sleep(CLIENTS / RATE)


def check(server: Server, load: Load) -> None:
    assert load.failed == []
    stored = [
        message["content"]
        for client in range(CLIENTS)
        for message in server.history(f"client {client}")
        if message["role"] == "user"
    ]
    assert sorted(stored) == sorted(load.sent)


def pids(postgres_url: str) -> set[str]:
    return {owner for (owner,) in query(postgres_url, "SELECT owner FROM leases")}


def test_sqlite_has_one_worker_and_says_why(tmp_path: Path) -> None:
    env = {**os.environ, "CHATKEEP_DATA_DIR": str(tmp_path)}
    command = run_command("serve", "--workers", "2", env=env, folder=tmp_path)
    assert command.returncode == 2
    assert "With SQLite one process holds the database." in command.stderr


def test_workers_share_one_address_and_are_replaced_under_load_without_a_failed_request(
    workers: Server, postgres_url: str, summarise: Callable[[str], None]
) -> None:
    assert workers.process is not None
    supervisor = workers.process.pid

    async def work() -> Load:
        async with Load(workers.url) as load:
            before = pids(postgres_url)
            assert len(before) == 2
            os.kill(supervisor, signal.SIGHUP)
            await asyncio.to_thread(
                until, lambda: len(pids(postgres_url)) == 2 and not pids(postgres_url) & before
            )
        return load

    load = asyncio.run(work())
    check(workers, load)
    summarise(f"{len(load.sent)} turns while two workers were replaced: none failed")


def test_a_worker_that_dies_is_started_again(workers: Server, postgres_url: str) -> None:
    assert workers.process is not None
    children = subprocess.run(
        ["pgrep", "-P", str(workers.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    before = pids(postgres_url)
    os.kill(int(children[0]), signal.SIGKILL)
    until(lambda: len(pids(postgres_url) - before) == 1)
    assert workers.chat("s", "hello").status_code == 200


def test_workers_end_with_the_process_that_started_them(workers: Server, postgres_url: str) -> None:
    assert workers.process is not None
    workers.kill()
    until(lambda: not pids(postgres_url))


DOCUMENTED = Path(__file__).parent.parent.parent / "docs" / "guides" / "postgresql.md"


@contextlib.contextmanager
def nginx(folder: Path, servers: list[Server]) -> Iterator[Server]:
    """nginx in front of replicas, as the documentation configures it; it is called as a server."""
    folder.mkdir()
    (config,) = re.findall(r"```nginx\n(.*?)```", DOCUMENTED.read_text(), re.DOTALL)
    port = free_port()
    for number, server in enumerate(servers, start=1):
        config = config.replace(f"10.0.0.{number}:8000", f"127.0.0.1:{server.port}")
    config = config.replace("listen 80;", f"listen 127.0.0.1:{port};")
    paths = [f"{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY]
    (folder / "nginx.conf").write_text(f"""
        daemon off;
        user {getpass.getuser()};
        pid {folder}/nginx.pid;
        error_log {folder}/error.log;
        events {{}}
        http {{
            access_log off;
            {" ".join(paths)}
            {config}
        }}
    """)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)]) as run:
        balancer = Server(folder)
        balancer.url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: is_answering(balancer))
            yield balancer
        finally:
            run.terminate()


def is_answering(server: Server) -> bool:
    try:
        return httpx2.get(f"{server.url}/readyz").status_code == 200
    except httpx2.ConnectError:
        return False


def test_a_rolling_restart_of_replicas_behind_a_balancer_fails_no_request(
    tmp_path: Path, postgres_url: str, upstream: Upstream, summarise: Callable[[str], None]
) -> None:
    upstream.script = polite
    replicas = Replicas(tmp_path, postgres_url, upstream, CHATKEEP_SHUTDOWN_DELAY="0.5")
    for server in replicas.servers:
        server.port = free_port()

    async def work(balancer: Server) -> Load:
        async with Load(balancer.url) as load:
            for server in replicas.servers:
                before = len(load.sent)
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                await asyncio.to_thread(until, lambda: len(load.sent) > before + RATE)  # noqa: B023  (at once)
        return load

    with replicas, nginx(tmp_path / "nginx", replicas.servers) as balancer:
        load = asyncio.run(work(balancer))
        check(balancer, load)
    summarise(f"{len(load.sent)} turns while three replicas were restarted: none failed")
