"""HTTP/1.1 as uvicorn reads it, with limits on the head of a request and problems as errors."""

import asyncio
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chatkeep.api.problems import respond
from chatkeep.domain.errors import ChatError, MalformedRequest, TooLarge

MAX_HEAD_BYTES = 65_536
"""Of a request line with its headers; what the network delivers at once may be a little more."""


LINGER_SECONDS = 5
"""What a refused client gets to read the response, while whatever it still sends is discarded."""


NEW_SECONDS = 0.5
"""How long a server that stops waits for the request of a connection that it has just accepted."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is closed if a head is not complete in time. The guard limits bodies."""

    head_seconds: ClassVar[float]
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = False
    _is_refused = False
    _is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop()

    def on_message_begin(self) -> None:
        """Start counting the bytes of a head."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self._is_in_head = False
        super().on_headers_complete()
        # `cycle` is None before the first request, and a WebSocket has none.
        if self._is_ending and getattr(self, "cycle", None) is not None:
            self.cycle.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Read bytes, and start waiting for the rest of a head that is not complete."""
        if self._is_refused:
            return
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
        if self._is_refused:
            return
        if self.transport.is_closing() or not self._is_idle():
            self._stop()
        elif self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(TooLarge(f"The head is larger than {MAX_HEAD_BYTES} bytes."))
        elif self._deadline is None:
            self._wait()

    def shutdown(self) -> None:
        """Close the connection after its response, if it has or gets a request.

        One that was accepted a moment ago had no way to learn that the server stops.
        """
        # `cycle` is None before the first request, whatever its type says.
        if getattr(self, "cycle", None) is not None:
            super().shutdown()
            return
        self._is_ending = True
        self.loop.call_later(NEW_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._is_idle():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's English)
        """Respond to what is not HTTP, or whose path is not part of a URL."""
        self._refuse(MalformedRequest())

    def _is_idle(self) -> bool:
        """Return whether no request is being served. A websocket has another protocol."""
        is_ours = self.transport.get_protocol() is self
        # `cycle` is None before the first request, whatever its type says.
        return is_ours and getattr(self.cycle, "response_complete", True)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: ChatError) -> None:
        self._stop()
        if self._is_idle():
            response = respond(error, "")
            status = HTTPStatus(response.status_code)
            lines = [f"HTTP/1.1 {status} {status.phrase}".encode(), b"connection: close"]
            lines += [b": ".join(header) for header in response.raw_headers]
            self.transport.write(b"\r\n".join([*lines, b"", response.body]))
        self._close_after_reading()

    def _close_after_reading(self) -> None:
        """Close the connection in stages (RFC 9112, 9.6).

        Closed with unread bytes in it, it would be reset, and the client could lose the response.
        """
        self._is_refused = True
        if self.transport.is_closing():
            return
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)


def bounded_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Make the protocol class of a server on which a head may take so many seconds."""
    return type("Protocol", (BoundedProtocol,), {"head_seconds": seconds})
