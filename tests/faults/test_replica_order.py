"""Many clients post through three replicas, which die, pause and restart, as does the database."""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from tests.conftest import Databases
from tests.faults.checker import Exchange, RunRecord, findings
from tests.postgres import Cluster, query
from tests.process import PATIENCE, Server
from tests.replicas import Replicas
from tests.sse import STREAM, TERMINAL, Event, parse
from tests.upstream import Answer, Call, Upstream, polite

SESSIONS, CLIENTS, QUESTIONS = 20, 10, 5
"""50 posts to each of 20 sessions, by 10 clients that ask 5 questions one after the other."""

SOME = 5
"""Sessions in a normal run."""

PAUSE = 0.02
"""Seconds between the words of an answer: most of the time, turns run in every session."""

SILENCE = 4
"""Seconds without a byte after which a client goes to another replica: streams have heartbeats."""


def echo(call: Call) -> Answer:
    question = call.messages[-1][1]
    if call.is_title:
        return polite(call)
    words = re.findall(r"\S+\s*", question)
    return Answer(["Reply", " to: ", *words], pause=PAUSE)


@dataclass
class Run:
    """The clients, what they have seen, and what becomes of the replicas meanwhile."""

    replicas: Replicas
    database: str
    random: random.Random
    record: RunRecord = field(default_factory=RunRecord)
    events: dict[str, Event] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def any(self) -> Server:
        return self.random.choice(self.replicas.servers)

    async def ask(
        self, http: httpx2.AsyncClient, session: str, client: int, number: int
    ) -> Exchange:
        """Ask until it is answered, wherever; the key makes one turn of it."""
        question = f"{session}, client {client}, question {number}"
        headers = {**STREAM, "Idempotency-Key": question.replace(" ", "-").replace(",", "")}
        body = {"session_id": session, "message": question}
        while True:
            try:
                end = await self._answer(http, headers, body)
            except (httpx2.HTTPError, OSError):
                end = None
            if end is not None:
                break
            await asyncio.sleep(0.05)
        if end.name != "turn.completed":
            self.problems.append(f"{question!r} ended as {end.name}: {end.data}")
        answer, turn = str(end.data.get("response")), end.data["turn_id"]
        return Exchange(session, client, number, question, answer, turn)

    async def _answer(
        self, http: httpx2.AsyncClient, headers: dict[str, str], body: dict[str, str]
    ) -> Event | None:
        """The last event of the turn; `None` if the stream ended without, or was refused."""
        async with http.stream(
            "POST", f"{self.any().url}/chat", json=body, headers=headers
        ) as response:
            if response.status_code == 503:
                return None
            text = "".join([part async for part in response.aiter_text()])
            assert response.status_code == 200, text
        events = list(parse(text.split("\n")))
        return events[-1] if events and events[-1].name in TERMINAL else None

    async def converse(self, session: str, client: int) -> None:
        timeout = httpx2.Timeout(PATIENCE, read=SILENCE, connect=2)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx2.AsyncClient(timeout=timeout, limits=limits) as http:
            for number in range(QUESTIONS):
                exchange = await self.ask(http, session, client, number)
                self.record.exchanges.append(exchange)
                await self._see_elsewhere(http, exchange)

    async def _see_elsewhere(self, http: httpx2.AsyncClient, exchange: Exchange) -> None:
        """What one replica has answered, every other one has too."""
        try:
            response = await http.get(f"{self.any().url}/history/{exchange.session}")
            contents = [message["content"] for message in response.json()]
        except (httpx2.HTTPError, OSError, ValueError, TypeError):
            return
        if exchange.question not in contents or exchange.answer not in contents:
            self.problems.append(f"lost: {exchange.question!r} is not in another replica's history")

    async def watch(self, server: int) -> None:
        """Read `/events` through one replica after the other, from where the last one ended."""
        after = ""
        timeout = httpx2.Timeout(PATIENCE, read=SILENCE, connect=2)
        async with httpx2.AsyncClient(timeout=timeout) as http:
            while not self.done.is_set():
                url = self.replicas.servers[server].url
                server = (server + 1) % len(self.replicas.servers)
                try:
                    async with http.stream(
                        "GET", f"{url}/events", params={"after": after} if after else {}
                    ) as response:
                        block: list[str] = []
                        async for line in response.aiter_lines():
                            if self.done.is_set():
                                return
                            block.append(line)
                            if line or not (events := list(parse(block))):
                                continue
                            block = []
                            for event in events:
                                self._note(event, after)
                                after = event.id
                except (httpx2.HTTPError, OSError):
                    await asyncio.sleep(0.05)

    def _note(self, event: Event, after: str) -> None:
        """Every reader gets the same event under an id, and the next after the one before."""
        run, _, number = event.id.rpartition("-")
        before, _, last = after.rpartition("-")
        if event.name != "events.missed":
            if self.events.setdefault(event.id, event) != event:
                self.problems.append(f"two events are {event.id}")
            if run == before and int(number) != int(last) + 1:
                self.problems.append(f"after the event {after} came {event.id}")


async def disturb(run: Run, cluster: Cluster, total: int) -> None:
    """Do to the replicas and the database what may happen to them, one thing after the other."""
    first, second, third = run.replicas.servers

    async def at(part: float) -> None:
        while len(run.record.exchanges) < part * total:
            await asyncio.sleep(0.01)

    def restart(server: Server) -> None:
        server.start()

    await at(0.1)
    await asyncio.to_thread(first.kill)
    await asyncio.to_thread(restart, first)
    await at(0.3)
    assert second.process is not None
    os.kill(second.process.pid, signal.SIGSTOP)
    before = set(query(run.database, "SELECT owner FROM leases"))
    while before <= set(query(run.database, "SELECT owner FROM leases")):
        await asyncio.sleep(0.05)
    os.kill(second.process.pid, signal.SIGCONT)
    await at(0.5)
    await asyncio.to_thread(cluster.stop, "immediate")
    await asyncio.to_thread(cluster.start)
    await at(0.7)
    await asyncio.to_thread(third.stop)
    await asyncio.to_thread(restart, third)
    await at(0.8)
    await asyncio.to_thread(second.kill)
    await asyncio.to_thread(restart, second)


async def everything(run: Run, cluster: Cluster, names: list[str]) -> None:
    total = len(names) * CLIENTS * QUESTIONS
    watchers = [asyncio.create_task(run.watch(number)) for number in range(3)]
    disturbing = asyncio.create_task(disturb(run, cluster, total))
    await asyncio.gather(
        *(run.converse(name, client) for name in names for client in range(CLIENTS))
    )
    await disturbing
    run.done.set()
    await asyncio.gather(*watchers)


def check(run: Run, upstream: Upstream, names: list[str]) -> list[str]:
    record, server = run.record, run.replicas.servers[0]
    record.prompts = [[m for m in call.messages if m[0] != "system"] for call in upstream.replies]
    for name in names:
        record.histories[name] = [(m["role"], m["content"]) for m in server.history(name)]
    for exchange in record.exchanges:
        attempt = server.get(f"/turns/{exchange.turn}")["attempt"]
        if attempt > 1:
            record.attempts[exchange.question] = attempt
    titled = Counter(
        event.data["session_id"] for event in run.events.values() if event.name == "session.titled"
    )
    twice = [f"{name} was titled {count} times" for name, count in titled.items() if count > 1]
    return [*run.problems, *twice, *findings(record)]


@pytest.mark.parametrize("seed", [1])
def test_three_replicas_lose_double_and_reorder_nothing(
    tmp_path: Path,
    databases: Databases,
    upstream: Upstream,
    seed: int,
    full: bool,
    summarise: Callable[[str], None],
) -> None:
    upstream.script = echo
    names = [f"session-{number}" for number in range(SESSIONS if full else SOME)]
    cluster = Cluster(is_safe=True)
    url = cluster.create()
    env = {"CHATKEEP_MAX_QUEUED_TURNS": "50", "CHATKEEP_DRAIN_SECONDS": "1"}
    try:
        with Replicas(tmp_path, url, upstream, **env) as replicas:
            run = Run(replicas, url, random.Random(seed))
            asyncio.run(everything(run, cluster, names))
            assert check(run, upstream, names) == []
    finally:
        cluster.remove()
    posts = len(run.record.exchanges)
    assert posts == len(names) * CLIENTS * QUESTIONS
    repeated = sum(attempt - 1 for attempt in run.record.attempts.values())
    summarise(
        f"{posts} posts through three replicas, {repeated} further attempts after what was done to "
        f"them, {len(run.events)} events: nothing was lost, doubled or reordered"
    )
