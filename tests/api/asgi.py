"""Requests to an application in memory, whose answers may be endless streams."""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI

PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered: of an endless stream, what came before its first pause."""

    status: int
    headers: dict[str, str]
    body: bytes


async def request(
    app: FastAPI,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes = b"",
    *,
    client: str = "127.0.0.1",
    host: str = "localhost:8000",
) -> Response:
    """Send a request; its client goes away when the answer pauses.

    Args:
        app: The application, which has started.
        method: The method.
        target: Path and query, percent-encoded.
        headers: In their order.
        body: The whole body.
        client: The address of the client.
        host: The `Host` header that is added to the others; empty for none.

    """
    parts = urlsplit(target)
    answer = Answer()
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "root_path": "",
        "query_string": parts.query.encode(),
        "headers": [
            *([(b"host", host.encode())] if host else []),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in headers),
        ],
        "client": (client, 50_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }
    if body:
        scope["headers"].append((b"content-length", str(len(body)).encode()))
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await answer.paused.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(PATIENCE):
        await app(scope, receive, answer.send)
    return Response(answer.status, answer.headers, bytes(answer.body))


async def handshake(
    app: FastAPI,
    target: str,
    headers: list[tuple[str, str]],
    *,
    client: str = "127.0.0.1",
    host: str = "localhost:8000",
) -> Response:
    """Ask for a WebSocket, and leave; the status is 101 if it was opened.

    The arguments are those of `request`.
    """
    parts = urlsplit(target)
    answer = Answer()
    scope: dict[str, Any] = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "root_path": "",
        "query_string": parts.query.encode(),
        "headers": [
            (b"host", host.encode()),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in headers),
        ],
        "client": (client, 50_000),
        "server": ("127.0.0.1", 8_000),
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    messages = [{"type": "websocket.disconnect", "code": 1001}, {"type": "websocket.connect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    async def send(message: Any) -> None:
        if message["type"] == "websocket.accept":
            answer.status = 101
        else:
            await answer.send({**message, "type": message["type"].removeprefix("websocket.")})

    async with asyncio.timeout(PATIENCE):
        await app(scope, receive, send)
    return Response(answer.status, answer.headers, bytes(answer.body))


class Answer:
    """Collects what is sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.paused = asyncio.Event()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            return
        self.body += message.get("body", b"")
        is_stream = self.headers.get("content-type", "").startswith("text/event-stream")
        is_pause = is_stream and message.get("body") == b": \n\n"
        if is_pause or not message.get("more_body", False):
            self.paused.set()
