"""How a request is refused before it reaches its route, or a WebSocket before it is accepted."""

from fastapi import Response
from starlette.types import Receive, Scope, Send

RESPONSE_EXTENSION = "websocket.http.response"
"""https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response."""

POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1."""


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with an error.

    The handshake of a WebSocket gets the same response, or a bare 403 where the server cannot send
    one.

    Args:
        response: The error.
        scope: The request's, or the handshake's.
        receive: As ASGI has it.
        send: As ASGI has it.

    """
    can_respond = RESPONSE_EXTENSION in scope.get("extensions", {})
    if scope["type"] == "websocket" and not can_respond:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
    else:
        await response(scope, receive, send)
