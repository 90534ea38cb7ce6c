"""Requests as bytes: what is no HTTP, what never ends, what asks for the headers alone."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.process import PATIENCE, Server
from tests.upstream import Answer, Upstream, polite


@pytest.fixture(scope="module")
def impatient_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    env["CHATKEEP_BODY_TIMEOUT"] = "0.5"
    with Server(tmp_path_factory.mktemp("impatient"), env) as running:
        yield running


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def read(wire: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    while piece := wire.recv(65_536):
        received += piece
    return received


def exchange(server: Server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    with connect(server) as wire:
        wire.sendall(request)
        head, _, body = read(wire).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


def test_a_client_that_is_still_sending_gets_the_problem_too(server: Server) -> None:
    """A connection that is closed with unread bytes in it is reset, and its response is lost."""
    with connect(server) as wire:
        # More than fits into the buffers between client and server.
        wire.sendall(b"GET /" + b"x" * 16_000_000)
        assert read(wire).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: evil\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda request: ascii(request[:40]),
)
def test_what_is_no_http_is_a_problem(server: Server, request_: bytes) -> None:
    status, headers, body = exchange(server, request_)

    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["type"] == "/problems/malformed-request"
    assert int(headers["content-length"]) == len(body)
    assert (headers["cache-control"], headers["connection"]) == ("no-store", "close")


def test_an_old_client_needs_no_host_to_be_understood(server: Server) -> None:
    status, _, body = exchange(server, b"GET /sessions HTTP/1.0\r\n\r\n")

    assert (status, json.loads(body)["type"]) == (403, "/problems/foreign-host")


def test_a_head_that_is_too_large_is_refused_before_it_ends(server: Server) -> None:
    with connect(server) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(5):
            wire.sendall(b"x" * 20_000)
        head, _, body = read(wire).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["type"] == "/problems/too-large"


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"GET", b"GET /healthz HTTP/1.1\r\nHost: lo"])
def test_a_head_that_never_ends_is_closed(impatient_server: Server, begin: bytes) -> None:
    with connect(impatient_server) as wire:
        wire.sendall(begin)
        assert read(wire) == b""


def test_a_second_head_that_never_ends_is_closed(impatient_server: Server) -> None:
    with connect(impatient_server) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while not received.endswith(b'{"status":"ok"}'):
            received += wire.recv(65_536)
        wire.sendall(b"GET /healthz HT")
        assert read(wire) == b""


def test_a_stream_may_last_longer_than_a_head(impatient_server: Server) -> None:
    with (
        impatient_server.client() as client,
        client.stream("GET", "/events") as response,
        impatient_server.client() as other,
    ):
        lines = response.iter_lines()
        # Closed by the limit on heads, which is half a second, but opened after the stream.
        with connect(impatient_server) as wire:
            assert read(wire) == b""
        body = {"session_id": "late", "message": "hello"}
        assert other.post("/chat", json=body).status_code == 200
        assert any("session.created" in line for line in lines)


@pytest.mark.parametrize("path", ["/events", "/export", "/turns/{turn}/events"])
def test_head_of_a_stream_ends_with_its_headers(server: Server, session: str, path: str) -> None:
    turn = server.chat(session, "hello").json()["turn_id"]
    request = f"HEAD {path.format(turn=turn)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    with connect(server) as wire:
        wire.sendall(request + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        wire.sendall(b"Connection: close\r\n\r\n")
        first, second, body = read(wire).split(b"\r\n\r\n", 2)

    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {"status": "ok"}


def test_head_of_a_running_turn_leaves_it_running(
    server: Server, upstream: Upstream, session: str
) -> None:
    gate = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=gate)
    with server.client() as client:
        body = {"session_id": session, "message": "hello"}
        headers = {"accept": "text/event-stream"}
        with client.stream("POST", "/chat", json=body, headers=headers) as response:
            path = response.headers["content-location"]
            with server.client() as other:
                head = other.head(path)
            gate.set()
            last = [line for line in response.iter_lines() if line.startswith("event: ")][-1]

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert last == "event: turn.completed"
