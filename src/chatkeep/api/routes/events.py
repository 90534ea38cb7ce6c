"""`GET /events`: changes of the sessions and their turns, as they happen."""

from fastapi import APIRouter, Request, Response

from chatkeep.api import problems, sse
from chatkeep.api.dependencies import CallerOf, NotificationsOf, services
from chatkeep.api.parameters import AfterEvent, LastEventId
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
    after: AfterEvent = None,
    last_event_id: LastEventId = None,
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
        sse.encoded,
        reader_seconds=parts.reader_timeout,
        headers={},
    )
