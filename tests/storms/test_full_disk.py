"""A disk that stays full while clients go on posting, and has space again in the end.

The server's log is on it too. A normal run fills it for some seconds, `--full` for ten minutes.
"""

import asyncio
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.process import PATIENCE, Server, until
from tests.storms.conversation import reply_to
from tests.storms.limits import disk_full
from tests.storms.rows import contents, faults
from tests.storms.test_soak import script
from tests.upstream import Upstream

SOME_SECONDS, ALL_SECONDS = 3, 600
"""How long the disk is full, in a normal run and with `--full`."""

CLIENTS = 8
SPARE_BYTES = 1_000_000
"""What the files may grow to at first: some turns are made before the disk is full."""
PAUSE_SECONDS = 0.02
"""What a client waits after a refusal."""


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    upstream.script = script
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TITLE_WAIT": "0"}
    with Server(tmp_path / "data", env) as made:
        yield made


class Clients:
    """They post one message after the other, whatever is answered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: list[tuple[str, str]] = []
        self.statuses: Counter[int] = Counter()
        self.is_over = False

    async def run(self, seconds: float) -> None:
        async with httpx2.AsyncClient(base_url=self.server.url, timeout=PATIENCE) as http:
            posting = [asyncio.create_task(self.post_on(http, client)) for client in range(CLIENTS)]
            size = max(path.stat().st_size for path in self.server.folder.iterdir())
            with disk_full(self.server, after_bytes=size + SPARE_BYTES):
                async with asyncio.timeout(PATIENCE):
                    while not self.statuses[503]:
                        await asyncio.sleep(PAUSE_SECONDS)
                await asyncio.sleep(seconds)
                # However full it is: who only reads is served.
                assert (await http.get("/healthz")).status_code == 200
                assert (await http.get("/sessions")).status_code == 200
            self.is_over = True
            await asyncio.gather(*posting)

    async def post_on(self, http: httpx2.AsyncClient, client: int) -> None:
        for number in itertools.count():
            if self.is_over:
                return
            session, text = f"session {client}", f"client {client} number{number} words"
            body = {"session_id": session, "message": text}
            answer = await http.post("/chat", json=body)
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                assert answer.json()["response"] == reply_to(text)
                self.acknowledged.append((session, text))
                continue
            assert answer.status_code == 503, answer.text
            assert answer.json()["type"] == "/problems/store-unavailable"
            await asyncio.sleep(PAUSE_SECONDS)


def test_a_full_disk_refuses_loses_nothing_and_needs_no_restart(
    server: Server, full: bool, summarise: Callable[[str], None]
) -> None:
    clients = Clients(server)
    asyncio.run(clients.run(ALL_SECONDS if full else SOME_SECONDS))
    assert clients.statuses[200]
    assert clients.statuses[503]
    assert server.chat("after", "is there space again?").status_code == 200
    until(lambda: not [f for f in faults(server.folder) if "has not ended" in f])
    assert faults(server.folder) == []
    there = {
        (session, text)
        for session in server.sessions()
        for text in contents(server.folder, session)
    }
    assert set(clients.acknowledged) <= there
    # Refused, or stored while its client was refused: nothing is there twice.
    assert len(there) == sum(len(contents(server.folder, name)) for name in server.sessions())
    summarise(f"a full disk: {dict(clients.statuses)}, {len(there)} messages are there")


def test_a_log_that_nobody_reads_any_more_stops_no_turn(tmp_path: Path, upstream: Upstream) -> None:
    """As of `chatkeep serve 2>&1 | tee file` when `tee` has ended: each line fails (EPIPE)."""
    upstream.script = script
    server = Server(tmp_path / "data", {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"})
    server.folder.mkdir()
    command = [sys.executable, "-m", "chatkeep", "serve", "--port", "0"]
    with subprocess.Popen(command, env=server.env, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if b"answers on " in line).decode()
        server.url = line.split("answers on ")[1].split(" ")[0]
        process.stderr.close()
        for number in range(3):
            assert server.chat("s", f"number{number} words").status_code == 200
        process.terminate()
        assert process.wait() == 0
