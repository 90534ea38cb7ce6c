"""A model that speaks OpenAI's protocol for next to no CPU time.

It answers at once, unless its last message says `[200 tokens]`, which it writes at once, or
`[200 tokens, 20 a second]`, each of them the time at which it was written. Models of some names
write what a page is shown: `prose-N` and `code-N` for N seconds, 200 tokens a second, `paced-N` ten
a second; `huge` writes more text at once than sockets hold.
"""

import asyncio
import functools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import texts

TEXT = "Certainly, a walk."
TOKEN = " walking"
CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"%b"},'
    b'"finish_reason":null}]}\n\n'
)
USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}'
LAST = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],' + USAGE + b"}\n\n"
    b"data: [DONE]\n\n"
)
WHOLE = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%b"},"finish_reason":"stop"}],' + USAGE + b"}"
)

TOKEN_REQUEST = re.compile(rb"\[(\d+) tokens(?:, (\d+) a second)?\]")
PACED_MODEL = re.compile(rb'"model": ?"(paced|prose|code)-(\d+)"')
STREAMED = re.compile(rb'"stream": ?true')
PACES: dict[bytes, tuple[int, Callable[[], Iterator[str]]]] = {
    b"paced": (10, texts.stamps),
    b"prose": (200, texts.prose),
    b"code": (200, texts.code),
}
"""Tokens a second, and which."""

HUGE = "x" * 3_900_000


def piece(text: str) -> bytes:
    """One event of a stream."""
    return CHUNK % json.dumps(text)[1:-1].encode()


def chunk(data: bytes) -> bytes:
    """Some of a response whose length is not known before."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@functools.cache
def at_once(count: int, *, streams: bool) -> bytes:
    """A response of so many tokens that is written as one; 0 is a short sentence."""
    if streams:
        body = (piece(TOKEN) * count if count else piece(TEXT)) + LAST
        kind = b"text/event-stream"
    else:
        body, kind = WHOLE % (TOKEN * count or TEXT).encode(), b"application/json"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


async def pace(writer: asyncio.StreamWriter, rate: int, tokens: Iterator[str], count: int) -> None:
    """Write tokens at a steady rate; a late one does not delay those after it."""
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(began + number / rate - time.monotonic())
        writer.write(chunk(piece(next(tokens))))


async def answer(writer: asyncio.StreamWriter, body: bytes) -> None:
    """Answer one request."""
    streams = STREAMED.search(body) is not None
    # The last message is the one to answer: those before it may have asked for something too.
    wanted = next(iter(TOKEN_REQUEST.findall(body[-400:])[-1:]), (b"0", b""))
    model = PACED_MODEL.search(body)
    huge = b'"huge"' in body
    if not streams or (model is None and not wanted[1] and not huge):
        writer.write(at_once(int(wanted[0]), streams=streams))
        return
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
    if huge:
        writer.write(chunk(piece(HUGE)))
    elif model is not None:
        rate, tokens = PACES[model[1]]
        await pace(writer, rate, tokens(), int(model[2]) * rate)
    else:
        await pace(writer, int(wanted[1]), texts.stamps(), int(wanted[0]))
    writer.write(chunk(LAST) + b"0\r\n\r\n")


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on a connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await answer(writer, await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
        writer.close()  # the last is what uvloop says of a connection that is gone
    except asyncio.CancelledError:
        return  # the end of the process


async def main() -> None:
    """Listen on a free port, say which, and stop when standard input ends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=2_048)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
