"""The server is killed again and again while clients post: they repeat, and nothing is doubled.

A normal run kills 4 times, `--full` 40.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.process import PATIENCE, Server, until
from tests.sse import STREAM, Reading, parse, read
from tests.storms.conversation import reply_to
from tests.storms.rows import contents, faults
from tests.storms.test_interleavings import script
from tests.upstream import Upstream

SOME, ALL = 4, 40
"""Kills in a normal run, and with `--full`."""

CLIENTS = 8
SESSIONS = 5
BETWEEN_SECONDS = (0.05, 2)
"""From a server's start to its end."""

SEED = 16


@dataclass(frozen=True)
class Acknowledged:
    session: str
    text: str
    turn: str


class Clients:
    """Clients that post one message after the other, each with a key, until it is answered."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_over = False
        self.acknowledged: list[Acknowledged] = []
        self.retries = 0
        self.refusals: list[str] = []

    async def run(self, kills: int) -> None:
        chance = random.Random(SEED)
        async with httpx2.AsyncClient(timeout=PATIENCE) as http:
            posting = [asyncio.create_task(self.post_on(http, client)) for client in range(CLIENTS)]
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(*BETWEEN_SECONDS))
                self.server.kill()
                await asyncio.to_thread(self.server.start)
            self.is_over = True
            await asyncio.gather(*posting)

    async def post_on(self, http: httpx2.AsyncClient, client: int) -> None:
        for number in itertools.count():
            if self.is_over:
                return
            session = f"session {(client + number) % SESSIONS}"
            text = f"client {client} number{number} words"
            post = self.post_json if number % 2 else self.post_stream
            while True:
                try:
                    turn = await post(http, session, text, f"key-{client}-{number}")
                    break
                except httpx2.TransportError:
                    self.retries += 1
                    await asyncio.sleep(0.02)
            if turn:
                self.acknowledged.append(Acknowledged(session, text, turn))

    async def post_json(self, http: httpx2.AsyncClient, session: str, text: str, key: str) -> str:
        body = {"session_id": session, "message": text}
        headers = {"Idempotency-Key": key}
        answer = await http.post(f"{self.server.url}/chat", json=body, headers=headers)
        if answer.status_code != 200:
            return self.refused(text, answer.status_code, answer.text)
        assert answer.json()["response"] == reply_to(text)
        return str(answer.json()["turn_id"])

    async def post_stream(self, http: httpx2.AsyncClient, session: str, text: str, key: str) -> str:
        """Read to the last event; what was cut off before it is repeated."""
        body = {"session_id": session, "message": text}
        headers = {**STREAM, "Idempotency-Key": key}
        answer = await http.post(f"{self.server.url}/chat", json=body, headers=headers)
        if answer.status_code != 200:
            return self.refused(text, answer.status_code, answer.text)
        reading = Reading()
        for event in parse(answer.text.split("\n")):
            reading.take(event)
        assert reading.end is not None
        if reading.end.name != "turn.completed":
            return self.refused(text, 200, str(reading.end.data))
        assert reading.text == reading.stored == reply_to(text)
        return str(reading.end.data["turn_id"])

    def refused(self, text: str, status: int, answer: str) -> str:
        """A model's failure is on cue; a turn that was killed three times is interrupted."""
        if "misconfigured" not in answer and "interrupted" not in answer:
            self.refusals.append(f"{text}: {status} {answer}")
        return ""


def test_kills_under_load_lose_and_double_nothing(
    tmp_path: Path, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    upstream.script = script
    kills = ALL if full else SOME
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TITLE_WAIT": "0"}
    with Server(tmp_path / "data", env) as server:
        clients = Clients(server)
        asyncio.run(clients.run(kills))
        assert clients.refusals == []
        until(lambda: not [f for f in faults(server.folder) if "has not ended" in f])
        assert faults(server.folder) == []
        there = {
            f"session {number}": contents(server.folder, f"session {number}")
            for number in range(SESSIONS)
        }
        for session, texts in there.items():
            assert len(set(texts)) == len(texts), f"doubled in {session}"
        turns = [one.turn for one in clients.acknowledged]
        assert len(set(turns)) == len(turns)
        for one in clients.acknowledged:
            assert one.text in there[one.session]
        with server.client() as http:
            for one in clients.acknowledged[:: max(1, len(turns) // 200)]:
                reading = read(http, one.turn)
                assert reading.text == reading.stored == reply_to(one.text)
    summarise(f"{kills} kills, {len(turns)} acknowledged, {clients.retries} requests repeated")
    assert clients.retries >= kills
