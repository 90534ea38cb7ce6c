"""Who calls: the one place in front of all routes that knows the caller, and what it may do."""

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatkeep.access.service import AccessService
from chatkeep.api import access
from chatkeep.api.refusals import POLICY_VIOLATION, refuse
from chatkeep.domain import model
from chatkeep.domain.errors import (
    AddressNotFound,
    ChatError,
    ForeignOrigin,
    InvalidRequest,
    KeyExpired,
    KeyInvalid,
    KeyRevoked,
    NotAllowed,
    WrongMethod,
)
from chatkeep.domain.model import DEFAULT_TENANT, Caller

SECURE_COOKIE, COOKIE = "__Host-chatkeep", "chatkeep"
"""The names of the page's cookie, over TLS and without (RFC 6265bis, 4.1.3.2)."""

TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
USER = re.compile(r"[!-~]{1,128}")

SAFE = ("GET", "HEAD", "OPTIONS")
_WITH_HEAD = {"GET": ("GET", "HEAD")}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose headers are believed, and the header in which they name a person.

    Attributes:
        networks: Addresses from which they connect.
        user_header: Lower case, in which they name the person that they have signed in; empty if
            they sign nobody in.

    """

    networks: Sequence[Network] = ()
    user_header: bytes = b""

    def includes(self, scope: Scope) -> bool:
        """Return whether a request comes from one of them."""
        client = scope.get("client")
        if not self.networks or not client:
            return False
        try:
            address = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        return any(address in network for network in self.networks)

    def is_secure(self, scope: Scope) -> bool:
        """Return whether the client has reached the server over TLS."""
        if self.includes(scope):
            return _header(scope, b"x-forwarded-proto") in {b"https", b"wss"}
        return scope["scheme"] in {"https", "wss"}


class Authentication:
    """ASGI middleware that passes on what its caller may do, with the caller in the scope.

    A credential that is wrong is refused: nothing falls through to a weaker one.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: AccessService,
        proxies: TrustedProxies,
        check_seconds: float,
        refuse: Callable[[ChatError, str], Response],
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            service: Recognises callers.
            proxies: Those in front of the server.
            check_seconds: How often the caller of a long response is looked up again.
            refuse: Makes the response to an error at an address.

        """
        self._app = app
        self._service = service
        self._proxies = proxies
        self._check_seconds = check_seconds
        self._refuse = refuse
        self._table = access.AccessTable()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._allowed(scope)
        except ChatError as error:
            if isinstance(error, KeyInvalid | KeyExpired | KeyRevoked):
                self._service.refuse(error.code)
            await refuse(self._refuse(error, scope["path"]), scope, receive, send)
            return
        scope["caller"] = caller
        if caller is None:
            await self._app(scope, receive, send)
        else:
            await self._while_valid(caller, scope, receive, send)

    async def _allowed(self, scope: Scope) -> Caller | None:
        """Return who calls; `None` where it does not matter. Raises `ChatError`."""
        scopes = self._scopes(scope)
        if not scopes:
            return None
        caller = await self._caller(scope)
        if caller.scope not in scopes:
            raise NotAllowed(needs=access.needed(scopes))
        return caller

    def _scopes(self, scope: Scope) -> frozenset[model.Scope]:
        """Return of which scopes the request needs one. Raises `AddressNotFound`, `WrongMethod`."""
        is_websocket = scope["type"] == "websocket"
        methods = self._table.find(scope["path"], is_websocket=is_websocket)
        if not methods:
            raise AddressNotFound("Not Found.")
        method = access.WEBSOCKET if is_websocket else scope["method"]
        if method not in methods:
            raise WrongMethod(_and_head(methods))
        return methods[method]

    async def _caller(self, scope: Scope) -> Caller:
        headers, is_keyless = dict(scope["headers"]), self._service.is_keyless
        if self._proxies.user_header in headers and self._proxies.includes(scope):
            caller = self._signed_in_by_proxy(scope)
        elif (secret := _shown(headers, ignores_others=is_keyless)) is not None:
            caller = await self._service.authenticate(secret)
        elif (secret := self._cookie(scope, headers)) is not None and not is_keyless:
            caller = await self._service.authenticate(secret)
            _check_site(scope, headers)
        else:
            caller = await self._service.authenticate(None)
        return _chosen(caller, headers)

    def _cookie(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        return cookies_of(headers).get(cookie_name(is_secure=self._proxies.is_secure(scope)))

    def _signed_in_by_proxy(self, scope: Scope) -> Caller:
        """Return the person whom the proxy names, on each request anew."""
        names = [value for name, value in scope["headers"] if name == self._proxies.user_header]
        user = names[0].decode("latin-1") if len(names) == 1 else ""
        if not USER.fullmatch(user):
            raise KeyInvalid("The proxy has to name one person who has signed in.")
        return Caller(tenant=f"{DEFAULT_TENANT}/{user}", actor=f"proxy:{user}", is_bound=True)

    async def _while_valid(
        self, caller: Caller, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request, and break its response off once its caller is let in no more.

        Whoever was signed out must not read on. What has not begun to be answered was accepted
        before, and is completed.
        """
        watch = _Watch(self._service, caller, self._check_seconds)

        async def sending(message: Message) -> None:
            watch.may_end = True
            await send(message)

        try:
            async with asyncio.timeout(None) as deadline:
                watch.start(deadline)
                await self._app(scope, receive, sending)
        except TimeoutError:
            # Without its last chunk: the client knows that it is incomplete (RFC 9112, 8).
            if not deadline.expired():
                raise
            if scope["type"] == "websocket":
                # Unless the client is gone, or the connection closed already.
                with contextlib.suppress(OSError, RuntimeError):
                    await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        finally:
            watch.stop()


class _Watch:
    """Looks up the caller of a response again and again, and ends it once it is let in no more."""

    def __init__(self, service: AccessService, caller: Caller, seconds: float) -> None:
        self.may_end = False
        self._service = service
        self._caller = caller
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None

    def start(self, deadline: asyncio.Timeout) -> None:
        """Look in `seconds`: most requests are answered before, and cost a timer."""
        loop = asyncio.get_running_loop()

        def spawn() -> None:
            self._look = loop.create_task(self._check(deadline))

        self._timer = loop.call_later(self._seconds, spawn)

    def stop(self) -> None:
        """Look no more."""
        for pending in (self._timer, self._look):
            if pending is not None:
                pending.cancel()

    async def _check(self, deadline: asyncio.Timeout) -> None:
        try:
            is_valid = await self._service.is_valid(self._caller)
        except ChatError:
            is_valid = True  # the database does not answer: it is asked again
        if is_valid or not self.may_end:
            self.start(deadline)
            return
        with contextlib.suppress(RuntimeError):  # the response has ended
            deadline.reschedule(asyncio.get_running_loop().time())


def _and_head(methods: Iterable[str]) -> list[str]:
    """Return the methods of an address (RFC 9110, 10.2.1): HEAD is answered as GET is."""
    return [name for method in methods for name in _WITH_HEAD.get(method, (method,))]


def cookie_name(*, is_secure: bool) -> str:
    """Return the name of the page's cookie.

    Over TLS it is the one that no other host of the domain can set.
    """
    return SECURE_COOKIE if is_secure else COOKIE


def cookies_of(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the cookies of a request by name (RFC 6265, 5.4), whatever the values of others."""
    pairs = headers.get(b"cookie", b"").decode("latin-1").split(";")
    named = (pair.strip().partition("=") for pair in pairs)
    return {name: value for name, _, value in named}


def _shown(headers: Mapping[bytes, bytes], *, ignores_others: bool) -> str | None:
    """Return the key in the headers, if there is one.

    `X-Api-Key` is where Anthropic's clients put it. Raises `KeyInvalid` for another scheme than
    `Bearer` (RFC 6750, 2.1), unless these are ignored, and for two different keys.
    """
    shown = [headers[b"x-api-key"].decode("latin-1")] if b"x-api-key" in headers else []
    if b"authorization" in headers:
        scheme, _, secret = headers[b"authorization"].decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            shown.append(secret.strip())
        elif not ignores_others:
            raise KeyInvalid("A key is sent as `Authorization: Bearer <key>`.")
    if len(set(shown)) > 1:
        raise KeyInvalid("The request has two different keys.")
    return shown[0] if shown else None


def _check_site(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what another page makes a browser do with its cookie.

    The guard has refused all origins but the server's own and those that may call it; these have
    keys of their own. A browser that says nothing is refused too.
    """
    host = headers.get(b"host", b"").lower()
    own = {b"http://" + host, b"https://" + host}
    origin = headers.get(b"origin", b"").lower()
    is_own = headers.get(b"sec-fetch-site") == b"same-origin" or origin in own
    # A WebSocket has no method, and may do anything.
    if scope.get("method") not in SAFE and not is_own:
        raise ForeignOrigin("With a cookie, only the server's own page may change anything.")


def _chosen(caller: Caller, headers: Mapping[bytes, bytes]) -> Caller:
    """Return the caller with the tenant and the user that it has chosen by headers."""
    tenant = headers.get(b"chatkeep-tenant", b"").decode("latin-1")
    if tenant and tenant != caller.root:
        if caller.scope is not model.Scope.LOCAL:
            raise NotAllowed("A key belongs to one tenant.", needs="")
        if not TENANT.fullmatch(tenant):
            raise InvalidRequest("The header Chatkeep-Tenant is not the name of a tenant.")
        caller = replace(caller, tenant=tenant)
    user = headers.get(b"chatkeep-user", b"").decode("latin-1")
    if not user or user == caller.user:
        return caller
    if caller.is_bound:
        raise NotAllowed("The key belongs to another user.", needs="chat")
    if not USER.fullmatch(user):
        raise InvalidRequest(
            "The header Chatkeep-User is not the id of a user: 1 to 128 visible ASCII characters."
        )
    return replace(caller, tenant=f"{caller.tenant}/{user}")


def _header(scope: Scope, name: bytes) -> bytes:
    """Return the last value of a header: the one that the nearest proxy has set."""
    values = [value for field, value in scope["headers"] if field == name]
    return values[-1] if values else b""
