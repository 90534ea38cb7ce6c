"""`/turns/{turn_id}`: a turn, its events, its context, its cancellation; and message siblings."""

import orjson
from fastapi import APIRouter, Request, Response

from chatkeep.api import paging, problems, sse
from chatkeep.api.dependencies import CallerOf, StoreOf, TurnsOf, event_stream
from chatkeep.api.parameters import AfterEvent, LastEventId
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.events import Position
from chatkeep.domain.model import Message, Receipt, TurnRecord
from chatkeep.store import messages

router = APIRouter(tags=["turns"], route_class=StrictRoute)

JSON = "application/json"


@router.get(
    "/turns/{turn_id}",
    summary="What became of a turn",
    response_model=TurnRecord,
    responses=problems.documented(404),
)
async def read_turn(caller: CallerOf, turns: TurnsOf, turn_id: str) -> Response:
    """Tell a turn's status, its messages as far as there are any, its usage, and its error."""
    return Response(orjson.dumps(await turns.read_turn(caller, turn_id)), media_type=JSON)


@router.get(
    "/turns/{turn_id}/events",
    summary="Read a turn's events, from the first or from where you were",
    response_class=Response,
    responses={
        200: {"content": sse.CONTENT},
        204: {"description": "You have read the last event already."},
        **problems.documented(404, 422, 503),
    },
)
async def read_events(
    request: Request,
    caller: CallerOf,
    turns: TurnsOf,
    turn_id: str,
    after: AfterEvent = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream what there is, then what comes, to the turn's end; at any time, as often as wanted."""
    event_id = last_event_id or after
    position = Position.parse(event_id) if event_id else None
    stream = await turns.find_stream(caller, turn_id)
    if position is not None and stream.is_past_end(position):
        return Response(status_code=204)
    return event_stream(request, stream, position)


@router.get(
    "/turns/{turn_id}/context",
    summary="What the model was sent",
    response_model=Receipt,
    responses=problems.documented(404, 409),
)
async def read_context(caller: CallerOf, turns: TurnsOf, turn_id: str) -> Response:
    """Tell the prompt and the messages that a turn's model was sent, and which were left out.

    The rules: `context_messages` (older than the context is long), `no_reply` (its turn ended
    without any text).
    """
    return Response(orjson.dumps(await turns.read_receipt(caller, turn_id)), media_type=JSON)


@router.post(
    "/turns/{turn_id}/cancel",
    summary="Stop a turn",
    response_model=TurnRecord,
    responses=problems.documented(404),
)
async def cancel(caller: CallerOf, turns: TurnsOf, turn_id: str) -> Response:
    """Stop a turn that runs or waits. What was written so far is kept. Safe to repeat."""
    return Response(orjson.dumps(await turns.cancel_turn(caller, turn_id)), media_type=JSON)


@router.get(
    "/messages/{message_id}/siblings",
    summary="The alternatives at a point of the conversation",
    response_model=list[Message],
    responses=problems.documented(404),
)
async def siblings(caller: CallerOf, store: StoreOf, message_id: str) -> Response:
    """List the messages that follow the same message as this one, oldest first, with itself."""
    listed = await store.read(messages.siblings, tenant=caller.tenant, message_id=message_id)
    return paging.page(listed, None)
