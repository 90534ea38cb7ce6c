"""Clients that send a request again, by a key or by habit: each request makes one turn."""

import asyncio
import contextlib
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from tests.process import PATIENCE, Server, until
from tests.proxy import Proxy
from tests.upstream import Answer, Upstream, polite

SOME, ALL = 120, 1_000
"""Keys in a normal run, and with `--full`."""

TIMES = 3
AT_ONCE = 48
SESSIONS = 40


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    env |= {"CHATKEEP_MAX_QUEUED_TURNS": "1000"}
    with Server(tmp_path / "data", env) as made:
        yield made


def post_all(server: Server, keys: int) -> dict[str, set[str]]:
    """Post each key three times at once; kill the server after a third. The turns of each key."""
    turns: dict[str, set[str]] = defaultdict(set)
    answered = 0
    killed = asyncio.Event()

    async def send(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
        body = {"session_id": f"session {number % SESSIONS}", "message": f"message {number}"}
        headers = {"Idempotency-Key": f"key-{number}"}
        while True:
            try:
                url = f"{server.url}/chat"
                answer = await client.post(url, json=body, headers=headers)
            except httpx2.TransportError:
                # What a client does: the same again, until someone answers.
                await asyncio.sleep(0.02)
                continue
            assert answer.status_code == 200, answer.text
            return answer

    async def one(client: httpx2.AsyncClient, number: int, free: asyncio.Semaphore) -> None:
        nonlocal answered
        async with free:
            answers = await asyncio.gather(*(send(client, number) for _ in range(TIMES)))
        for answer in answers:
            turns[f"key-{number}"].add(answer.json()["turn_id"])
            assert answer.json()["response"] == f"Reply to: message {number}"
        answered += 1
        if answered == keys // 3:
            killed.set()

    async def kill() -> None:
        await killed.wait()
        server.kill()
        await asyncio.to_thread(server.start)

    async def main() -> None:
        free = asyncio.Semaphore(AT_ONCE // TIMES)
        limits = httpx2.Limits(max_connections=AT_ONCE)
        async with httpx2.AsyncClient(timeout=PATIENCE, limits=limits) as client:
            await asyncio.gather(kill(), *(one(client, n, free) for n in range(keys)))

    asyncio.run(main())
    return turns


def stored(server: Server) -> list[str]:
    """The stored messages of users."""
    path = f"file:{server.folder}/chatkeep.db?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = conn.execute("SELECT content FROM messages WHERE role = 'user'")
        return [content for (content,) in rows]


def check_keys(server: Server, keys: int) -> None:
    turns = post_all(server, keys)
    assert {len(ids) for ids in turns.values()} == {1}, "a key made more than one turn"
    assert sorted(stored(server)) == sorted(f"message {number}" for number in range(keys))


def test_each_key_makes_one_turn_through_a_kill(
    server: Server, full: bool, summarise: Callable[[str], None]
) -> None:
    keys = ALL if full else SOME
    check_keys(server, keys)
    summarise(f"{keys} keys, each sent {TIMES} times at once, a kill in the middle: {keys} turns")


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=2)


def ask(url: str, message: str) -> dict[str, object]:
    """Post with the stock client, which repeats by itself what was cut off."""
    body = {"session_id": "s", "message": message}
    return client(url).post("/chat", body=body, cast_to=dict[str, object])


def check_habit(server: Server, upstream: Upstream) -> None:
    go_on = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(["Yes."], gate=go_on)

    def limit(number: int) -> int | None:
        """Nothing of the first two answers; the model has heard the question by then."""
        until(lambda: len(upstream.replies) >= 1)
        if number == 2:
            go_on.set()
        return 0 if number < 2 else None

    with Proxy(server.url, limit=limit) as proxy:
        answer = ask(proxy.url, "are you there?")
    assert [request.headers["x-stainless-retry-count"] for request in proxy.requests] == [
        *("0", "1", "2")
    ]
    assert len({request.body for request in proxy.requests}) == 1
    assert answer["response"] == "Yes."
    assert stored(server) == ["are you there?"], "a repeated request made another turn"
    assert len(upstream.replies) == 1


def test_the_stock_clients_habit_of_repeating_makes_one_turn(
    server: Server, upstream: Upstream
) -> None:
    check_habit(server, upstream)


def test_the_stock_client_does_not_repeat_a_turn_that_has_failed(
    server: Server, upstream: Upstream
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=401)
    with Proxy(server.url, limit=lambda _: None) as proxy:
        with pytest.raises(openai.InternalServerError) as refused:
            ask(proxy.url, "are you there?")
        assert len(proxy.requests) == 1
    assert refused.value.status_code == 502
    assert stored(server) == ["are you there?"]


def test_two_equal_questions_that_are_no_repeats_are_two_turns(server: Server) -> None:
    with server.client() as http:
        for count in ({}, {"X-Stainless-Retry-Count": "0"}, {"X-Stainless-Retry-Count": "x"}):
            body = {"session_id": "s", "message": "yes"}
            assert http.post("/chat", json=body, headers=count).status_code == 200
    assert stored(server) == ["yes"] * 3
