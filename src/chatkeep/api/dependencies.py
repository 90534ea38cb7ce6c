"""What the routes are given: who calls, and the parts of the server that answer."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request

from chatkeep.api.paging import MAX_LIMIT
from chatkeep.api.sse import EventStream
from chatkeep.domain.events import Position
from chatkeep.domain.model import Caller
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.store import Store
from chatkeep.turns.service import Engine
from chatkeep.turns.stream import TurnStream

T = TypeVar("T")


def caller(_request: Request) -> Caller:
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
    log: TurnStream,
    after: Position | None,
    headers: dict[str, str] | None = None,
) -> EventStream:
    """A turn's events after a position, with this server's patience."""
    state = request.app.state
    return EventStream(
        log.read(after, idle_seconds=state.heartbeat_seconds),
        problem=state.problem,
        reader_seconds=state.reader_timeout,
        headers=headers or {},
    )


def feed(request: Request) -> Notifications:
    """What happens to the sessions of this server."""
    found: Notifications = request.app.state.feed
    return found


def providers(request: Request) -> Providers:
    """The models of this server."""
    found: Providers = request.app.state.providers
    return found


def _given(part: Callable[[Request], T]) -> Any:
    """A part of the server as a dependency: a coroutine, for FastAPI runs the others in threads."""

    async def depends(request: Request) -> T:
        return part(request)

    return Depends(depends)


CallerOf = Annotated[Caller, _given(caller)]
EngineOf = Annotated[Engine, _given(engine)]
FeedOf = Annotated[Notifications, _given(feed)]
ProvidersOf = Annotated[Providers, _given(providers)]
StoreOf = Annotated[Store, _given(store)]
Limit = Annotated[
    int | None,
    Query(ge=1, le=MAX_LIMIT, description="Entries on a page; without it, all of them."),
]
