"""`GET /export` and `POST /import`: sessions as files, sent and read in flat memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.requests import ClientDisconnect

from chatkeep.api import bodies, filenames, problems
from chatkeep.api.dependencies import CallerOf, ImportsOf, StoreOf
from chatkeep.api.responses import StoredStream
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.errors import MalformedBody, NotAllowed
from chatkeep.domain.model import Scope
from chatkeep.transfer import exports
from chatkeep.transfer.exports import ExportFormat
from chatkeep.transfer.session_importer import ImportReport

router = APIRouter(tags=["archive"], route_class=StrictRoute)

MAX_SESSIONS = 100
"""Sessions that one request can name; without names it gets all."""

SessionId = Annotated[str, Field(max_length=255)]


@dataclass(frozen=True, slots=True)
class _FileType:
    media_type: str
    suffix: str


_FILE_TYPES: dict[ExportFormat, _FileType] = {
    "jsonl": _FileType("application/jsonl", "jsonl"),
    "markdown": _FileType("text/markdown; charset=utf-8", "md"),
    "openai": _FileType("application/jsonl", "jsonl"),
}


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
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    form: Annotated[
        ExportFormat,
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
    if form == "jsonl" and caller.scope is Scope.USER:
        raise NotAllowed("That form has prompts in it.", needs=Scope.CHAT)
    file = await exports.export(store, caller.tenant, form, session_id)
    if request.method != "HEAD":
        await exports.note(store, caller)
    file_type = _FILE_TYPES[form]
    headers = {"Content-Disposition": filenames.attachment(file.name, file_type.suffix)}
    return StoredStream(file.content, headers=headers, media_type=file_type.media_type)


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
async def import_(
    request: Request,
    caller: CallerOf,
    imports: ImportsOf,
    new_ids: Annotated[
        bool,
        Query(
            description="Give turns and messages new ids: so an export comes into another tenant, "
            "or another user, of the same server."
        ),
    ] = False,
) -> Response:
    """Import an export of Chatkeep (JSON Lines), of ChatGPT (`conversations.json`) or Open WebUI.

    Each conversation comes in as a whole or not at all, and one that is here already is skipped;
    the report says which, and why. The file's form is found out from what is in it.
    """
    bodies.check_encoding(request)
    report = await imports.run(caller, _chunks(request), new_ids=new_ids)
    return Response(orjson.dumps(report), media_type="application/json")


async def _chunks(request: Request) -> AsyncIterator[bytes | None]:
    """The body as `ByteReader` takes it: `None` at its end, then an error if the client leaves."""
    try:
        async for chunk in request.stream():
            yield chunk
        yield None
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except ClientDisconnect:
        pass
    raise MalformedBody("The body ended too early, or nobody waited for its answer.")
