"""`GET /sessions` and `GET /history/{session_id}`: what is kept."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Query, Request, Response

from chatkeep.api import paging, problems
from chatkeep.api.dependencies import CallerOf, Limit, StoreOf
from chatkeep.domain import Message, Session, SessionNotFound
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


@router.get(
    # A session id may contain a slash.
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
    try:
        unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError:
        # The framework has put U+FFFD for what is not UTF-8; that would be another's name.
        raise SessionNotFound from None
    path = await store.read(
        messages.path,
        tenant=caller.tenant,
        session_id=session_id,
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
