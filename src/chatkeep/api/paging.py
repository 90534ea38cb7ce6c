"""Long lists: pages that follow each other by `Link` (RFC 8288), and whole lists in flat memory."""

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from chatkeep.api.responses import StoredStream
from chatkeep.domain.errors import InvalidRequest

MAX_LIMIT = 1_000
SESSIONS_CHUNK, MESSAGES_CHUNK = 500, 50
"""Entries of a whole list that are in memory at the same time; a message may be long."""


def page(entries: Sequence[Any], link: str | None) -> Response:
    """One page as a JSON array, with the address of the next."""
    headers = {"Link": link} if link else None
    return Response(orjson.dumps(entries), headers=headers, media_type="application/json")


def link(request: Request, rel: str, **parameters: str | int) -> str:
    """The `Link` header's value: this address with other parameters.

    A relative reference, so that it is right behind any proxy.
    """
    path = request.scope["raw_path"].decode("ascii")
    asked = request.query_params.multi_items()
    kept = [(name, value) for name, value in asked if name not in parameters]
    return f'<{path}?{urlencode([*kept, *parameters.items()])}>; rel="{rel}"'


async def whole(chunks: AsyncIterator[Sequence[Any]]) -> Response:
    """All entries as one JSON array, sent as they are read.

    The first are read before it returns: an error that they meet still has its own status.
    """
    # With a default `anext` fails in Python 3.11 when the iterator has really waited.
    try:
        first = await anext(chunks)
    except StopAsyncIteration:
        first = ()

    async def body() -> AsyncIterator[bytes]:
        opening = b"["
        if first:
            yield opening + orjson.dumps(first)[1:-1]
            opening = b","
        async for chunk in chunks:
            if chunk:
                yield opening + orjson.dumps(chunk)[1:-1]
                opening = b","
        yield b"[]" if opening == b"[" else b"]"

    return StoredStream(body(), media_type="application/json")


def cursor(*parts: str | int) -> str:
    """A place in a list as text that only means something to this server."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def parts(text: str) -> Any:
    """What `cursor` wrote, or `None` where it did not write this; nothing of it is checked."""
    try:
        return orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return None


def read_cursor(text: str) -> tuple[int, str]:
    """The place that `cursor` wrote: a number and a name. Raises `InvalidRequest`."""
    match parts(text):
        case [int(number), str(name)] if 0 <= number < 2**63:
            return number, name
        case _:
            raise InvalidRequest("after: is not a position in this list.")
