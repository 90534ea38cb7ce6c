"""Readers that stop reading, and a server that stops while many read."""

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx2

from tests.process import PATIENCE, Server, until
from tests.sse import STREAM, Reading, events, parse, read, whole_events
from tests.upstream import Answer, Call, Upstream, polite

HUGE = "€" * 3_900_000
"""More than the buffers of two sockets hold."""

STREAMS = 20
DRAIN_SECONDS = PATIENCE // 10
"""Time for the turns that can end to do so."""


class Stuck:
    """A reader that asks for a turn's events and then takes none of them."""

    def __init__(self, server: Server, turn_id: str) -> None:
        host, _, port = server.url.removeprefix("http://").partition(":")
        self._server_port = int(port)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect((host, self._server_port))
        request = f"GET /turns/{turn_id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n"
        self._socket.sendall(request.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def is_connected(self) -> bool:
        """Whether the server still has the other end of the connection open (proc(5))."""
        mine = self._socket.getsockname()[1]
        ends = (f":{self._server_port:04X}", f":{mine:04X}")
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            if local.endswith(ends[0]) and remote.endswith(ends[1]):
                return state == "01"
        return False

    def take(self) -> Reading:
        """Read what had been sent."""
        raw = b""
        with contextlib.suppress(ConnectionError):
            while data := self._socket.recv(65_536):
                raw += data
        reading = Reading()
        for event in parse(whole_events(raw.partition(b"\r\n\r\n")[2])):
            reading.take(event)
        return reading


def check_stuck_readers(server: Server, upstream: Upstream, seconds: float = 0) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["A", HUGE, "Z"], pace=pace)
    )
    reading = Reading()
    body = {"session_id": "s", "message": "write"}
    stuck: list[Stuck] = []
    with contextlib.ExitStack() as opened:
        client = opened.enter_context(server.client())
        posted = client.stream("POST", "/chat", json=body, headers=STREAM)
        response = opened.enter_context(posted)
        for event in events(response):
            if event.name == "turn.started":
                turn_id = event.data["turn_id"]
                stuck = [opened.enter_context(Stuck(server, turn_id)) for _ in range(5)]
                pace.release(1)
            if reading.text == "" and event.name == "message.delta":
                pace.release(9)
            reading.take(event)
        # The turn and its other reader did not wait for them.
        assert reading.text == reading.stored == f"A{HUGE}Z"
        until(
            lambda: not any(reader.is_connected for reader in stuck),
            "a reader that takes nothing is still connected",
            seconds=seconds,
        )
        for reader in stuck:
            before = reader.take()
            assert before.end is None
            rest = read(client, turn_id, before.after)
            assert before.text + rest.text == rest.stored == reading.text


def test_a_reader_that_takes_nothing_is_dropped_and_slows_nobody(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_READER_TIMEOUT": "1"}
    with Server(tmp_path / "data", upstream.env | env) as server:
        check_stuck_readers(server, upstream)
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
        assert [line for line in lines if line["level"] in {"error", "warning"}] == []


def check_stop(server: Server, upstream: Upstream, summarise: Callable[[str], None]) -> None:
    paces = {number: threading.Semaphore(1) for number in range(STREAMS)}

    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        number = int(call.messages[-1][1].split()[-1])
        return Answer(["One. ", "Two. ", "Three."], pace=paces[number])

    upstream.script = script
    readings = [Reading() for _ in range(STREAMS)]
    comments: list[list[str]] = [[] for _ in range(STREAMS)]
    turns: dict[int, str] = {}

    def is_announced(stream: list[str]) -> bool:
        return "stopping" in "".join(stream)

    def follow(number: int) -> None:
        body = {"session_id": f"s{number}", "message": f"count {number}"}
        with (
            contextlib.suppress(httpx2.TransportError),
            server.client() as client,
            client.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            for event in events(response, comments[number]):
                turns.setdefault(number, event.data.get("turn_id", ""))
                readings[number].take(event)

    with ThreadPoolExecutor(STREAMS) as pool:
        jobs = [pool.submit(follow, number) for number in range(STREAMS)]
        until(lambda: all(reading.text == "One. " for reading in readings))
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        until(lambda: all(map(is_announced, comments)) or server.process.poll() is not None)
        for number in range(STREAMS // 2):
            paces[number].release(9)
        for job in jobs:
            job.result()
        assert all(map(is_announced, comments)), "a stream broke off without an announcement"
        # The limit, and some seconds to close the database.
        assert server.process.wait(DRAIN_SECONDS + PATIENCE) == 0
    finished = [reading for reading in readings if reading.end is not None]
    assert len(finished) >= STREAMS // 2
    upstream.script = polite
    for pace in paces.values():
        pace.release(9)
    server.start()
    with server.client() as client:
        for number, before in enumerate(readings):
            rest = before if before.end else read(client, turns[number], before.after)
            assert rest.end is not None
            assert rest.end.name == "turn.completed"
            assert rest.text == rest.stored
            assert len(server.history(f"s{number}")) == 2
    summarise(f"SIGTERM with {STREAMS} streams: {len(finished)} finished, the others were resumed")


def stopping(folder: Path, upstream: Upstream, *program: str) -> Server:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    env |= {"CHATKEEP_DRAIN_SECONDS": str(DRAIN_SECONDS)}
    return Server(folder, env, program=program or ("chatkeep",))


def test_a_stop_finishes_running_streams_or_leaves_them_to_be_resumed(
    tmp_path: Path, upstream: Upstream, summarise: Callable[[str], None]
) -> None:
    with stopping(tmp_path / "data", upstream) as server:
        check_stop(server, upstream, summarise)
