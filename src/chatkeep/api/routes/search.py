"""`GET /search`: finds words in titles and messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from chatkeep.api import paging, problems
from chatkeep.api.dependencies import CallerOf, StoreOf
from chatkeep.api.routing import StrictRoute
from chatkeep.api.times import Moment, microseconds
from chatkeep.domain.errors import InvalidRequest
from chatkeep.domain.model import Role, SearchHit
from chatkeep.store import sessions
from chatkeep.store.database import Store
from chatkeep.store.search import hits
from chatkeep.store.search.query import MAX_QUERY_CHARS, parse_query

MAX_HITS = 100

router = APIRouter(tags=["search"], route_class=StrictRoute)

SearchText = Annotated[
    str,
    Query(
        min_length=1,
        max_length=MAX_QUERY_CHARS,
        description='Words, all of which are to be there; `"a phrase"`; `begin*`. Case and '
        "accents do not matter.",
    ),
]
OfSession = Annotated[str | None, Query(max_length=255, description="Only in this session.")]
OfRoles = Annotated[
    list[Role] | None, Query(description="Only messages of this role; may be repeated.")
]
Since = Annotated[Moment | None, Query(description="Only what was said then or later.")]
Until = Annotated[Moment | None, Query(description="Only what was said before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_HITS, description="Hits on a page.")]
After = Annotated[
    str | None, Query(max_length=200, description="From the `Link` of a page before.")
]


@router.get(
    "/search",
    summary="Search titles and messages",
    response_model=list[SearchHit],
    responses={
        200: {"headers": {"Link": {"schema": {"type": "string"}, "description": "RFC 8288"}}},
        **problems.documented(404, 422),
    },
)
async def find(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    q: SearchText,
    session_id: OfSession = None,
    role: OfRoles = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    after: After = None,
) -> Response:
    """Find titles and messages, best first among the newest; the `Link` leads to the next page.

    A hit without a `message_id` is a session's title. Where `on_active_branch` is false the message
    is on another branch: `GET /history/{session_id}` reads that with `head`. The snippet is plain
    text in pieces, each with whether it is what was looked for: nothing in it is markup.
    """
    session_pk = await _session_pk(store, caller.tenant, session_id)
    query = hits.Query(
        terms=parse_query(q),
        session_pk=session_pk,
        roles=tuple(dict.fromkeys(role or ())),
        since=microseconds(since),
        until=microseconds(until),
    )
    page = await store.read(
        hits.find,
        tenant=caller.tenant,
        query=query,
        limit=limit,
        cursor=_decode(after) if after else hits.SearchCursor(),
    )
    link = None
    if page.next_cursor is not None:
        link = paging.link(request, "next", after=_encode(page.next_cursor))
    return paging.page(page.items, link)


async def _session_pk(store: Store, tenant: str, session_id: str | None) -> int | None:
    """The key of the session to search in; `None` for all. Raises `SessionNotFound`."""
    if session_id is None:
        return None
    return await store.read(sessions.pk_of, tenant=tenant, session_id=session_id)


def _encode(cursor: hits.SearchCursor) -> str:
    return paging.encode_cursor(
        cursor.messages_before, cursor.titles_before, cursor.score.hex(), cursor.key
    )


def _decode(text: str) -> hits.SearchCursor:
    match paging.decode_cursor(text):
        case [int(messages), int(titles), str(score), int(key)]:
            try:
                return hits.SearchCursor(messages, titles, float.fromhex(score), key)
            except (ValueError, OverflowError):
                pass
    raise InvalidRequest("after: is not a position in these results.")
