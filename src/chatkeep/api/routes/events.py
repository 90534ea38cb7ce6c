"""`GET /events`: what happens to the sessions, as it happens."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from chatkeep.api import problems, sse
from chatkeep.api.dependencies import CallerOf, NotificationsOf, services
from chatkeep.api.routing import StrictRoute

router = APIRouter(tags=["events"], route_class=StrictRoute)


@router.get(
    "/events",
    summary="Watch the sessions",
    response_class=Response,
    responses={
        200: {"content": sse.CONTENT},
        **problems.documented(422),
    },
)
async def watch(
    request: Request,
    caller: CallerOf,
    notifications: NotificationsOf,
    after: Annotated[
        str | None, Query(max_length=100, description="The `id` of the last event that you have.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=100, description="The same; wins over `after`.")
    ] = None,
) -> Response:
    """Stream what happens from now on, whoever caused it, or what happened since an event.

    `session.created`, `session.titled`, `session.updated`, `session.deleted`, `turn.queued`,
    `turn.started`, `turn.ended`; and `events.missed` for a reader that was away for too long, or
    too slow: it reads `GET /sessions` again.
    """
    parts = services(request)
    event_id = last_event_id or after or None
    return sse.EventStream(
        notifications.read(caller.tenant, event_id, idle_seconds=parts.heartbeat_seconds),
        reader_seconds=parts.reader_timeout,
        headers={},
    )
