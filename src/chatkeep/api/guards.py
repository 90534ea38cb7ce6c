"""Checks before a request reaches its route: names, origins, the sizes and the speed of bodies."""

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
"""Headers that may not be repeated, because they decide whether and how a request is served."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware that refuses requests of foreign pages, and those that are too large or slow.

    The server needs no key, so that a page elsewhere must not reach it. A browser sends the page's
    `Origin` with whatever could change something; a page whose own name points to this machine (DNS
    rebinding) has that name as `Host`.
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
        """Wrap an application.

        Args:
            app: The application.
            hosts: The server's names beside those of the loopback, with or without a port; `*`
                allows any.
            origins: Origins of pages that may call the server, beside the server's own.
            max_body_bytes: Bytes of a body.
            uploads: Paths that take files, and the bytes that each may have instead.
            body_seconds: In how many seconds a body must arrive; each chunk of an upload.
            max_requests: Requests at the same time.
            refuse: Makes the response to an error.

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
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            max_bytes = self._uploads.get(scope["path"], self._max_body_bytes)
            self._check(scope, max_bytes)
        except ChatError as error:
            await self._refuse(error)(scope, receive, send)
            return
        self._requests += 1
        try:
            await self._app(scope, self._limited(receive, scope["path"], max_bytes), send)
        finally:
            self._requests -= 1

    def _check(self, scope: Scope, max_bytes: int) -> None:
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
        if length.isdigit() and int(length) > max_bytes:
            raise _too_large(max_bytes)

    def _limited(self, receive: Receive, path: str, max_bytes: int) -> Receive:
        """`receive` with the limits on bytes and time: `Content-Length` may be wrong or missing.

        It raises `TooLarge` and `BodyTooSlow`.
        """
        received, is_complete = 0, False
        deadline = asyncio.get_running_loop().time() + self._body_seconds

        async def limited() -> Message:
            nonlocal received, is_complete, deadline
            if path in self._uploads:
                deadline = asyncio.get_running_loop().time() + self._body_seconds
            try:
                async with asyncio.timeout_at(None if is_complete else deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow from None
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > max_bytes:
                raise _too_large(max_bytes)
            return message

        return limited


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The headers of a request.

    Raises `MalformedRequest` if one of `SINGULAR` is repeated, because a proxy may take the first
    and we the last (RFC 9110, 5.3), or if `Host` is missing (RFC 9112, 3.2).
    """
    fields = scope["headers"]
    headers = dict(fields)
    if len(headers) < len(fields):
        names = [name for name, _ in fields]
        for name in SINGULAR:
            if names.count(name) > 1:
                raise MalformedRequest(f"The header {name.decode().title()} appears twice.")
    if b"host" not in headers and scope["http_version"] == "1.1":
        raise MalformedRequest("The header Host is missing.")
    return headers


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"The body is larger than {size} bytes.")


def _name(host: str) -> str:
    """A `Host` without its port."""
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() else host
