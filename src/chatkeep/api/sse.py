"""Events as server-sent events (HTML Living Standard, section 9.2)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from chatkeep.api import problems
from chatkeep.domain.events import Event, Failure
from chatkeep.idle_timer import IdleTimer

EventT = TypeVar("EventT")

MEDIA_TYPE = "text/event-stream"

_TEXT = {"type": "string"}
CONTENT = {
    MEDIA_TYPE: {
        # Each event: a word of OpenAPI 3.2, which tools know in 3.1 too.
        "itemSchema": {
            "type": "object",
            "required": ["id", "event", "data"],
            "properties": {
                "id": _TEXT,
                "event": _TEXT,
                "data": {**_TEXT, "contentMediaType": "application/json"},
            },
        },
    }
}
"""The OpenAPI entry of a stream."""

HEADERS = {"Content-Type": MEDIA_TYPE, "X-Accel-Buffering": "no"}
"""nginx passes a stream on as it comes."""


_LINE_ENDS = tuple((mark.encode(), f"\\u{ord(mark):04x}".encode()) for mark in "\x85\u2028\u2029")


class EventStream(Response, Generic[EventT]):
    """A response that reads a log as fast as its reader takes it, and no faster."""

    def __init__(
        self,
        events: AsyncGenerator[EventT, None],
        encode: Callable[[EventT], bytes],
        *,
        reader_seconds: float,
        headers: dict[str, str],
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        """Make the response.

        Args:
            events: What to send.
            encode: Makes the bytes of it: whole events of the stream's format.
            reader_seconds: A reader that takes nothing for so long is disconnected.
            headers: Further headers of the response.
            on_gone: Called if the reader goes away before the last event.

        """
        super().__init__(headers={**HEADERS, **headers})
        del self.headers["content-length"]
        self._events = events
        self._encode = encode
        self._reader_seconds = reader_seconds
        self._on_gone = on_gone

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the last, or until the reader has gone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        loop = asyncio.get_running_loop()
        events = self._events
        deadline = asyncio.timeout(None)

        def disconnect(_: object = None) -> None:
            with contextlib.suppress(RuntimeError):  # the stream has ended
                deadline.reschedule(loop.time())

        leaving = asyncio.create_task(gone(receive))
        leaving.add_done_callback(disconnect)
        idle = IdleTimer(self._reader_seconds, disconnect)
        idle.pause()
        try:
            async with deadline, contextlib.aclosing(events):
                async for event in events:
                    body = self._encode(event)
                    idle.reset()
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    idle.pause()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            # The reader has gone, or takes nothing: it can reconnect.
            if not deadline.expired():
                raise  # the source's own
            if self._on_gone is not None:
                self._on_gone()
        finally:
            idle.stop()
            leaving.cancel()


def encoded(event: Event | str) -> bytes:
    """An event of ours; a `str` as a comment, which clients ignore."""
    if isinstance(event, str):
        return comment(event)
    data: object = event.payload
    if isinstance(data, Failure):
        data = {**problems.document(data.error), "text": data.text}
    head = f"id: {event.id}\nevent: {event.type}\ndata: "
    return head.encode() + one_line(orjson.dumps(data)) + b"\n\n"


def comment(text: str) -> bytes:
    """A comment."""
    return f": {text}\n\n".encode()


def one_line(json: bytes) -> bytes:
    """The same JSON without characters that are ends of lines for some readers, though not here."""
    if json.isascii():
        return json
    for mark, escape in _LINE_ENDS:
        if mark in json:
            json = json.replace(mark, escape)
    return json


async def gone(receive: Receive) -> None:
    """Wait until the reader has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
