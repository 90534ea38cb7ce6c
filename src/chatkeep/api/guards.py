"""What is refused before a request is looked at: foreign names, foreign pages, huge bodies."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatkeep.domain.errors import (
    BodyTooSlow,
    ChatError,
    ForeignHost,
    ForeignOrigin,
    MalformedRequest,
    Overloaded,
    TooLarge,
)

BUSY_RETRY_SECONDS = 5

SINGULAR = (b"host", b"origin", b"authorization", b"content-type", b"content-length")
"""Headers that a request has at most once, and that decide whether and how it is served."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware. A page elsewhere must not talk to a server that needs no key.

    A browser sends the page's `Origin` with whatever could change something, and a page that
    had its own name point to this machine (DNS rebinding) sends that name as `Host`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        origins: Iterable[str],
        max_body_bytes: int,
        uploads: Mapping[str, int],
        body_seconds: float,
        max_requests: int,
        refuse: Callable[[ChatError], Response],
    ) -> None:
        """Take the server's names, who may call it, the limits, and how to say no.

        `uploads` are the paths that take files, and how large these may be: each piece of them has
        as many seconds to arrive as another body has in all.
        """
        self._app = app
        self._hosts = {host.lower() for host in (*LOOPBACK_NAMES, *hosts)}
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._max_body_bytes = max_body_bytes
        self._uploads = uploads
        self._body_seconds = body_seconds
        self._max_requests = max_requests
        self._requests = 0
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            largest = self._uploads.get(scope["path"], self._max_body_bytes)
            self._check(scope, largest)
        except ChatError as error:
            await self._refuse(error)(scope, receive, send)
            return
        self._requests += 1
        try:
            await self._app(scope, self._counted(receive, scope["path"], largest), send)
        finally:
            self._requests -= 1

    def _check(self, scope: Scope, largest: int) -> None:
        headers = _headers(scope)
        if self._requests >= self._max_requests:
            raise Overloaded("Too many requests are being served.", retry_after=BUSY_RETRY_SECONDS)
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if "*" not in self._hosts and _name(host) not in self._hosts and host not in self._hosts:
            raise ForeignHost(
                "This server does not answer to that host name; CHATKEEP_ALLOWED_HOSTS can add it."
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        own = {f"http://{host}", f"https://{host}"}
        if origin and origin not in self._origins | own:
            raise ForeignOrigin(
                "That web page may not call this server; CHATKEEP_ALLOWED_ORIGINS can allow it."
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > largest:
            raise _too_large(largest)

    def _counted(self, receive: Receive, path: str, largest: int) -> Receive:
        """Count what really arrives, and until when: what a request says of itself may be wrong."""
        received, whole = 0, False
        deadline = asyncio.get_running_loop().time() + self._body_seconds

        async def counted() -> Message:
            nonlocal received, whole, deadline
            if path in self._uploads:
                deadline = asyncio.get_running_loop().time() + self._body_seconds
            try:
                async with asyncio.timeout_at(None if whole else deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow from None
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > largest:
                raise _too_large(largest)
            return message

        return counted


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request. Raises `MalformedRequest` where one has two meanings, or no host.

    A recipient that takes the first and one that takes the last would disagree (RFC 9112, 3.2; RFC
    9110, 5.3).
    """
    lines = scope["headers"]
    headers = dict(lines)
    if len(headers) < len(lines):
        names = [name for name, _ in lines]
        for name in SINGULAR:
            if names.count(name) > 1:
                raise MalformedRequest(f"The header {name.decode().title()} is given twice.")
    if b"host" not in headers and scope["http_version"] == "1.1":
        raise MalformedRequest("The header Host is missing.")
    return headers


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"The body is larger than {size} bytes.")


def _name(host: str) -> str:
    """A `Host` without its port."""
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() else host
