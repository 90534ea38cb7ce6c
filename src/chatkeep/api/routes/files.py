"""`/files/{session_id}/{file_id}`: the pictures and documents of sessions."""

from fastapi import APIRouter, Request, Response

from chatkeep.api import problems
from chatkeep.api.dependencies import CallerOf, StoreOf
from chatkeep.api.parameters import session_name
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.blocks import FILE_ID
from chatkeep.domain.errors import FileNotFound
from chatkeep.domain.file_types import PICTURES
from chatkeep.store import files

router = APIRouter(tags=["sessions"], route_class=StrictRoute)

HEADERS = {
    # Whatever is in it, a browser runs nothing of it, and lets no other site show it.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@router.get(
    "/files/{session_id:path}/{file_id}",
    summary="Read a picture or a document of a session",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}},
        **problems.documented(404),
    },
)
async def read_file(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    session_id: str,
    file_id: str,
) -> Response:
    """Send a file as it was uploaded: a picture to be shown, any other to be saved."""
    if FILE_ID.fullmatch(file_id) is None:
        raise FileNotFound
    content = await store.read(
        files.find,
        tenant=caller.tenant,
        session_id=session_name(request, session_id),
        file_id=file_id,
    )
    if content is None:
        raise FileNotFound
    headers = dict(HEADERS)
    if content.mime_type not in PICTURES:
        headers["Content-Disposition"] = "attachment"
    return Response(content.data, headers=headers, media_type=content.mime_type)
