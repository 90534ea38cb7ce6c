"""Events as server-sent events (HTML Living Standard, section 9.2)."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from chatkeep.api import problems
from chatkeep.domain.events import Event, Failure
from chatkeep.idle_timer import IdleTimer

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


class EventStream(Response):
    """A response that reads a log as fast as its reader takes it, and no faster."""

    def __init__(
        self,
        events: AsyncGenerator[Event | str, None],
        *,
        reader_seconds: float,
        headers: dict[str, str],
    ) -> None:
        """Make the response.

        Args:
            events: What to send; a `str` is sent as a comment, which clients ignore.
            reader_seconds: A reader that takes nothing for so long is disconnected.
            headers: Further headers of the response.

        """
        super().__init__(headers={**HEADERS, **headers})
        del self.headers["content-length"]
        self._events = events
        self._reader_seconds = reader_seconds

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until the last, or until the reader has gone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        loop = asyncio.get_running_loop()
        events = self._events
        deadline = asyncio.timeout(None)

        def disconnect(_: object = None) -> None:
            with contextlib.suppress(RuntimeError):  # the stream has ended
                deadline.reschedule(loop.time())

        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(disconnect)
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
        finally:
            idle.stop()
            gone.cancel()

    def _encode(self, event: Event | str) -> bytes:
        if isinstance(event, str):
            return f": {event}\n\n".encode()
        data: object = event.payload
        if isinstance(data, Failure):
            data = {**problems.document(data.error), "text": data.text}
        head = f"id: {event.id}\nevent: {event.type}\ndata: "
        return head.encode() + _one_line(orjson.dumps(data)) + b"\n\n"


def _one_line(json: bytes) -> bytes:
    """The same JSON without characters that are ends of lines for some readers, though not here."""
    if json.isascii():
        return json
    for mark, escape in _LINE_ENDS:
        if mark in json:
            json = json.replace(mark, escape)
    return json


async def _gone(receive: Receive) -> None:
    """Wait until the reader has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
