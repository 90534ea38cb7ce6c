"""A large export and import: byte for byte, and in flat memory, both ways."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks.filling import fill
from benchmarks.processes import resident_bytes

from tests.process import Server
from tests.upstream import Answer, Upstream

MESSAGES, SOME = 100_000, 25_000
FLAT_BYTES = 64 * 1_048_576
"""What the server may grow by: far less than the file has."""


@pytest.fixture
def messages(full: bool) -> int:
    """How many messages the long session has."""
    return MESSAGES if full else SOME


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream, messages: int) -> Iterator[Server]:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    (tmp_path / "data").mkdir()
    fill(tmp_path / "data" / "chatkeep.db", histories=(messages,), listed=20)
    with Server(tmp_path / "data", env) as running:
        yield running


def export(server: Server, file: Path) -> str:
    """Export into a file; return its digest."""
    digest = hashlib.sha256()
    with (
        server.client() as client,
        client.stream("GET", "/export") as response,
        file.open("wb") as out,
    ):
        for piece in response.iter_bytes():
            digest.update(piece)
            out.write(piece)
    return digest.hexdigest()


def pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(65_536):
            yield piece


def grown(server: Server, before: int) -> int:
    assert server.process is not None
    return resident_bytes(server.process.pid) - before


def size(server: Server) -> int:
    assert server.process is not None
    return resident_bytes(server.process.pid)


def test_a_hundred_thousand_messages_go_out_and_come_back(
    server: Server,
    upstream: Upstream,
    tmp_path: Path,
    messages: int,
    summarise: Callable[[str], None],
) -> None:
    """Also with branches, a failed turn and emoji beside them. A normal run takes fewer."""
    first = server.chat("tree", "where do 🦔 live?").json()
    server.chat("tree", "elsewhere?", parent_id=first["message_id"])
    server.chat("tree", "a root", parent_id=None)
    upstream.script = lambda _: Answer(status=400, body=b"{}")
    assert server.chat("tree", "not answered").status_code == 502
    before = size(server)
    digest = export(server, tmp_path / "out.jsonl")
    assert grown(server, before) < FLAT_BYTES
    assert (tmp_path / "out.jsonl").stat().st_size > messages * 300

    env = {**server.env, "CHATKEEP_DATA_DIR": str(tmp_path / "fresh")}
    with Server(tmp_path / "fresh", env) as fresh, fresh.client() as client:
        fresh.chat("warm up", "only so that all is loaded")
        client.delete("/sessions/warm up")
        before = size(fresh)
        report = client.post("/import", content=pieces(tmp_path / "out.jsonl")).json()
        assert grown(fresh, before) < FLAT_BYTES
        assert report["messages"] == messages + 7
        assert report["skipped"] == []

        assert export(fresh, tmp_path / "again.jsonl") == digest
    summarise(f"{messages + 7} messages went out and came back, byte for byte")
