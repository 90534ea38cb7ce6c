"""Many open streams: what each costs, how far it falls behind, who is dropped."""

import asyncio
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx2

from benchmarks import driver
from benchmarks.processes import cpu_seconds, resident_bytes, server
from benchmarks.subjects import chatkeep

READERS, TURNS, SECONDS, STUCK = 500, 10, 20, 20
QUICK_READERS, QUICK_SECONDS = 50, 2

RATE = 20
"""Tokens a second where each stream is a turn of its own."""

LATE_SECONDS = 1.0
"""A token that comes so late has fallen behind."""

_TOKEN = re.compile(rb'"text":"((?:\d+\.\d{6} )+)"')


def turns(folder: Path, url: str, *, quick: bool) -> dict[str, Any]:
    """Read as many streams, each a turn of its own, at the same time."""
    count, seconds = (QUICK_READERS, QUICK_SECONDS) if quick else (READERS, SECONDS)
    with chatkeep(folder, url, "direct") as server:
        assert server.stream is not None
        server.drive([[f"warm-up-{number}"] for number in range(16)], 10, "A walk in the park?")
        rest = resident_bytes(server.pid)
        seen: list[tuple[float, float, int]] = []

        def sample() -> None:
            """In the middle, when all are open and none has ended."""
            for pause in (seconds * 0.3, seconds * 0.5):
                time.sleep(pause)
                cpu, memory = cpu_seconds(server.pid), resident_bytes(server.pid)
                seen.append((time.monotonic(), cpu, memory))

        sampling = threading.Thread(target=sample)
        sampling.start()
        names = [f"stream-{number}" for number in range(count)]
        message = f"Walk on. [{seconds * RATE} tokens, {RATE} a second]"
        answers = driver.streams(server.port, server.stream, names, message)
        sampling.join()
    (began, cpu, _), (ended, cpu_then, memory) = seen
    lags = sorted(lag for stream in answers for lag in stream.lags)
    expected = count * seconds * RATE
    figures = {
        "streams": count,
        "memory_at_rest_mib": rest / 2**20,
        "kib_per_stream": (memory - rest) / count / 1_024,
        "share_of_a_core": (cpu_then - cpu) / (ended - began),
        "tokens": len(lags),
        "tokens_expected": expected,
        # One that never came is behind, too.
        "tokens_behind": expected - sum(lag <= LATE_SECONDS for lag in lags),
        "lag_p50_ms": lags[len(lags) // 2] * 1_000,
        "lag_p95_ms": lags[len(lags) * 95 // 100] * 1_000,
        "lag_p99_ms": lags[len(lags) * 99 // 100] * 1_000,
        "lag_most_ms": lags[-1] * 1_000,
    }
    print(
        f"\n{count} streams of {RATE} tokens a second, each a turn of its own: "
        f"{figures['share_of_a_core']:.0%} of a core, {figures['kib_per_stream']:.0f} KiB each "
        f"beside {figures['memory_at_rest_mib']:.0f} MiB at rest, late by "
        f"{figures['lag_p50_ms']:.1f} ms (p50) {figures['lag_p95_ms']:.1f} ms (p95) "
        f"{figures['lag_p99_ms']:.1f} ms (p99) {figures['lag_most_ms']:.1f} ms (at most), "
        f"{figures['tokens_behind']:,} of {expected:,} tokens behind"
    )
    return figures


def readers(folder: Path, model_url: str, *, quick: bool) -> None:
    """Read few turns' slow streams twice: alone, and beside readers that take nothing."""
    readers, seconds = (QUICK_READERS, QUICK_SECONDS) if quick else (READERS, SECONDS)
    folder.mkdir()
    models = f"openai:paced-{seconds},openai:huge"
    with server(folder, model_url, CHATKEEP_MODELS=models, CHATKEEP_READER_TIMEOUT="2") as running:
        client, pid = running
        print(f"\n{readers} readers of streams of 10 tokens a second, {TURNS} turns")
        for stuck in (0, STUCK):
            asyncio.run(_round(client, pid, readers, seconds, stuck))


async def _round(
    client: httpx2.Client, pid: int, readers: int, seconds: int, stuck_count: int
) -> None:
    stuck = [_stuck(client) for _ in range(stuck_count)]
    turns = [await _posted(client, f"openai:paced-{seconds}", n) for n in range(TURNS)]
    before, cpu, began = resident_bytes(pid), cpu_seconds(pid), time.monotonic()
    reading = [
        asyncio.create_task(_lags(client, turns[number % TURNS])) for number in range(readers)
    ]
    await asyncio.sleep(seconds * 0.8)
    # Beside the stuck ones it means nothing: their long replies are forgotten meanwhile.
    memory = f"{(resident_bytes(pid) - before) / readers / 1_024:.0f} KiB" if not stuck else "…"
    share = (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
    lags = sorted(lag for lags in await asyncio.gather(*reading) for lag in lags)
    dropped = sum(_is_dropped(reader) for reader in stuck)
    middle, late = lags[len(lags) // 2], lags[len(lags) * 95 // 100]
    print(
        f"  {stuck_count:>3} stuck readers beside them: {memory:>6} a stream, "
        f"{share:>4.0%} of a core, behind by {middle * 1_000:.1f} ms (p50) "
        f"{late * 1_000:.1f} ms (p95), {dropped} dropped"
    )


async def _posted(client: httpx2.Client, model: str, number: int) -> str:
    """Post a turn and leave; it belongs to the server."""
    address = client.base_url
    reader, writer = await asyncio.open_connection(address.host, address.port)
    body = b'{"session_id":"%d","message":"Walk on.","model":"%s"}' % (number, model.encode())
    writer.write(
        b"POST /chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    started = await reader.readuntil(b'"user_message_id"')
    writer.close()
    return started.split(b'"turn_id":"')[1].split(b'"')[0].decode()


async def _lags(client: httpx2.Client, turn_id: str) -> list[float]:
    """Read a turn's events; how many seconds after it was written each token came."""
    address = client.base_url
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET /turns/{turn_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    lags: list[float] = []
    first = time.monotonic()
    while (data := await reader.read(65_536)) and b"event: turn.completed" not in data:
        now = time.monotonic()
        for stamps in _TOKEN.findall(data):
            # What was written before this reader came was not late.
            lags += [now - float(text) for text in stamps.split() if float(text) > first]
    writer.close()
    return lags


def _stuck(client: httpx2.Client) -> socket.socket:
    """A reader that asks for a long reply and takes none of it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    reader.connect((client.base_url.host, client.base_url.port))
    body = b'{"session_id":"stuck-%d","message":"On.","model":"openai:huge"}' % reader.fileno()
    reader.sendall(
        b"POST /chat HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return reader


def _is_dropped(reader: socket.socket) -> bool:
    """Whether the server has let go of a reader before it had everything."""
    reader.settimeout(10)
    last = b""
    try:
        while data := reader.recv(65_536):
            last = (last + data)[-4_096:]
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        reader.close()
    return b"event: turn.completed" not in last
