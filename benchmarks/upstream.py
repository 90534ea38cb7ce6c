"""A model that speaks OpenAI's protocol for next to no CPU time.

It answers at once; `paced-N` writes ten tokens a second for N seconds, each of them the time at
which it was written; `prose-N` and `code-N` write 200 a second of such answers; `huge` writes more
text at once than sockets hold.
"""

import asyncio
import json
import re
import sys
import time

from benchmarks import texts

CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"Certainly, a walk."},'
    b'"finish_reason":null}]}\n\n'
)
LAST = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}\n\n'
)
BODY = CHUNK + LAST + b"data: [DONE]\n\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


PACES = {
    b"paced": (10, texts.stamps),
    b"prose": (200, texts.prose),
    b"code": (200, texts.code),
}
"""Tokens a second, and which."""

HUGE = "x" * 3_900_000


def token(text: str) -> bytes:
    """One piece of a reply, as a chunk of the response."""
    data = CHUNK.replace(b'"Certainly, a walk."', json.dumps(text).encode())
    return b"%x\r\n%s\r\n" % (len(data), data)


async def pace(writer: asyncio.StreamWriter, kind: bytes, seconds: int) -> None:
    """Write tokens at a steady rate; a late one does not delay those after it."""
    rate, tokens = PACES[kind]
    began = time.monotonic()
    reply = tokens()
    for number in range(seconds * rate):
        await asyncio.sleep(began + number / rate - time.monotonic())
        writer.write(token(next(reply)))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on a connection with the same bytes."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            paced = re.search(rb'"model": ?"(paced|prose|code)-(\d+)"', body)
            if paced is None and b'"huge"' not in body:
                writer.write(ANSWER)
                continue
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
            if paced is None:
                writer.write(token(HUGE))
            else:
                await pace(writer, paced[1], int(paced[2]))
            end = LAST + b"data: [DONE]\n\n"
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    """Listen on a free port, say which, and stop when standard input ends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
