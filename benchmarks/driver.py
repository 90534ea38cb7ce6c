"""A load driver: clients that each hold a connection and a session, and post turn after turn."""

import asyncio
import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

FIRST = re.compile(rb"walking|\d{3,}\.\d{6}")
"""What only a token of the upstream looks like."""

STAMP = re.compile(rb"\d{3,}\.\d{6}")
READ_BYTES = 65_536

ENDS = (b"\r\n0\r\n\r\n", b"data: [DONE]\n\n")
"""What a stream ends with, in chunks or with a length."""

Request = Callable[[str, str], bytes]
"""Makes the bytes of a request, of a session's name and a message."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one stream's reader saw; times are in seconds."""

    first: float
    """From the request to the first token."""
    whole: float
    lags: list[float]
    """From the time that a token says it was written at, to its arrival."""


def post(path: str, body: bytes, **headers: str) -> bytes:
    """The bytes of a request."""
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    fields["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def turns(
    port: int, request: Request, sessions: list[list[str]], count: int, message: str
) -> list[float]:
    """Post `count` turns in each session; a list of sessions is one client's. Seconds of each."""

    async def client(own: list[str]) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        took = []
        for session in own:
            for _ in range(count):
                began = time.perf_counter()
                writer.write(request(session, message))
                await _answer(reader)
                took.append(time.perf_counter() - began)
        writer.close()
        return took

    async def all_of_them() -> list[float]:
        took = await asyncio.gather(*(client(own) for own in sessions))
        return list(itertools.chain.from_iterable(took))

    return uvloop.run(all_of_them())


def streams(port: int, request: Request, sessions: list[str], message: str) -> list[Streamed]:
    """Read one streamed turn of each session, all at the same time."""

    async def stream(session: str) -> Streamed:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began, first = time.monotonic(), 0.0
        writer.write(request(session, message))
        lags: list[float] = []
        newest, tail = 0.0, b""
        while not tail.endswith(ENDS):
            data = await reader.read(READ_BYTES)
            now = time.monotonic()
            if not data:
                raise SystemExit(f"a stream ended early: {tail!r}")
            if not first and FIRST.search(data):
                first = now - began
            for stamp in map(float, STAMP.findall(data)):
                # At the end some servers say the whole text once more.
                if stamp > newest:
                    newest = stamp
                    lags.append(now - stamp)
            tail = (tail + data)[-200:]
        writer.close()
        return Streamed(first, time.monotonic() - began, lags)

    async def all_of_them() -> list[Streamed]:
        return await asyncio.gather(*(stream(session) for session in sessions))

    return uvloop.run(all_of_them())


async def _answer(reader: asyncio.StreamReader) -> None:
    """Read one response, which must be a success."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head[:20]:
        raise SystemExit(f"refused: {head!r} {await reader.read(2_000)!r}")
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        return
    while (size := int(await reader.readline(), 16)) > 0:
        await reader.readexactly(size + 2)
    await reader.readline()
