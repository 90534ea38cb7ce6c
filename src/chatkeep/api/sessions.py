"""`/sessions` and `/history/{session_id}`: what is kept, and which branch of it is active."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from chatkeep.api import bodies, paging, problems
from chatkeep.api.dependencies import CallerOf, Limit, StoreOf
from chatkeep.domain import Message, Session, SessionNotFound, now
from chatkeep.store import messages, sessions

router = APIRouter(tags=["sessions"])

_LINKED = {"headers": {"Link": {"schema": {"type": "string"}, "description": "RFC 8288"}}}


@router.get(
    "/sessions",
    summary="List the sessions, newest activity first",
    response_model=list[Session],
    responses={200: _LINKED, **problems.documented(422)},
)
async def list_sessions(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    limit: Limit = None,
    after: Annotated[
        str | None, Query(max_length=2_000, description="From the `Link` of a page before.")
    ] = None,
) -> Response:
    """List all sessions, or with `limit` a page whose `Link` (`rel="next"`) leads to the next."""
    if limit is None and after is None:
        keys = await store.read(sessions.keys, tenant=caller.tenant)

        async def chunks() -> AsyncIterator[Sequence[Session]]:
            for start in range(0, len(keys), paging.SESSIONS_CHUNK):
                pks = keys[start : start + paging.SESSIONS_CHUNK]
                yield await store.read(sessions.by_keys, tenant=caller.tenant, pks=pks)

        return paging.whole(chunks())
    position = sessions.Position(*paging.read_cursor(after)) if after else None
    size = limit or paging.MAX_LIMIT
    found, following = await store.read(
        sessions.page, tenant=caller.tenant, limit=size, after=position
    )
    link = None
    if following is not None:
        place = paging.cursor(following.updated_at, following.session_id)
        link = paging.link(request, "next", limit=size, after=place)
    return paging.page(found, link)


class SessionChange(BaseModel):
    """What to change about a session."""

    model_config = ConfigDict(extra="forbid", strict=True)

    head: bodies.Storable = Field(
        max_length=255,
        description="A message of the session: its branch becomes the active one, to the newest "
        "message below it.",
    )


@router.patch(
    # A session id may contain a slash.
    "/sessions/{session_id:path}",
    summary="Choose a session's branch",
    response_model=Session,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/SessionChange"}}
            },
        }
    },
    responses=problems.documented(400, 404, 409, 415, 422),
)
async def change_session(
    request: Request, caller: CallerOf, store: StoreOf, session_id: str
) -> Response:
    """Make another branch of the session the active one: history and context follow it."""
    change = await bodies.read(request, SessionChange)
    changed = await store.write(
        sessions.choose_branch,
        tenant=caller.tenant,
        session_id=_name(request, session_id),
        message_id=change.head,
        at=now(),
    )
    return Response(orjson.dumps(changed), media_type="application/json")


@router.get(
    "/history/{session_id:path}",
    summary="Read a session's messages, oldest first",
    response_model=list[Message],
    responses={200: _LINKED, **problems.documented(404, 422)},
)
async def history(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    session_id: str,
    limit: Limit = None,
    before: Annotated[
        str | None, Query(max_length=100, description="Only messages before this one's id.")
    ] = None,
) -> Response:
    """List the messages of the active branch, or with `limit` the newest of them.

    The `Link` (`rel="prev"`) of a page leads to older messages.
    """
    path = await store.read(
        messages.path,
        tenant=caller.tenant,
        session_id=_name(request, session_id),
        limit=None if limit is None else limit + 1,
        before=before,
    )
    if limit is None:
        seqs = path.seqs[::-1]

        async def chunks() -> AsyncIterator[Sequence[Message]]:
            for start in range(0, len(seqs), paging.MESSAGES_CHUNK):
                yield await store.read(
                    messages.of_path,
                    session_pk=path.session_pk,
                    seqs=seqs[start : start + paging.MESSAGES_CHUNK],
                )

        return paging.whole(chunks())
    seqs = path.seqs[:limit][::-1]
    found = await store.read(messages.of_path, session_pk=path.session_pk, seqs=seqs)
    link = None
    if len(path.seqs) > limit and found:
        link = paging.link(request, "prev", limit=limit, before=found[0].id)
    return paging.page(found, link)


def _name(request: Request, session_id: str) -> str:
    """A session's name from the path. Raises `SessionNotFound` where it cannot be one."""
    try:
        unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError:
        # The framework has put U+FFFD for what is not UTF-8; that would be another's name.
        raise SessionNotFound from None
    return session_id
