"""What the routes are given: who calls, and the parts of the server that answer."""

from typing import Annotated

from fastapi import Depends, Query, Request

from chatkeep.api.paging import MAX_LIMIT
from chatkeep.domain import Caller
from chatkeep.engine import Engine
from chatkeep.store import Store


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


CallerOf = Annotated[Caller, Depends(caller)]
EngineOf = Annotated[Engine, Depends(engine)]
StoreOf = Annotated[Store, Depends(store)]
Limit = Annotated[
    int | None,
    Query(ge=1, le=MAX_LIMIT, description="Entries on a page; without it, all of them."),
]
