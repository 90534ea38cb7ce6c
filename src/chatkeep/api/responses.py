"""What holds of every response: HEAD has no content, nothing is guessed, and no cache keeps it."""

from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError

log = telemetry.logger("responses")

DEFAULTS = {
    # A browser takes an answer for what its media type says, whatever is in it.
    b"x-content-type-options": b"nosniff",
    # Conversations stay out of the caches of browsers and proxies (RFC 9111, 5.2.2.5).
    b"cache-control": b"no-store",
}
"""Headers of every response that does not set them itself."""


class Responses:
    """ASGI middleware: sets the default headers, and answers HEAD as GET without its content."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = {**scope, "method": "GET"}

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message.get("headers", ()))
                await send(message)
                if is_head:
                    # The response ends here (RFC 9110, 9.3.2), so a stream sees its reader go.
                    await send({"type": "http.response.body"})
            elif not is_head:
                await send(message)

        await self._app(scope, receive, respond)


class StoredStream(StreamingResponse):
    """What is read from the database while it is sent; it breaks off when that fails.

    Its reader sees that it is not whole: a body without its last chunk (RFC 9112, section 8).
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. The status has gone by the time of a failure, so that the log tells of it."""
        try:
            await super().__call__(scope, receive, send)
        except ChatError as error:
            log.error("response_broke_off", code=error.code)


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    names = {name for name, _ in headers}
    return [*headers, *(default for default in DEFAULTS.items() if default[0] not in names)]
