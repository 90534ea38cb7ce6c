"""Checks before a request reaches its route: names, origins, the sizes and the speed of bodies."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatkeep.api.refusals import refuse
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

PROBES = ("/healthz", "/readyz")
"""Paths that may have any `Host`: an orchestrator probes a container by its address."""

FOREIGN_SITES = (b"cross-site", b"same-site")
"""Values of `Sec-Fetch-Site` for requests that another origin's page has caused."""

SINGULAR = (
    *(b"host", b"origin", b"authorization", b"x-api-key", b"chatkeep-tenant", b"chatkeep-user"),
    *(b"content-type", b"content-length"),
)
"""Headers that may not be repeated, because they decide whether and how a request is served."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware that refuses requests of foreign pages, and those that are too large or slow.

    The server may need no key, so that a page elsewhere must not reach it. A browser sends the
    page's `Origin` with whatever could change something and with every WebSocket, and with every
    request whether another site has caused it (`Sec-Fetch-Site`,
    https://www.w3.org/TR/fetch-metadata/): without that a page could learn from how long an answer
    takes what it may not read. A page whose own name points to this machine (DNS rebinding) has
    that name as `Host`; it has neither a key nor the cookie, so that a server whose callers show
    these has any name, unless its names are given.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        own_address: str,
        hosts: Iterable[str],
        checks_host: Callable[[], bool],
        origins: Iterable[str],
        max_body_bytes: int,
        max_bytes: Mapping[str, int],
        uploads: Mapping[str, int],
        body_seconds: float,
        max_requests: int,
        refuse: Callable[[ChatError, str], Response],
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            own_address: The one on which the server listens.
            hosts: The server's other names beside those of the loopback, with or without a port;
                `*` allows any.
            checks_host: Whether these are its only names, even if none is given.
            origins: Origins of pages that may call the server, beside the server's own.
            max_body_bytes: Bytes of a body.
            max_bytes: Paths whose bodies may have other numbers of bytes.
            uploads: Paths that take files, and the bytes that each may have instead.
            body_seconds: In how many seconds a body must arrive; each chunk of an upload.
            max_requests: Requests at the same time; a WebSocket is one for as long as it is open.
            refuse: Makes the response to an error at an address.

        """
        self._app = app
        names = {host.lower() for host in hosts}
        self._are_hosts_given = bool(names)
        self._hosts = {*LOOPBACK_NAMES, own_address.lower(), f"[{own_address.lower()}]", *names}
        self._checks_host = checks_host
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._max_body_bytes = max_body_bytes
        self._max_bytes = {**max_bytes, **uploads}
        self._uploads = uploads
        self._body_seconds = body_seconds
        self._max_requests = max_requests
        self._requests = 0
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it. Raises `ValueError` for what is no request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError(f"There is nothing here that speaks {scope['type']}.")
        try:
            max_bytes = self._max_bytes.get(scope["path"], self._max_body_bytes)
            self._check(scope, max_bytes)
        except ChatError as error:
            await refuse(self._refuse(error, scope["path"]), scope, receive, send)
            return
        if scope["type"] == "http":
            receive = self._limited(receive, scope["path"], max_bytes)
        self._requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1

    def _check(self, scope: Scope, max_bytes: int) -> None:
        headers = _headers(scope)
        if self._requests >= self._max_requests:
            raise Overloaded("Too many requests are being served.", retry_after=BUSY_RETRY_SECONDS)
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if scope["path"] not in PROBES and not self._is_own(host):
            raise ForeignHost(
                "This server does not answer to that host name; CHATKEEP_ALLOWED_HOSTS can add it."
            )
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        own = {f"http://{host}", f"https://{host}"}
        is_allowed = origin in self._origins | own if origin else not _is_foreign(scope, headers)
        if not is_allowed:
            raise ForeignOrigin(
                "That web page may not call this server; CHATKEEP_ALLOWED_ORIGINS can allow it."
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > max_bytes:
            raise _too_large(max_bytes)

    def _is_own(self, host: str) -> bool:
        if not self._are_hosts_given and not self._checks_host():
            return True
        return "*" in self._hosts or _name(host) in self._hosts or host in self._hosts

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


def _is_foreign(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a page of another origin has caused a request without `Origin`.

    It may only lead people to the page itself, in a window of its own.
    """
    if headers.get(b"sec-fetch-site") not in FOREIGN_SITES:
        return False
    is_link = headers.get(b"sec-fetch-dest") == b"document" and scope.get("method") == "GET"
    return not (is_link and scope["path"] == "/")


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"The body is larger than {size} bytes.")


def _name(host: str) -> str:
    """A `Host` without its port."""
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() else host
