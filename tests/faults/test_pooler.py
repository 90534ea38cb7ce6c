"""PgBouncer in transaction mode: each transaction of a replica may be on another connection."""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Databases
from tests.postgres import USER, name_of, query
from tests.process import Server, free_port, until
from tests.replicas import Reader, Replicas, post, turn_of
from tests.upstream import Answer, Upstream, polite

SESSIONS, TURNS = 6, 5


@contextmanager
def pooler(databases: Databases, url: str) -> Iterator[str]:
    """A pooler with two connections for everybody; the URL of the database through it."""
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer"))
    name, port = name_of(url), free_port()
    (folder / "users").write_text(f'"{USER}" ""\n')
    (folder / "pgbouncer.ini").write_text(f"""
[databases]
{name} = host={databases.cluster.folder} dbname={name} user={USER}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
ignore_startup_parameters = options
logfile = {folder}/log
""")
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, USER if os.geteuid() == 0 else getpass.getuser())
    command = ["pgbouncer", "-q", str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:
        # It refuses to run as root.
        command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
    with subprocess.Popen(command, cwd="/") as running:
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/{name}"
        finally:
            running.terminate()
    shutil.rmtree(folder)


def test_a_pooler_in_transaction_mode_changes_nothing(
    tmp_path: Path, databases: Databases, postgres_url: str, upstream: Upstream
) -> None:
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer([f"To {call.messages[-1][1]}"], pause=0.02)
    )
    env = {
        "CHATKEEP_DATABASE_LISTEN_URL": postgres_url,
        "CHATKEEP_DATABASE_PREPARED_STATEMENTS": "false",
    }
    with (
        pooler(databases, postgres_url) as url,
        Replicas(tmp_path, url, upstream, count=2, **env) as replicas,
        ThreadPoolExecutor(SESSIONS) as pool,
    ):

        def ask(session: str) -> None:
            for number in range(TURNS):
                server: Server = replicas.servers[number % 2]
                assert server.chat(session, f"{session} {number}").status_code == 200

        names = [f"s{number}" for number in range(SESSIONS)]
        for each in [pool.submit(ask, name) for name in names]:
            each.result()
        one, other = replicas.servers
        for name in names:
            wanted = [text for n in range(TURNS) for text in (f"{name} {n}", f"To {name} {n}")]
            assert other.contents(name) == wanted
        running = post(one, "live")
        follower = Reader(other, "GET", f"/turns/{turn_of(running)}/events")
        assert follower.wait()[-1].data["response"] == running.wait()[-1].data["response"]
        with other.client() as client:
            assert {hit["session_id"] for hit in client.get("/search?q=s3").json()} == {"s3"}
        until(lambda: not query(postgres_url, "SELECT 1 FROM followers"))
