"""`GET /healthz` and `GET /readyz`: whether the process is alive, and can take turns.

Unknown query parameters are ignored, because monitors add some to bypass caches.
"""

from fastapi import APIRouter

from chatkeep.api import problems
from chatkeep.api.dependencies import StoreOf, TurnsOf
from chatkeep.domain.errors import Draining, StoreUnavailable
from chatkeep.store.migrations import is_usable

RETRY_SECONDS = 5

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Answer as long as the process can answer anything. Query parameters are ignored."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can the server take turns?", responses=problems.documented(503))
async def readyz(turns: TurnsOf, store: StoreOf) -> dict[str, str]:
    """Check that messages can be stored, the schema is current, and the server is not stopping.

    Query parameters are ignored.
    """
    if not turns.is_ready:
        raise Draining(retry_after=RETRY_SECONDS)
    if not await store.read(is_usable):
        raise StoreUnavailable("The database's schema is not current.", retry_after=RETRY_SECONDS)
    await store.try_write()
    return {"status": "ready"}
