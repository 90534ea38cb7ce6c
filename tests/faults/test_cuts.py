"""A reader's connection is cut after every byte of a stream: what it puts together is the reply.

A normal run cuts after some of the bytes, `pytest tests/faults/test_cuts.py --full` after each.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.process import PATIENCE, Server
from tests.sse import STREAM, Reading, events, parse, whole_events
from tests.upstream import Answer, Call, Upstream, polite

PIECES = [f"{number} " + "äé€🎈"[number % 4] * (number % 5) for number in range(198)]
"""With the first and the last event, a stream of 200."""

AT_ONCE = 250
"""Readers of one turn; each is cut after another byte."""

SOME = 97
"""In a normal run, one of so many bytes is tried."""


@dataclass
class Cut:
    """A reader that is cut after so many bytes of its stream, and then reads on."""

    after: int
    reading: Reading = field(default_factory=Reading)
    deltas: int = 0
    received: int = 0
    is_cut: asyncio.Event = field(default_factory=asyncio.Event)
    restarts: int = 0

    async def read(self, url: str, turn_id: str, *, limit: int | None = None) -> None:
        """Read on from where it is, to the end or to so many bytes."""
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        at = f"Last-Event-ID: {self.reading.after}\r\n" if self.reading.after else ""
        writer.write(f"GET /turns/{turn_id}/events HTTP/1.1\r\nHost: {host}\r\n{at}\r\n".encode())
        raw = b""
        with contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.partition(b"\r\n")[0], head
            while limit is None or len(raw) < limit:
                data = await reader.read(65_536 if limit is None else limit - len(raw))
                raw += data
                self.deltas = raw.count(b"event: message.delta")
                if not data or raw.endswith(b"0\r\n\r\n"):
                    break
        writer.close()
        for event in parse(whole_events(raw)):
            self.restarts += event.name == "turn.restarted"
            self.reading.take(event)
        self.received = self.received or len(raw)


class Paced:
    """A model that writes its next piece when every reader has the one before."""

    def __init__(self, upstream: Upstream) -> None:
        self.pace = threading.Semaphore(0)
        self.pieces = PIECES
        upstream.script = self

    def __call__(self, call: Call) -> Answer:
        return polite(call) if call.is_title else Answer(self.pieces, pace=self.pace)


async def turn_with_readers(
    server: Server, paced: Paced, cuts: list[Cut], meanwhile: Callable[[], None] | None = None
) -> None:
    """Run one turn under the eyes of all these readers, and cut each after its bytes.

    With `meanwhile`, that happens once all are cut, with one piece still to come.
    """
    loop = asyncio.get_running_loop()
    started: asyncio.Future[str] = loop.create_future()
    written = 0

    def post() -> None:
        nonlocal written
        body = {"session_id": "s", "message": "write"}
        with (
            contextlib.suppress(Exception),
            server.client() as client,
            client.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            for event in events(response):
                if event.name == "turn.started":
                    loop.call_soon_threadsafe(started.set_result, event.data["turn_id"])
                written += event.name == "message.delta"

    posting = loop.run_in_executor(None, post)
    turn_id = await asyncio.wait_for(started, PATIENCE)

    async def follow(cut: Cut) -> None:
        await cut.read(server.url, turn_id, limit=cut.after)
        cut.is_cut.set()
        if meanwhile is not None:
            await restarted.wait()
        if cut.reading.end is None:
            await cut.read(server.url, turn_id)

    restarted = asyncio.Event()
    following = [asyncio.create_task(follow(cut)) for cut in cuts]
    for number in range(1, len(PIECES)):
        paced.pace.release()
        async with asyncio.timeout(PATIENCE):
            while written < number or any(
                cut.deltas < number for cut in cuts if not cut.is_cut.is_set()
            ):
                await asyncio.sleep(0.001)
    if meanwhile is not None:
        # Whose bytes have not all come is cut by the end of the server itself.
        await asyncio.to_thread(meanwhile)
        restarted.set()
    paced.pace.release(1_000)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*following)
        await posting


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path / "data", env) as made:
        made.chat("s", "the first")  # no title comes between the pieces any more
        yield made


def with_readers(
    server: Server, upstream: Upstream, afters: list[int], meanwhile: Callable[[], None] | None
) -> list[Cut]:
    """Readers of one more turn, each cut after its bytes; what they have must be the reply."""
    cuts = [Cut(after) for after in afters]
    work = turn_with_readers(server, Paced(upstream), cuts, meanwhile)
    asyncio.run(work)
    reply = server.history("s")[-1]["content"]
    for cut in cuts:
        assert cut.reading.end is not None, f"cut after {cut.after}: no end"
        assert cut.reading.end.name == "turn.completed"
        assert cut.reading.text == cut.reading.stored == reply, f"other text, cut after {cut.after}"
    return cuts


def sweep(
    server: Server, upstream: Upstream, step: int, meanwhile: Callable[[], None] | None = None
) -> tuple[int, int]:
    """Cut after every `step`th byte; return how many readers that were, and the bytes."""
    (whole,) = with_readers(server, upstream, [10**9], None)
    assert whole.deltas == len(PIECES), "the stream is not the pieces as they were written"
    afters = list(range(1, whole.received, step))
    for start in range(0, len(afters), AT_ONCE):
        with_readers(server, upstream, afters[start : start + AT_ONCE], meanwhile)
    return len(afters), whole.received


def test_a_reader_that_is_cut_after_any_byte_gets_the_whole_reply(
    server: Server, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    points, whole = sweep(server, upstream, 1 if full else SOME)
    summarise(f"cut after {points} of the {whole} bytes of a live stream of 200 events")


def sweep_with_restarts(server: Server, upstream: Upstream, step: int) -> tuple[int, int, int]:
    """The same, and kill the server each time its readers are cut; return how often, too."""
    kills = 0

    def restart() -> None:
        nonlocal kills
        kills += 1
        # The model writes something else this time.
        paced = Paced(upstream)
        paced.pieces = [f"again {number}, " for number in range(50)]
        paced.pace.release(1_000)
        server.kill()
        server.start()

    points, whole = sweep(server, upstream, step, restart)
    return points, whole, kills


def test_a_reader_that_is_cut_after_any_byte_and_finds_the_server_restarted_gets_the_whole_reply(
    server: Server, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    points, whole, kills = sweep_with_restarts(server, upstream, 1 if full else SOME)
    summarise(f"cut after {points} of {whole} bytes, with {kills} restarts in between")


def test_a_reader_of_a_finished_turn_that_is_cut_after_any_byte_reads_on_after_a_restart(
    server: Server, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(["Sö 🎈 "] * 9_000)
    reply = server.chat("s", "write much").json()
    turn_id = reply["turn_id"]

    async def read(cut: Cut, limit: int | None) -> None:
        if cut.reading.end is None:
            await cut.read(server.url, turn_id, limit=limit)

    async def read_all(cuts: list[Cut], *, to_the_end: bool) -> None:
        for start in range(0, len(cuts), AT_ONCE):
            part = cuts[start : start + AT_ONCE]
            await asyncio.gather(*(read(cut, None if to_the_end else cut.after) for cut in part))

    whole = Cut(10**9)
    asyncio.run(whole.read(server.url, turn_id))
    cuts = [Cut(after) for after in range(1, whole.received, 61 if full else 61 * SOME)]
    asyncio.run(read_all(cuts, to_the_end=False))
    assert server.stop() == 0
    server.start()
    asyncio.run(read_all(cuts, to_the_end=True))
    for cut in cuts:
        assert cut.reading.text == cut.reading.stored == reply["response"]
        assert cut.restarts == 0
    summarise(f"cut after {len(cuts)} of {whole.received} bytes of a finished turn, then restarted")
