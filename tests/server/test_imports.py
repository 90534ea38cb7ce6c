"""What an import may cost: others are answered, memory has a limit, and it ends when it must."""

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from benchmarks.processes import cpu_seconds, resident_bytes

from tests.process import PATIENCE, QUIET_PATIENCE, Server, until
from tests.upstream import Upstream

MIB = 1_048_576
PAUSE_SECONDS = 2.0 * PATIENCE / QUIET_PATIENCE
"""What another client may wait while a file comes in; it waited for 10 s and more."""

LARGE_RECORD_BYTES = 400 * MIB
"""What one record may cost; without a limit of values it was 2 GB."""

BEGINNING = b'{"type":"chatkeep","version":1}\n'
AT = "2026-01-01T00:00:00.000000Z"


def slowest_answer(server: Server, work: Callable[[], Any]) -> float:
    """Seconds that `/healthz` took at most while the work was done."""
    waits, done = [0.0], threading.Event()

    def ask() -> None:
        with server.client() as client:
            while not done.is_set():
                began = time.monotonic()
                assert client.get("/healthz").status_code == 200
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return max(waits)


def filled(before: bytes, unit: bytes, size: int, after: bytes) -> Iterator[bytes]:
    """A body with a long middle, in pieces."""
    yield before
    piece = unit * max(1, MIB // len(unit))
    for _ in range(size // MIB):
        yield piece
    yield after


def picture(size: int) -> Iterator[bytes]:
    chat = {"id": "pictures", "chat": {"messages": [{"role": "user", "content": "Look: XX done"}]}}
    before, _, after = json.dumps([chat]).encode().partition(b"XX")
    return filled(before + b"![it](data:image/png;base64,", b"iVBORw0K", size, b")" + after)


LONG_STRINGS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "an object": lambda size: filled(b'{"session_id":"', b"a", size, b'"}'),
    "a line of ours": lambda size: filled(BEGINNING + b'{"type":"', b"a", size, b'"}\n'),
    "a picture": picture,
}


@pytest.mark.parametrize("name", LONG_STRINGS)
def test_a_long_string_keeps_nobody_waiting(
    server: Server, full: bool, name: str, summarise: Callable[[str], None]
) -> None:
    size = (63 if full else 40) * MIB
    reports: list[Any] = []

    def work() -> None:
        with server.client() as client:
            reports.append(client.post("/import", content=LONG_STRINGS[name](size)))

    slowest = slowest_answer(server, work)

    assert reports[0].status_code == 200, reports[0].text
    assert slowest < PAUSE_SECONDS
    summarise(f"{name} of {size // MIB} MiB: /healthz took {slowest * 1_000:.0f} ms at most")


TINY = {
    "conversation": (b'[{"id":"x","mapping":{"a":[', b"1]}}]"),
    "line": (BEGINNING + b'{"type":"session","metadata":{"a":[', b"1]}}\n"),
}


@pytest.mark.parametrize("form", TINY)
@pytest.mark.parametrize("unit", [b"[],", b'{"a":1},'])
def test_a_record_of_tiny_values_is_refused_before_it_fills_the_memory(
    server: Server, form: str, unit: bytes
) -> None:
    assert server.process is not None
    before = resident_bytes(server.process.pid)
    peak, done = [before], threading.Event()

    def watch(pid: int) -> None:
        while not done.wait(0.01):
            peak.append(resident_bytes(pid))

    thread = threading.Thread(target=watch, args=(server.process.pid,))
    thread.start()
    start, end = TINY[form]
    with server.client() as client:
        response = client.post("/import", content=b"".join(filled(start, unit, 40 * MIB, end)))
    done.set()
    thread.join()

    assert response.status_code == 413, response.text
    assert "values" in response.json()["detail"]
    assert max(peak) - before < LARGE_RECORD_BYTES


def test_many_small_values_are_read_together(server: Server) -> None:
    count = 300_000
    with server.client() as client:
        report = client.post("/import", content=b"[" + b"{}," * (count - 1) + b"{}]").json()

    assert (report["skipped_count"], len(report["skipped"])) == (count, 1_000)


def lines_of(name: str, messages: int) -> Iterator[bytes]:
    """A session of ours without its end, one line after the other."""
    session = {"type": "session", "session_id": name, "title": "Words", "title_source": "model",
               "pinned": False, "archived": False, "model": None, "system_prompt": None,
               "context_messages": None, "metadata": {}, "head_seq": messages, "created_at": AT,
               "updated_at": AT}  # fmt: skip
    yield json.dumps(session).encode() + b"\n"
    for seq in range(1, messages + 1):
        message = {"type": "message", "seq": seq, "id": f"msg_{name}_{seq}",
                   "parent_seq": seq - 1 or None, "role": "user" if seq % 2 else "assistant",
                   "content": f"text {seq} of many", "status": "completed", "turn_id": None,
                   "created_at": AT}  # fmt: skip
        yield json.dumps(message).encode() + b"\n"


def ending(name: str) -> bytes:
    return json.dumps({"type": "end", "session_id": name}).encode() + b"\n"


def upload(server: Server, body: bytes, *, is_whole: bool) -> socket.socket:
    """Begin to import, and send what there is of the body."""
    address = urlsplit(server.url)
    assert address.hostname is not None
    client = socket.create_connection((address.hostname, address.port or 80))
    length = len(body) if is_whole else len(body) + 1_000
    head = f"POST /import HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {length}\r\n\r\n"
    client.sendall(head.encode() + body)
    return client


def hidden_sessions(server: Server) -> int:
    """Sessions that nobody sees: they came in half, or are deleted."""
    with sqlite3.connect(server.folder / "chatkeep.db") as db:
        (count,) = db.execute("SELECT count(*) FROM sessions WHERE tenant_id <> 'default'")
    return int(count[0])


def wait_until_idle(server: Server) -> None:
    """Wait until the server uses next to no processor."""
    assert server.process is not None
    deadline = time.monotonic() + PATIENCE
    used = 1.0
    while used > 0.1:
        assert time.monotonic() < deadline, "the server still works"
        before = cpu_seconds(server.process.pid)
        time.sleep(0.5)
        used = cpu_seconds(server.process.pid) - before


def test_an_import_ends_when_its_client_goes(server: Server) -> None:
    body = BEGINNING + b"".join(lines_of("left", 10_000))
    client = upload(server, body, is_whole=False)
    until(lambda: hidden_sessions(server) == 1)

    client.close()

    until(lambda: hidden_sessions(server) == 0)
    wait_until_idle(server)
    assert "left" not in server.sessions()
    with server.client() as again:
        report = again.post("/import", content=body + ending("left")).json()
    assert report["messages"] == 10_000


def test_an_import_ends_although_all_of_it_has_arrived(server: Server) -> None:
    """Its client goes while the database is busy, so nothing of it is written down yet."""
    body = BEGINNING + b"".join(lines_of("arrived", 300)) + ending("arrived")
    with sqlite3.connect(server.folder / "chatkeep.db", isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        client = upload(server, body, is_whole=True)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b"", "the server must notice, and close the connection"
        client.close()
        db.execute("ROLLBACK")

    wait_until_idle(server)
    assert "arrived" not in server.sessions()
    assert hidden_sessions(server) == 0


def test_a_file_of_nothing_is_not_read_on_when_its_client_goes(server: Server) -> None:
    client = upload(server, b"[" + b"{}," * MIB, is_whole=False)

    client.close()

    wait_until_idle(server)


def test_a_server_that_stops_gives_an_import_up(tmp_path: Path, upstream: Upstream) -> None:
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_DRAIN_SECONDS": str(2 * PATIENCE),
    }
    body = BEGINNING + b"".join(lines_of("stopped", 3_000))
    with Server(tmp_path / "data", env) as server:
        client = upload(server, body, is_whole=False)
        until(lambda: hidden_sessions(server) == 1)

        began = time.monotonic()
        server.stop()

        assert time.monotonic() - began < PATIENCE, "it need not wait for the client"
        assert b"503" in client.recv(100)
        client.close()
        server.start()
        until(lambda: hidden_sessions(server) == 0)
        assert server.sessions() == {}
        with server.client() as again:
            report = again.post("/import", content=body + ending("stopped")).json()
        assert report["imported"] == 1


def test_many_lines_need_no_more_memory(
    server: Server, full: bool, summarise: Callable[[str], None]
) -> None:
    """2 GB of them with `--full`."""
    assert server.process is not None
    padding = "and so on, one word after the other " * 30
    size = 0

    def lines() -> Iterator[bytes]:
        nonlocal size
        number = 0
        yield BEGINNING
        while size < (2_000 * MIB if full else 8 * MIB):
            number += 1
            name = f"lines {number}"
            piece = b"".join(lines_of(name, 400)).replace(b"of many", padding.encode())
            piece += ending(name)
            size += len(piece)
            yield piece

    before, began = resident_bytes(server.process.pid), time.monotonic()
    with server.client() as client:
        report = client.post("/import", content=lines()).json()
    grown = resident_bytes(server.process.pid) - before

    assert report["skipped_count"] == 0
    assert report["messages"] == report["imported"] * 400
    assert grown < 64 * MIB
    speed = size / MIB / (time.monotonic() - began)
    summarise(f"{size // MIB} MiB of lines: {speed:.1f} MiB/s, {grown / MIB:.0f} MiB more memory")
