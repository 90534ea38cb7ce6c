"""`GET /usage`: tokens by day, model, session and turn."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from chatkeep.api import paging, problems
from chatkeep.api.dependencies import CallerOf, StoreOf
from chatkeep.api.routing import StrictRoute
from chatkeep.api.times import Moment, microseconds
from chatkeep.domain.errors import InvalidRequest, InvalidValue
from chatkeep.domain.model import UsageRow
from chatkeep.store import usage

router = APIRouter(tags=["usage"], route_class=StrictRoute)

GROUPS: tuple[usage.Group, ...] = ("day", "model", "session", "turn")
_GROUP = f"({'|'.join(GROUPS)})"

By = Annotated[
    str,
    Query(
        max_length=100,
        json_schema_extra={"pattern": rf"^\s*{_GROUP}\s*(,\s*{_GROUP}\s*)*$"},
        description="What to tell apart, comma-separated: `day` (UTC), `model`, `session`, `turn`.",
    ),
]


@router.get(
    "/usage",
    summary="Count the tokens",
    response_model=list[UsageRow],
    responses=problems.documented(422),
)
async def read_usage(
    caller: CallerOf,
    store: StoreOf,
    by: By = "day,model",
    session_id: Annotated[
        str | None, Query(max_length=255, description="Only this session.")
    ] = None,
    since: Annotated[
        Moment | None, Query(description="Only calls that ended then or later.")
    ] = None,
    until: Annotated[Moment | None, Query(description="Only calls that ended before.")] = None,
    limit: Annotated[int, Query(ge=1, le=paging.MAX_LIMIT, description="Rows at most.")] = 1_000,
) -> Response:
    """Sum up the calls of models, newest day first, then the dearest.

    Replies and titles are told apart (`kind`); repeated, failed and cancelled calls are counted in
    the sums and beside them. Where a provider did not say, tokens are estimated, and the sums say
    how much of them. A deleted session's calls go on counting, without its name.
    """
    usages = await store.read(
        usage.summed,
        tenant=caller.tenant,
        by=_groups(by),
        session_id=session_id,
        since=microseconds(since),
        until=microseconds(until),
        limit=limit,
    )
    return paging.page(usages, None)


def _groups(by: str) -> list[usage.Group]:
    """The groups that `by` names, in the order of `GROUPS`. Raises `InvalidRequest`."""
    names = {part.strip() for part in by.split(",")}
    if names - set(GROUPS):
        detail = f"choose from {', '.join(GROUPS)}"
        listed: list[InvalidValue] = [{"parameter": "by", "detail": detail}]
        raise InvalidRequest(f"by: {detail}", errors=listed)
    return [group for group in GROUPS if group in names]
