"""What the routes are given: who calls, and the parts of the server that answer."""

from typing import Annotated

from fastapi import Depends, Query, Request

from chatkeep.api.paging import MAX_LIMIT
from chatkeep.api.sse import EventStream
from chatkeep.domain import Caller, Position
from chatkeep.engine import Engine
from chatkeep.store import Store
from chatkeep.turns import TurnLog


def caller() -> Caller:
    """Who calls: the one tenant that there is while no API key exists."""
    return Caller()


def engine(request: Request) -> Engine:
    """The engine of this server."""
    found: Engine = request.app.state.engine
    return found


def store(request: Request) -> Store:
    """The store of this server."""
    found: Store = request.app.state.store
    return found


def stream(
    request: Request,
    log: TurnLog,
    after: Position | None,
    headers: dict[str, str] | None = None,
) -> EventStream:
    """A turn's events after a position, with this server's patience."""
    state = request.app.state
    return EventStream(
        log,
        after,
        problem=state.problem,
        idle_seconds=state.heartbeat_seconds,
        reader_seconds=state.reader_timeout,
        headers=headers or {},
    )


CallerOf = Annotated[Caller, Depends(caller)]
EngineOf = Annotated[Engine, Depends(engine)]
StoreOf = Annotated[Store, Depends(store)]
Limit = Annotated[
    int | None,
    Query(ge=1, le=MAX_LIMIT, description="Entries on a page; without it, all of them."),
]
