"""The server is killed at every write while a response of OpenAI's dialect runs.

Afterwards no response is in progress for ever, what can be read of it is exact, by `GET` and by
both ways of reading on, and sent again it makes no second one. A normal run tries some of the
points, `pytest tests/faults/test_response_kills.py --full` each of them.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.clock import set_clock
from tests.faults.strace import needs_strace
from tests.faults.test_clocks import DAY, NOON
from tests.faults.test_kills import QUIET, SOME, is_dead, sweep
from tests.process import Server, until
from tests.replicas import Replicas
from tests.sse import Event
from tests.upstream import Answer, Upstream, polite

pytestmark = needs_strace

MODEL = "openai:scripted"
TEXT = ["One ", "word ", "after ", "the ", "other."]
WHOLE = "".join(TEXT)
LAST = {"response.completed", "response.incomplete", "response.failed"}


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(TEXT)
    with Server(tmp_path / "data", {**upstream.env, **QUIET, "CHATKEEP_TITLE_WAIT": "0"}) as made:
        yield made


def post(server: Server, session: str, message: str) -> list[Event]:
    """Stream a response; the events that came before the end, by their numbers."""
    seen: list[Event] = []
    headers = {"Idempotency-Key": f"{session}/{message}".replace(" ", "-")}
    body = {"model": MODEL, "input": message, "stream": True, "conversation": session}
    with (
        contextlib.suppress(httpx2.TransportError),
        server.client() as client,
        client.stream("POST", "/v1/responses", json=body, headers=headers) as response,
    ):
        assert response.status_code == 200, response.read()
        seen.extend(parse(response))
    return seen


def parse(response: httpx2.Response) -> Iterator[Event]:
    for line in response.iter_lines():
        if line.startswith("data: {"):
            data = json.loads(line.removeprefix("data: "))
            yield Event(str(data["sequence_number"]), data["type"], data)


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def check_response(server: Server, session: str, message: str, seen: list[Event]) -> None:
    created = next((event.data["response"]["id"] for event in seen), None)
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        if created is not None:
            until(lambda: client.responses.retrieve(created).status == "completed")
            check_reading(client, created, seen)
        again = post(server, session, message)
        assert again[-1].name == "response.completed"
        assert created is None or again[0].data["response"]["id"] == created
    assert server.contents(session)[-2:] == [message, WHOLE]
    assert server.contents(session).count(message) == 1


def check_reading(client: OpenAI, response_id: str, seen: list[Event]) -> None:
    """Both ways of going on give exactly the rest, or all of a new attempt."""
    whole = list(client.responses.retrieve(response_id, stream=True))
    assert text_of(whole) == client.responses.retrieve(response_id).output_text == WHOLE
    after = int(seen[-1].id)
    first = whole[0].sequence_number
    is_same = first == 0
    rest = [event for event in whole if event.sequence_number > after] if is_same else whole
    read_on = list(client.responses.retrieve(response_id, stream=True, starting_after=after))
    assert [e.to_dict() for e in read_on] == [e.to_dict() for e in rest]
    with client.responses.stream(response_id=response_id, starting_after=after) as stream:
        assert [event.sequence_number for event in stream] == [e.sequence_number for e in rest]
    if is_same:
        before = [event.data for event in seen]
        assert before == [event.to_dict() for event in whole[: len(before)]]


@pytest.mark.parametrize("is_first", [True, False])
def test_no_write_loses_a_response(
    server: Server,
    upstream: Upstream,
    full: bool,
    summarise: Callable[[str], None],
    is_first: bool,
) -> None:
    def prepare(session: str) -> None:
        with OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            client.conversations.create(extra_body={"id": session})
        if not is_first:
            post(server, session, "the one before")

    def act(session: str) -> list[Event]:
        seen = post(server, session, "the one in question")
        if not seen or seen[-1].name not in LAST:
            until(lambda: is_dead(server))
        return seen

    def check(session: str, seen: list[Event]) -> None:
        check_response(server, session, "the one in question", seen)

    points = sweep(server, 1 if full else SOME, prepare=prepare, act=act, check=check)
    summarise(f"killed at {points} writes of a response, first turn: {is_first}")


def test_a_response_is_read_on_after_every_byte_of_its_stream(
    server: Server, full: bool, summarise: Callable[[str], None]
) -> None:
    """Also after a restart in which nothing but the database remains."""
    body = {"model": MODEL, "input": "All of it", "stream": True}
    with server.client() as client:
        stream = client.post("/v1/responses", json=body).text
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    response_id = events[0]["response"]["id"]
    server.kill()
    server.start()
    step = 1 if full else 97
    with server.client() as client:
        for end in range(0, len(stream), step):
            whole = stream[:end].split("\n\n")[:-1]
            after = len(whole) - 1
            query = f"?stream=true&starting_after={after}"
            rest = client.get(f"/v1/responses/{response_id}{query}").text
            assert stream.startswith("".join(f"{event}\n\n" for event in whole))
            assert "".join(f"{event}\n\n" for event in whole) + rest == stream
    summarise(f"a response was read on after {len(range(0, len(stream), step))} cuts")


def test_a_lone_request_that_the_server_did_not_survive_is_answered_once(
    server: Server, upstream: Upstream
) -> None:
    """The client's own retries, without any key."""

    def create(retries: int) -> str:
        headers = {"x-stainless-retry-count": str(retries)}
        with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            return client.responses.create(
                model=MODEL, input="Alone", background=True, extra_headers=headers
            ).id

    first = create(0)
    server.kill()
    server.start()
    assert create(1) == first
    with OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        until(lambda: client.responses.retrieve(first).output_text == WHOLE)
    assert create(0) != first


def test_a_response_is_read_on_a_year_later(tmp_path: Path, upstream: Upstream) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, NOON)
    env = {**upstream.env, "CHATKEEP_MODEL": MODEL}
    upstream.script = lambda call: polite(call) if call.is_title else Answer(TEXT)
    with Server(tmp_path / "data", env, program=("tests.clock", str(clock))) as server:
        body = {"model": MODEL, "input": "Now", "stream": True}
        with server.client() as client:
            stream = client.post("/v1/responses", json=body).text
        events = stream.split("\n\n")
        response_id = json.loads(events[0].partition("data: ")[2])["response"]["id"]
        server.stop()
        set_clock(clock, NOON + 366 * DAY)
        server.start()
        with server.client() as client:
            address = f"/v1/responses/{response_id}?stream=true&starting_after=6"
            assert client.get(address).text == "\n\n".join(events[7:])


def test_a_response_goes_on_in_another_replica(
    tmp_path: Path, postgres_url: str, upstream: Upstream
) -> None:
    """One that was streamed, and one in the background that waited behind it."""
    pace = threading.Semaphore(3)
    upstream.script = lambda call: polite(call) if call.is_title else Answer(TEXT, pace=pace)
    with Replicas(tmp_path, postgres_url, upstream, CHATKEEP_MODEL=MODEL) as replicas:
        first, second, third = replicas.servers
        seen, waiting = [], ""
        body = {"model": MODEL, "input": "Go", "stream": True}
        with (
            contextlib.suppress(httpx2.TransportError),
            first.client() as client,
            client.stream("POST", "/v1/responses", json=body) as response,
        ):
            for event in parse(response):
                seen.append(event)
                if event.name == "response.output_text.delta" and not waiting:
                    following = {"model": MODEL, "input": "And on", "background": True}
                    following["previous_response_id"] = seen[0].data["response"]["id"]
                    answer = client.post("/v1/responses", json=following).raise_for_status()
                    waiting = answer.json()["id"]
                    first.kill()
        pace.release(1_000)
        response_id = seen[0].data["response"]["id"]
        for server, name, after in (
            (second, response_id, int(seen[-1].id)),
            (third, waiting, -1),
        ):
            with OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
                rest = client.responses.retrieve(name, stream=True, starting_after=after)
                assert text_of(list(rest)) == WHOLE
                assert client.responses.retrieve(name).output_text == WHOLE
        turn = third.get(f"/turns/{waiting.replace('resp_', 'turn_')}")
        assert third.contents(turn["session_id"]) == ["Go", WHOLE, "And on", WHOLE]
