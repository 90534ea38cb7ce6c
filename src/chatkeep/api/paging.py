"""Lists: pages that are linked by `Link` headers (RFC 8288), and whole lists in flat memory."""

import base64
import binascii
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlencode

import orjson
from fastapi import Request, Response

from chatkeep.api.responses import StoredStream

EntryT = TypeVar("EntryT")

MAX_LIMIT = 1_000
"""Entries of a page."""

SESSIONS_CHUNK, MESSAGES_CHUNK = 500, 50
"""Entries of a whole list that are in memory at the same time; a message may be long."""


def page(entries: Sequence[object], link: str | None) -> Response:
    """A page as a JSON array, with the `Link` to the next one, if there is one."""
    headers = {"Link": link} if link else None
    return Response(orjson.dumps(entries), headers=headers, media_type="application/json")


def cut(
    request: Request,
    rel: str,
    entries: Sequence[EntryT],
    size: int,
    cursor: Callable[[EntryT], Mapping[str, str | int]],
) -> Response:
    """A page of entries, of which one more was read, to know whether another page follows.

    Args:
        request: The request for the page.
        rel: The relation type of the page that follows, `next` or `prev`.
        entries: At most `size` and one more.
        size: Entries of a page.
        cursor: Makes of the page's last entry the parameters with which the next one begins.

    """
    shown = entries[:size]
    has_more = len(entries) > size
    following = link(request, rel, limit=size, **cursor(shown[-1])) if has_more else None
    return page(shown, following)


def link(request: Request, rel: str, **parameters: str | int) -> str:
    """The value of a `Link` header: a relative reference, which is right behind any proxy.

    It is resolved against the address of the client's own request (RFC 8288, 3.2), which may begin
    with a path that a proxy removes, and have `%2F` where the proxy passes a slash on: so it has no
    path where that has an id in it.

    Args:
        request: Its parameters are those of the link.
        rel: The relation type, `next` or `prev`.
        parameters: What is added to the request's parameters, or replaces them.

    """
    path = request.scope["path"].removeprefix("/")
    name = "" if "/" in path else path
    params = request.query_params.multi_items()
    unchanged = [(name, value) for name, value in params if name not in parameters]
    return f'<{name}?{urlencode([*unchanged, *parameters.items()])}>; rel="{rel}"'


async def whole(chunks: AsyncIterator[Sequence[object]]) -> Response:
    """All entries as one JSON array that is sent as they are read.

    The first chunk is read here, so that an error in it is still answered with its status.
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


def encode_cursor(*parts: str | int) -> str:
    """A cursor as text without meaning to clients."""
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def decode_cursor(text: str) -> object:
    """The parts of a cursor as a list, if it is one of ours; else any value.

    The types of the parts are for the caller to check, because clients can write cursors too.
    """
    try:
        return orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return None
