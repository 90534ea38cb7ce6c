"""What the routes are given: who calls, and the parts of the server that answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request

from chatkeep.access.service import AccessService
from chatkeep.access.tenants import TenantService
from chatkeep.api.authentication import TrustedProxies
from chatkeep.api.openai.repeats import LostAnswers
from chatkeep.api.paging import MAX_LIMIT
from chatkeep.api.sse import EventStream, encoded
from chatkeep.domain.events import Event, Position
from chatkeep.domain.model import Caller
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.sessions.service import SessionService
from chatkeep.store.database import Store
from chatkeep.transfer.imports import ImportService
from chatkeep.turns.service import TurnService
from chatkeep.turns.stream import TurnStream

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one server, and its limits: seconds of patience with readers, and bytes."""

    store: Store
    access: AccessService
    tenants: TenantService
    proxies: TrustedProxies
    providers: Providers
    notifications: Notifications
    turns: TurnService
    sessions: SessionService
    imports: ImportService
    heartbeat_seconds: float
    reader_timeout: float
    max_body_bytes: int
    max_chat_bytes: int
    max_file_bytes: int
    lost_answers: LostAnswers = field(default_factory=LostAnswers)


def caller(request: Request) -> Caller:
    """Who calls, as `authentication.py` has found out."""
    recognised: Caller = request.scope["caller"]
    return recognised


def services(request: Request) -> Services:
    """The parts of the server that this request has reached."""
    parts: Services = request.app.state.services
    return parts


def event_stream(
    request: Request,
    stream: TurnStream,
    after: Position | None,
    headers: dict[str, str] | None = None,
) -> EventStream[Event | str]:
    """The response with a turn's events.

    Args:
        request: Whose server's patience counts.
        stream: The turn's.
        after: Position to read on from; `None` for the first event.
        headers: Further headers of the response.

    """
    parts = services(request)
    return EventStream(
        stream.read(after, idle_seconds=parts.heartbeat_seconds),
        encoded,
        reader_seconds=parts.reader_timeout,
        headers=headers or {},
    )


def _dependency(part: Callable[[Request], T]) -> Any:  # noqa: ANN401  (as `Depends` is declared)
    """A part of the server as a dependency: a coroutine, for FastAPI runs the others in threads."""

    async def depends(request: Request) -> T:
        return part(request)

    return Depends(depends)


AccessOf = Annotated[AccessService, _dependency(lambda request: services(request).access)]
CallerOf = Annotated[Caller, _dependency(caller)]
ImportsOf = Annotated[ImportService, _dependency(lambda request: services(request).imports)]
NotificationsOf = Annotated[
    Notifications, _dependency(lambda request: services(request).notifications)
]
ProvidersOf = Annotated[Providers, _dependency(lambda request: services(request).providers)]
SessionsOf = Annotated[SessionService, _dependency(lambda request: services(request).sessions)]
StoreOf = Annotated[Store, _dependency(lambda request: services(request).store)]
TenantsOf = Annotated[TenantService, _dependency(lambda request: services(request).tenants)]
TurnsOf = Annotated[TurnService, _dependency(lambda request: services(request).turns)]
Limit = Annotated[
    int | None,
    Query(ge=1, le=MAX_LIMIT, description="Entries on a page; without it, all of them."),
]
