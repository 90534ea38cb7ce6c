"""HTTP/1.1 as uvicorn reads it, with limits on the head of a request, and problems for refusals."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chatkeep.domain.errors import ChatError, MalformedRequest, TooLarge

MAX_HEAD_BYTES = 65_536
"""Largest request line with its headers; what the network delivers at once may be a little more."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection. It is closed when a head is not whole in time; a body is the guard's matter."""

    head_seconds: ClassVar[float]
    problem: Callable[[ChatError], Any]
    """Makes the response (of Starlette) that tells of an error."""

    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._stop()

    def on_message_begin(self) -> None:
        """Count the bytes from here."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Count no further."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on; wait for the rest of a head that is not whole."""
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes += len(data)
        if self.transport.is_closing() or not self._is_idle():
            self._stop()
        elif self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(TooLarge(f"The head is larger than {MAX_HEAD_BYTES} bytes."))
        elif self._deadline is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's words)
        """Refuse what is no HTTP, or whose path is no URL's."""
        self._refuse(MalformedRequest())

    def _is_idle(self) -> bool:
        """Whether no request is being served. One with a websocket has another protocol."""
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
            response = self.problem(error)
            status = HTTPStatus(response.status_code)
            lines = [f"HTTP/1.1 {status} {status.phrase}".encode(), b"connection: close"]
            lines += [b": ".join(header) for header in response.raw_headers]
            self.transport.write(b"\r\n".join([*lines, b"", response.body]))
        self.transport.close()


def bounded(seconds: float, problem: Callable[[ChatError], Any]) -> type[asyncio.Protocol]:
    """The protocol with the seconds that a head may take, and what makes an error's response."""
    members = {"head_seconds": seconds, "problem": staticmethod(problem)}
    return type("Protocol", (BoundedProtocol,), members)
