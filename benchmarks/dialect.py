"""What OpenAI's dialect costs: `/v1/responses` beside `POST /chat`."""

import json
import statistics
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.driver import Request, post, streams, turns
from benchmarks.processes import cpu_seconds, server
from benchmarks.subjects import chat_request

CLIENTS = (1, 16)
READERS, TOKENS = 8, 200
MESSAGE = "A walk in the park?"
AT_ONCE, PACED = f"[{TOKENS} tokens]", f"[{TOKENS} tokens, 200 a second]"
CHAIN = 100


def _responses(**more: object) -> Request:
    def request(session: str, message: str) -> bytes:
        # As many messages are read as by `POST /chat`.
        body = {"model": "instant", "input": message, "truncation": "auto", **more}
        if not more.get("lone"):
            body["conversation"] = session
        body.pop("lone", None)
        return post("/v1/responses", json.dumps(body).encode())

    return request


def run(folder: Path, url: str, *, quick: bool) -> dict[str, float]:
    """How many times the CPU of `POST /chat`, in the same server, by turns."""
    rounds, repetitions = (2, 32) if quick else (8, 640)
    chat = chat_request("/chat")
    streamed = chat_request("/chat", Accept="text/event-stream")
    figures: dict[str, float] = {}
    with server(folder, url) as (client, pid):
        port = client.base_url.port or 0

        def measured(request: Request, clients: int, *, is_new: bool) -> float:
            count = repetitions // clients
            names = [
                [uuid.uuid4().hex for _ in range(count if is_new else 1)] for _ in range(clients)
            ]
            if not is_new:
                _create(client, names)
            before = cpu_seconds(pid)
            turns(port, request, names, 1 if is_new else count, MESSAGE)
            return cpu_seconds(pid) - before

        def read(request: Request, message: str) -> float:
            names = [uuid.uuid4().hex for _ in range(READERS)]
            _create(client, [names])
            before = cpu_seconds(pid)
            streams(port, request, names, message)
            return cpu_seconds(pid) - before

        kinds: dict[str, tuple[Callable[[Request], float], Request, Request]] = {}
        for clients in CLIENTS:
            kinds[f"a turn, {clients} clients"] = (
                lambda request, clients=clients: measured(request, clients, is_new=False),
                chat,
                _responses(),
            )
            kinds[f"a first turn, {clients} clients"] = (
                lambda request, clients=clients: measured(request, clients, is_new=True),
                chat,
                _responses(lone=True),
            )
        for name, message in (("a token at once", AT_ONCE), ("a token as it comes", PACED)):
            kinds[name] = (
                lambda request, message=message: read(request, message),
                streamed,
                _responses(stream=True),
            )
        print(f"\n{'CPU of /v1/responses / of POST /chat':60}")
        for name, (measure, base, other) in kinds.items():
            figures[name] = _ratio(measure, base, other, rounds)
            print(f"  {name:50}{figures[name]:>10.3f}")
        figures["the 100th of a chain / the 2nd"] = _chain(client, pid, rounds)
        print(f"  {'the 100th of a chain / the 2nd':50}{list(figures.values())[-1]:>10.3f}")
    return figures


def _ratio(
    measure: Callable[[Request], float], base: Request, other: Request, rounds: int
) -> float:
    ratios = []
    for number in range(rounds + 1):
        order = (base, other) if number % 2 else (other, base)
        spent = {request: measure(request) for request in order}
        ratios.append(spent[other] / spent[base])
    # The first round warms up.
    return statistics.median(ratios[1:])


def _create(client: httpx2.Client, names: list[list[str]]) -> None:
    for name in (name for own in names for name in own):
        client.post("/v1/conversations", json={"id": name}).raise_for_status()


def _chain(client: httpx2.Client, pid: int, rounds: int) -> float:
    """CPU of the last responses of a chain beside that of the first ones that continue one."""
    first, last = 0.0, 0.0
    for _ in range(rounds * 4):
        previous: dict[str, Any] = {}
        for number in range(CHAIN):
            before = cpu_seconds(pid)
            body = {"model": "instant", "input": MESSAGE, "truncation": "auto", **previous}
            response = client.post("/v1/responses", json=body).raise_for_status().json()
            spent = cpu_seconds(pid) - before
            previous = {"previous_response_id": response["id"]}
            if 5 < number < 15:
                first += spent
            elif number > CHAIN - 10:
                last += spent
    return last / first
