"""Which scope each route needs. A route that is not in the table is refused."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from chatkeep.domain.errors import NotAllowed
from chatkeep.domain.model import Caller, Scope, SessionRecord

WEBSOCKET = "WEBSOCKET"
"""Instead of a method, for an address that takes WebSockets."""

ANYONE: frozenset[Scope] = frozenset()
"""Needs no key: what the page is made of, whether the server is there, and signing in."""

_ANY = frozenset(Scope)
_CHAT = frozenset({Scope.CHAT, Scope.LOCAL})
_CONVERSE = _CHAT | {Scope.USER}
_INSPECT = _CHAT | {Scope.READ}
_READ = _INSPECT | {Scope.USER}
_ADMIN = frozenset({Scope.ADMIN, Scope.LOCAL})

ROUTES: dict[str, frozenset[Scope]] = {
    "GET /": ANYONE,
    "GET /assets/{name:path}": ANYONE,
    "GET /healthz": ANYONE,
    "GET /readyz": ANYONE,
    "GET /openapi.json": ANYONE,
    "POST /login": ANYONE,
    "POST /logout": ANYONE,
    "GET /me": _ANY,
    "POST /chat": _CONVERSE,
    "GET /models": _READ,
    "GET /sessions": _READ,
    "GET /sessions/{session_id:path}": _READ,
    "PATCH /sessions/{session_id:path}": _CONVERSE,
    "DELETE /sessions/{session_id:path}": _CONVERSE,
    "GET /history/{session_id:path}": _READ,
    "GET /files/{session_id:path}/{file_id}": _READ,
    "GET /turns/{turn_id}": _READ,
    "GET /turns/{turn_id}/events": _READ,
    "GET /turns/{turn_id}/context": _INSPECT,
    "POST /turns/{turn_id}/cancel": _CONVERSE,
    "GET /messages/{message_id}/siblings": _READ,
    "GET /search": _READ,
    "GET /events": _READ,
    "GET /usage": _READ,
    "GET /export": _READ,
    "POST /import": _CHAT,
    "POST /tokens": _CHAT,
    "GET /users": _INSPECT,
    "DELETE /users/{user:path}": _CHAT,
    "GET /v1/models": _READ,
    "GET /v1/models/{model:path}": _READ,
    "POST /v1/chat/completions": _CONVERSE,
    "POST /v1/responses": _CONVERSE,
    "WEBSOCKET /v1/responses": _CONVERSE,
    "POST /v1/responses/compact": _CONVERSE,
    "GET /v1/responses/{response_id}": _READ,
    "POST /v1/responses/{response_id}/cancel": _CONVERSE,
    "GET /v1/responses/{response_id}/input_items": _READ,
    "DELETE /v1/responses/{response_id}": _CONVERSE,
    "POST /v1/conversations": _CONVERSE,
    "GET /v1/conversations/{conversation_id:path}/items": _READ,
    "POST /v1/conversations/{conversation_id:path}/items": _CONVERSE,
    "GET /v1/conversations/{conversation_id:path}/items/{item_id}": _READ,
    "DELETE /v1/conversations/{conversation_id:path}/items/{item_id}": _CONVERSE,
    "GET /v1/conversations/{conversation_id:path}": _READ,
    "POST /v1/conversations/{conversation_id:path}": _CONVERSE,
    "DELETE /v1/conversations/{conversation_id:path}": _CONVERSE,
    "GET /keys": _ADMIN,
    "POST /keys": _ADMIN,
    "GET /keys/{key_id}": _ADMIN,
    "PATCH /keys/{key_id}": _ADMIN,
    "DELETE /keys/{key_id}": _ADMIN,
    "POST /keys/{key_id}/rotate": _ADMIN,
    "GET /tenants": _ADMIN,
    "PUT /tenants/{tenant}": _ADMIN,
    "DELETE /tenants/{tenant}": _ADMIN,
    "GET /audit": _ADMIN,
}
"""The scopes of which a caller needs one, by method and path as the routes declare it."""


class AccessTable:
    """Finds the rule of an address."""

    def __init__(self, routes: dict[str, frozenset[Scope]] = ROUTES) -> None:
        """Prepare a table, in whose order patterns are tried."""
        self._exact: dict[str, dict[str, frozenset[Scope]]] = {}
        self._websockets: dict[str, dict[str, frozenset[Scope]]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, frozenset[Scope]]]] = {}
        for route, scopes in routes.items():
            method, _, path = route.partition(" ")
            if method == WEBSOCKET:
                methods = self._websockets.setdefault(path, {})
            elif "{" in path:
                _, methods = self._patterns.setdefault(path, (_pattern(path), {}))
            else:
                methods = self._exact.setdefault(path, {})
            methods[method] = scopes

    def find(self, path: str, *, is_websocket: bool = False) -> dict[str, frozenset[Scope]] | None:
        """Return the scopes by method of an address; `None` if there is no such address.

        Args:
            path: The address.
            is_websocket: Whether a WebSocket is to be opened there, which has `WEBSOCKET` as its
                method.

        """
        if is_websocket:
            return self._websockets.get(path)
        if (methods := self._exact.get(path)) is not None:
            return methods
        for pattern, methods in self._patterns.values():
            if pattern.fullmatch(path):
                return methods
        return None


RESERVED = ("system_prompt", "context_messages", "temperature", "max_tokens")
"""Members that a user neither sees nor sets: the application has decided them."""


def check_members(caller: Caller, members: Mapping[str, object]) -> None:
    """Check what a request wants to set, for a turn or for a session.

    Args:
        caller: Who sends it.
        members: The members of its body that are set.

    Raises:
        NotAllowed: The caller's scope does not allow one of them, or that model.

    """
    for name in RESERVED if caller.scope is Scope.USER else ():
        if name in members:
            raise NotAllowed(
                f"{name} is not for a user to set.", needs=Scope.CHAT, pointer=f"#/{name}"
            )
    # To unset a model is to choose the server's.
    if caller.models is not None and "model" in members and members["model"] not in caller.models:
        raise NotAllowed("The key does not allow that model.", needs=Scope.CHAT, pointer="#/model")


def visible(caller: Caller, record: SessionRecord) -> SessionRecord:
    """Return a session as the caller may see it."""
    if caller.scope is not Scope.USER:
        return record
    return replace(
        record, system_prompt=None, context_messages=None, temperature=None, max_tokens=None
    )


def needed(scopes: Iterable[Scope]) -> str:
    """The scopes as a response names them: `local` has no key, so nobody can get one."""
    return " ".join(sorted(scope.value for scope in scopes if scope is not Scope.LOCAL))


def _pattern(path: str) -> re.Pattern[str]:
    """What Starlette matches: a parameter is one segment, with `:path` any number of them."""
    parts = re.split(r"\{\w+(:path)?\}", path)
    regex = ""
    for number, part in enumerate(parts):
        regex += re.escape(part) if number % 2 == 0 else (".*" if part else "[^/]+")
    return re.compile(regex, re.DOTALL)
