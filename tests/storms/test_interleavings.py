"""Sixteen kinds of operation at once on three shared sessions: what holds in any order holds.

Each interleaving is made from a number: what is done, to what, and when. A failure names it, and
`pytest tests/storms/test_interleavings.py --full -k "at_once and NUMBER"` runs that one again. A
normal run tries some, `--full` 200.
"""

import asyncio
import itertools
import json
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.clock import set_clock
from tests.process import PATIENCE, Server, files_with, until
from tests.sse import STREAM, Event, Reading, parse
from tests.storms.conversation import DAY, pieces_of, reply_to
from tests.storms.rows import contents, faults
from tests.upstream import Answer, Call, Upstream, polite

SOME, ALL = 15, 200
"""Interleavings in a normal run, and with `--full`."""

AT_ONCE = 32
"""Operations of one interleaving, within `SPREAD` seconds."""
SPREAD = 0.06
MODEL_SECONDS = 0.02
"""The longest that the scripted model waits before it answers."""

NOON = 1_800_000_000
ENDS = {200, 404, 409, 412, 422, 429, 502}
"""What an operation may meet. 502 is the model's own failure, on cue."""


def script(call: Call) -> Answer:
    """Answer after a moment of its own for each message; fail now and then."""
    content = call.messages[-1][1]
    if call.is_title:
        return polite(call)
    chance = random.Random(content)
    if chance.random() < 0.1:
        return Answer(status=401)
    gate = threading.Event()
    threading.Timer(chance.uniform(0, MODEL_SECONDS), gate.set).start()
    return Answer(pieces_of(content), gate=gate)


@dataclass
class Seeded:
    """A session as it is when the storm begins."""

    name: str
    export: bytes = b""
    messages: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)


class Storm:
    """One interleaving, and all that its clients saw."""

    def __init__(self, server: Server, clock: Path, number: int) -> None:
        self.server = server
        self.clock = clock
        self.canary = f"canary{number}yranac"
        self.chance = random.Random(number)
        self.sessions = [Seeded(f"storm {number}/{at}") for at in range(3)]
        # Days pass in every third only: then any session may go.
        self.days_pass = number % 3 == 0
        self.counter = itertools.count()
        self.accepted: list[tuple[str, str]] = []
        self.posted: set[tuple[str, str]] = set()
        self.in_order: list[tuple[str, str, str]] = []
        self.statuses: Counter[int] = Counter()

    def is_calm(self, session: Seeded) -> bool:
        """Whether nothing in this storm deletes the session or brings it back."""
        return session is self.sessions[0] and not self.days_pass

    def message(self, session: Seeded) -> str:
        text = f"{self.canary} number{next(self.counter)} words"
        self.posted.add((session.name, text))
        return text

    # Single requests.

    async def send(
        self, method: str, path: str, also: Collection[int] = (), **more: Any
    ) -> httpx2.Response:
        response = await self.http.request(method, path, **more)
        self.statuses[response.status_code] += 1
        assert response.status_code in {*ENDS, 202, 204, *also}, response.text
        return response

    async def post(
        self, session: Seeded, *, text: str = "", key: str = "", accepted: Any = None, **more: Any
    ) -> httpx2.Response:
        """Post a message; `accepted` is set when the turn is on disk."""
        text = text or self.message(session)
        headers = {**STREAM, **({"Idempotency-Key": key} if key else {})}
        body = {"session_id": session.name, "message": text, **more}
        async with self.http.stream("POST", "/chat", json=body, headers=headers) as response:
            self.statuses[response.status_code] += 1
            if accepted is not None:
                accepted.set()
            if response.status_code != 200:
                assert response.status_code in ENDS, await response.aread()
                return response
            if "idempotent-replayed" not in response.headers:
                self.accepted.append((session.name, text))
            reading = Reading()
            lines = (await response.aread()).decode().split("\n")
            for event in parse(lines):
                reading.take(event)
        assert reading.end is not None, lines
        assert reading.stored in {reading.text, ""}
        if reading.end.name == "turn.completed":
            assert reading.text == reply_to(text)
        return response

    # The operations: each takes its session and its own chance, used or not.

    async def post_twice(self, session: Seeded, _chance: random.Random) -> None:
        """The second follows as soon as the first is accepted."""
        first, second = self.message(session), self.message(session)
        accepted = asyncio.Event()
        posting = asyncio.create_task(self.post(session, text=first, accepted=accepted))
        await accepted.wait()
        after = await self.post(session, text=second)
        before = await posting
        if before.status_code == after.status_code == 200:
            self.in_order.append((session.name, first, second))

    async def post_to_a_branch(self, session: Seeded, chance: random.Random) -> None:
        await self.post(session, parent_id=chance.choice([None, *session.messages]))

    async def post_or_be_refused(self, session: Seeded, _chance: random.Random) -> None:
        await self.post(session, on_busy="reject")

    async def interrupt(self, session: Seeded, _chance: random.Random) -> None:
        await self.post(session, on_busy="interrupt")

    async def regenerate(self, session: Seeded, chance: random.Random) -> None:
        body = {"session_id": session.name, "regenerate": chance.choice(session.turns)}
        await self.send("POST", "/chat", json=body)

    async def repeat(self, session: Seeded, _chance: random.Random) -> None:
        """The same request three times at once."""
        text = self.message(session)
        key = text.replace(" ", "-")
        answers = await asyncio.gather(*(self.post(session, text=text, key=key) for _ in range(3)))
        turns = {answer.headers.get("content-location") for answer in answers}
        if self.is_calm(session):
            assert len(turns) == 1

    async def cancel(self, session: Seeded, chance: random.Random) -> None:
        record = await self.send("GET", f"/sessions/{session.name}")
        turn = record.json().get("running_turn") or chance.choice(session.turns)
        answer = await self.send("POST", f"/turns/{turn}/cancel")
        assert answer.json()["status"] not in {"queued", "running"}

    async def choose_a_branch(self, session: Seeded, chance: random.Random) -> None:
        change = {"head": chance.choice(session.messages)}
        await self.send("PATCH", f"/sessions/{session.name}", json=change)

    async def rename(self, session: Seeded, chance: random.Random) -> None:
        change = {"title": f"{self.canary} title", "pinned": chance.random() < 0.5}
        await self.send("PATCH", f"/sessions/{session.name}", json=change)

    async def change_if_unchanged(self, session: Seeded, _chance: random.Random) -> None:
        path = f"/sessions/{session.name}"
        before = await self.send("GET", path)
        tag = {"If-Match": before.headers.get("etag", '"none"')}
        change = {"metadata": {"number": next(self.counter)}}
        after = await self.send("PATCH", path, json=change, headers=tag)
        assert after.status_code != 200 or after.json()["metadata"] == change["metadata"]

    async def delete(self, _session: Seeded, chance: random.Random) -> None:
        target = chance.choice(self.sessions[1:])
        await self.send("DELETE", f"/sessions/{target.name}")

    async def carry_away(self, session: Seeded, _chance: random.Random) -> None:
        """Whatever goes on meanwhile, what is exported is whole."""
        answer = await self.send("GET", "/export", params={"session_id": session.name})
        if answer.status_code == 200:
            entries = [json.loads(line) for line in answer.content.splitlines()]
            kinds = Counter(entry["type"] for entry in entries)
            assert kinds["session"] == kinds["end"]
            seqs = [entry["seq"] for entry in entries if entry["type"] == "message"]
            assert seqs == list(range(1, len(seqs) + 1))

    async def carry_back(self, _session: Seeded, chance: random.Random) -> None:
        # So many imports at once, and the next is refused.
        export = chance.choice(self.sessions[1:]).export
        await self.send("POST", "/import", also={503}, content=export)

    async def read_on(self, session: Seeded, chance: random.Random) -> None:
        """A turn's stream from two positions ends with the same words."""
        path = f"/turns/{chance.choice(session.turns)}/events"
        whole = await self.send("GET", path)
        if whole.status_code != 200:
            return
        every = list(parse(whole.text.split("\n")))
        at = chance.randrange(len(every) - 1)
        rest = await self.send("GET", path, headers={"Last-Event-ID": every[at].id})
        if rest.status_code == 200:
            # The session may have got another title meanwhile, which the last event tells.
            assert _words(parse(rest.text.split("\n"))) == _words(every[at + 1 :])

    async def read(self, session: Seeded, _chance: random.Random) -> None:
        """A branch that is read while it grows is one branch."""
        answer = await self.send("GET", f"/history/{session.name}")
        if self.is_calm(session):
            ids = [message["id"] for message in answer.json()]
            assert [message["parent_id"] for message in answer.json()] == [None, *ids[:-1]]
        await self.send("GET", "/sessions")
        await self.send("GET", "/search", params={"q": self.canary})

    async def let_days_pass(self, _session: Seeded, _chance: random.Random) -> None:
        """All that rests at this moment expires."""
        if self.days_pass:
            set_clock(self.clock, int(self.clock.read_text()) + 2 * DAY)

    # The storm.

    async def run(self) -> None:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=self.server.url, timeout=PATIENCE, limits=limits
        ) as self.http:
            for session in self.sessions:
                for _ in range(2):
                    await self.post(session)
            for session in self.sessions:
                history = (await self.send("GET", f"/history/{session.name}")).json()
                session.messages = [message["id"] for message in history]
                session.turns = sorted({message["turn_id"] for message in history})
                one = {"session_id": session.name}
                session.export = (await self.send("GET", "/export", params=one)).content
            rest = self.chance.choices(OPERATIONS, k=AT_ONCE - len(OPERATIONS))
            async with asyncio.TaskGroup() as tasks:
                for operation in [*OPERATIONS, *rest]:
                    tasks.create_task(self.later(operation))

    async def later(self, operation: "Operation") -> None:
        own = random.Random(self.chance.random())
        await asyncio.sleep(own.uniform(0, SPREAD))
        await operation(self, own.choice(self.sessions), own)

    def check(self) -> None:
        """What holds in any order."""
        until(lambda: not [f for f in faults(self.server.folder) if "has not ended" in f])
        assert faults(self.server.folder) == []
        listed = self.server.sessions()
        for session in self.sessions:
            there = contents(self.server.folder, session.name)
            accepted = [text for name, text in self.accepted if name == session.name]
            assert {(session.name, text) for text in there} <= self.posted
            # A key has a day; where days pass, a repeated request may be a new one.
            assert self.days_pass or max(Counter(there).values(), default=1) == 1
            if self.is_calm(session):
                assert sorted(there) == sorted(accepted)
                for name, first, second in self.in_order:
                    if name == session.name:
                        assert there.index(first) < there.index(second)
            # Where days pass, it may expire while it is looked at.
            if session.name in listed and not self.days_pass:
                history = self.server.history(session.name)
                assert listed[session.name]["message_count"] == len(history)

    def remove(self) -> None:
        """A deleted session is gone with every word."""
        with self.server.client() as http:
            for session in self.sessions:
                assert http.delete(f"/sessions/{session.name}").status_code in {204, 404}
        until(lambda: files_with(self.server.folder, self.canary) == [])


Operation = Callable[[Storm, Seeded, random.Random], Awaitable[None]]
OPERATIONS: list[Operation] = [
    Storm.post_twice,
    Storm.post_to_a_branch,
    Storm.post_or_be_refused,
    Storm.interrupt,
    Storm.regenerate,
    Storm.repeat,
    Storm.cancel,
    Storm.choose_a_branch,
    Storm.rename,
    Storm.change_if_unchanged,
    Storm.delete,
    Storm.carry_away,
    Storm.carry_back,
    Storm.read_on,
    Storm.read,
    Storm.let_days_pass,
]


def _words(events: Iterable[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "message.delta")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clock = tmp_path_factory.mktemp("clock") / "clock"
    set_clock(clock, NOON)
    return clock


@pytest.fixture(scope="module")
def stormy(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream, clock: Path
) -> Iterator[Server]:
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    env |= {"CHATKEEP_TITLE_WAIT": "0", "CHATKEEP_RETENTION_DAYS": "1"}
    env |= {"CHATKEEP_RETENTION_CHECK_SECONDS": "0.05"}
    folder = tmp_path_factory.mktemp("data")
    with Server(folder, env, program=("tests.clock", str(clock))) as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", range(ALL if metafunc.config.getoption("--full") else SOME))


def test_what_is_done_at_once_ends_as_if_it_was_done_in_some_order(
    stormy: Server, upstream: Upstream, clock: Path, number: int
) -> None:
    upstream.script = script
    storm = Storm(stormy, clock, number)
    asyncio.run(storm.run())
    storm.check()
    storm.remove()
