"""What every response has in common: default headers, and no content for HEAD."""

from collections.abc import Callable
from uuid import uuid4

from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError

logger = telemetry.logger("responses")

DEFAULTS = {
    # A browser relies on the media type, whatever the content looks like.
    b"x-content-type-options": b"nosniff",
    # No cache of a browser or a proxy stores conversations (RFC 9111, 5.2.2.5).
    b"cache-control": b"no-store",
}
"""Headers of every response that does not set them itself."""

CLOSE = (b"connection", b"close")

DIALECT = "/v1/"
"""What the addresses of OpenAI's dialect begin with."""


class Responses:
    """ASGI middleware that sets the default headers, and answers HEAD as GET without content."""

    def __init__(self, app: ASGIApp, *, is_leaving: Callable[[], bool]) -> None:
        """Take the application, and whether clients shall use other connections from now on."""
        self._app = app
        self._is_leaving = is_leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Clients of OpenAI's show it with an error, and its server always sends one.
        own = [(b"x-request-id", f"req_{uuid4().hex}".encode())] if is_dialect(scope) else []
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET"}

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*_with_defaults(message.get("headers", ())), *own]
                message["headers"] = [*headers, CLOSE] if self._is_leaving() else headers
                await send(message)
                if is_head:
                    # The response is complete (RFC 9110, 9.3.2), which ends a stream.
                    await send({"type": "http.response.body"})
            elif not is_head:
                await send(message)

        await self._app(scope, receive, respond)


def is_dialect(scope: Scope) -> bool:
    """Whether a request is for one of OpenAI's addresses."""
    path: str = scope["path"]
    return path.startswith(DIALECT)


class StoredStream(StreamingResponse):
    """A response that is read from the database while it is sent.

    If reading fails it breaks off, without its last chunk, so that the client knows that it is
    incomplete (RFC 9112, section 8).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. An error is logged: it comes too late for another status."""
        try:
            await super().__call__(scope, receive, send)
        except ChatError as error:
            logger.error("response_broke_off", code=error.code)


def _with_defaults(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in headers}
    return [*headers, *(default for default in DEFAULTS.items() if default[0] not in names)]
