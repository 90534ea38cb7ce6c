"""`GET /search`: find words in titles and messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from chatkeep.api import paging, problems
from chatkeep.api.dependencies import CallerOf, StoreOf
from chatkeep.api.routing import StrictRoute
from chatkeep.api.times import Moment, microseconds
from chatkeep.domain.errors import InvalidRequest, SessionNotFound
from chatkeep.domain.model import Role, SearchHit
from chatkeep.store import sessions
from chatkeep.store.search import hits
from chatkeep.store.search.query import MAX_QUERY_CHARS, parse_query

MAX_HITS = 100

router = APIRouter(tags=["search"], route_class=StrictRoute)


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
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=MAX_QUERY_CHARS,
            description='Words, all of which are to be there; `"a phrase"`; `begin*`. Case and '
            "accents do not matter.",
        ),
    ],
    session_id: Annotated[
        str | None, Query(max_length=255, description="Only in this session.")
    ] = None,
    role: Annotated[
        list[Role] | None, Query(description="Only messages of this role; may be repeated.")
    ] = None,
    since: Annotated[Moment | None, Query(description="Only what was said then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Only what was said before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_HITS, description="Hits on a page.")] = 20,
    after: Annotated[
        str | None, Query(max_length=200, description="From the `Link` of a page before.")
    ] = None,
) -> Response:
    """Find titles and messages, best first among the newest; the `Link` leads to the next page.

    A hit without a `message_id` is a session's title. Where `on_active_branch` is false the message
    is on another branch: `GET /history/{session_id}` reads that with `head`. The snippet is plain
    text in pieces, each with whether it is what was looked for: nothing in it is markup.
    """
    session_pk = None
    if session_id is not None:
        row = await store.read(sessions.find, tenant=caller.tenant, session_id=session_id)
        if row is None:
            raise SessionNotFound
        session_pk = row.pk
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
        cursor=_cursor(after) if after else hits.SearchCursor(),
    )
    link = None
    if page.next_cursor is not None:
        cursor = paging.cursor(
            page.next_cursor.messages_before,
            page.next_cursor.titles_before,
            page.next_cursor.score.hex(),
            page.next_cursor.key,
        )
        link = paging.link(request, "next", after=cursor)
    return paging.page(page.items, link)


def _cursor(text: str) -> hits.SearchCursor:
    match paging.parts(text):
        case [int(messages), int(titles), str(score), int(key)]:
            try:
                return hits.SearchCursor(messages, titles, float.fromhex(score), key)
            except (ValueError, OverflowError):
                pass
    raise InvalidRequest("after: is not a position in these results.")
