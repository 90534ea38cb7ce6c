"""`GET /export` and `POST /import`: conversations carried away and back, in flat memory."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.requests import ClientDisconnect

from chatkeep.api import bodies, filenames, formats, problems
from chatkeep.api.dependencies import CallerOf, ImportsOf, StoreOf
from chatkeep.api.responses import StoredStream
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.errors import MalformedBody
from chatkeep.store import Store, exports
from chatkeep.transfer.session_importer import ImportReport

router = APIRouter(tags=["archive"], route_class=StrictRoute)

SESSIONS_AT_ONCE = 100

MAX_SESSIONS = 100
"""Sessions that can be named; who wants more of them takes all."""

SessionId = Annotated[str, Field(max_length=255)]

MEDIA_TYPES = {
    "jsonl": "application/jsonl",
    "markdown": "text/markdown; charset=utf-8",
    "openai": "application/jsonl",
}
_SUFFIXES = {"jsonl": "jsonl", "markdown": "md", "openai": "jsonl"}


@router.get(
    "/export",
    summary="Carry conversations away",
    response_class=Response,
    responses={
        200: {
            "headers": {
                "Content-Disposition": {"schema": {"type": "string"}, "description": "RFC 6266"}
            },
            "content": {
                "application/jsonl": {"schema": {"type": "string"}},
                "text/markdown": {"schema": {"type": "string"}},
            },
        },
        **problems.documented(404, 422),
    },
)
async def export(
    caller: CallerOf,
    store: StoreOf,
    form: Annotated[
        Literal["jsonl", "markdown", "openai"],
        Query(
            alias="format",
            description="`jsonl`: lossless, for `POST /import`; `markdown`: the active branch, "
            "for people; `openai`: a line for each session with its list of messages.",
        ),
    ] = "jsonl",
    session_id: Annotated[
        list[SessionId] | None,
        Query(
            max_length=MAX_SESSIONS,
            description="Only this session; may be repeated, up to 100 times.",
        ),
    ] = None,
) -> Response:
    """Stream the sessions that are named, in that order, or all in the order of their creation.

    The file of a single one is called after its title.
    """
    name, pks = f"chatkeep-export-{datetime.now(UTC):%Y-%m-%d}", _every(store, caller.tenant)
    if session_id is not None:
        only = await store.read(exports.named, tenant=caller.tenant, session_ids=session_id)
        name, pks = only[0].title if len(only) == 1 else name, _these(only)
    body = formats.WRITERS[form](store, caller.tenant, pks)
    headers = {"Content-Disposition": filenames.attachment(name, _SUFFIXES[form])}
    return StoredStream(body, headers=headers, media_type=MEDIA_TYPES[form])


@router.post(
    "/import",
    summary="Bring conversations back, or from elsewhere",
    response_model=ImportReport,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/jsonl": {"schema": {"type": "string"}},
                "application/json": {"schema": {}},
            },
        }
    },
    responses=problems.documented(400, 408, 413, 415, 422, 503),
)
async def import_(request: Request, caller: CallerOf, imports: ImportsOf) -> Response:
    """Import an export of Chatkeep (JSON Lines), of ChatGPT (`conversations.json`) or Open WebUI.

    Each conversation comes in as a whole or not at all, and one that is here already is skipped;
    the report says which, and why. The file's form is found out from what is in it.
    """
    bodies.check_encoding(request)
    report = await imports.run(caller, _chunks(request))
    return Response(orjson.dumps(report), media_type="application/json")


async def _chunks(request: Request) -> AsyncIterator[bytes | None]:
    """The body; `None` at its end, and then an error when nobody waits for the answer."""
    try:
        async for chunk in request.stream():
            yield chunk
        yield None
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except ClientDisconnect:
        pass
    raise MalformedBody("The body ended too early, or nobody waited for its answer.")


async def _these(sessions: Sequence[exports.Named]) -> AsyncIterator[int]:
    for session in sessions:
        yield session.pk


async def _every(store: Store, tenant: str) -> AsyncIterator[int]:
    after = 0
    while found := await store.read(
        exports.pks, tenant=tenant, after=after, limit=SESSIONS_AT_ONCE
    ):
        for pk in found:
            yield pk
        after = found[-1]
