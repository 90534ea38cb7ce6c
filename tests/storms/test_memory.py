"""A server that gets no more memory fails clearly, or dies and is whole after the next start."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.faults.test_kills import import_file
from tests.process import PATIENCE, Server, until
from tests.storms.limits import memory_full
from tests.storms.rows import faults
from tests.storms.test_soak import script
from tests.upstream import Upstream

MEGABYTE = 1024 * 1024
SPARE = (0, 24 * MEGABYTE)
"""Memory that the server may still take: nothing, or enough for small requests."""

LONGEST_SECONDS = 60
"""How long a request is waited for, on any machine."""

TIMES = 12
AT_ONCE = 6


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    upstream.script = script
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TITLE_WAIT": "0"}
    with Server(tmp_path / "data", env) as made:
        yield made


def huge_file() -> bytes:
    """An export with a line of 40 MB."""
    first, session, message, *_ = import_file("huge").splitlines()
    long = {**json.loads(message), "content": "long " * 8 * MEGABYTE}
    return b"\n".join([first, session, json.dumps(long).encode()])


def attempt(server: Server, send: Callable[[httpx2.Client], httpx2.Response]) -> str:
    """What a request comes to: a status, a connection that is closed, or nothing.

    Where not even a thread can start any more, what waits for one waits for ever.
    """
    try:
        with server.client() as http:
            http.timeout = min(PATIENCE, LONGEST_SECONDS)
            response = send(http)
    except httpx2.TimeoutException:
        return "unanswered"
    except httpx2.TransportError:
        return "closed"
    return str(response.status_code)


def load(server: Server) -> list[str]:
    """Big imports, long messages and long histories, several at once."""
    huge, long = huge_file(), "word " * 19_000
    requests: list[Callable[[httpx2.Client], httpx2.Response]] = []
    for number in range(TIMES):
        body = {"session_id": f"s{number % 3}", "message": f"number{number} {long}"}
        requests += [
            lambda http: http.post("/import", content=huge),
            lambda http, body=body: http.post("/chat", json=body),
            lambda http: http.get("/export"),
        ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda send: attempt(server, send), requests))


@pytest.mark.parametrize("spare", SPARE)
def test_a_server_without_memory_refuses_and_keeps_what_it_has(
    server: Server, spare: int, summarise: Callable[[str], None]
) -> None:
    before = [f"number{number} before" for number in range(3)]
    for text in before:
        assert server.chat("before", text).status_code == 200
    with memory_full(server, spare_bytes=spare):
        outcomes = load(server)
    assert server.process is not None
    if (code := server.process.poll()) is not None:
        # What a supervisor does.
        server.start()
    counts = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    end = "it lived" if code is None else f"it died with {code}"
    summarise(f"{spare // MEGABYTE} MB of memory left: {counts}, and {end}")
    assert server.chat("before", "number9 after").status_code == 200
    assert server.contents("before")[::2] == [*before, "number9 after"]
    until(lambda: not [f for f in faults(server.folder) if "has not ended" in f])
    assert [f for f in faults(server.folder) if "huge" not in f] == []
    assert "huge" not in server.sessions()
