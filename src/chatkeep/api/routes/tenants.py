"""`/tenants` and `/audit`: administration. It reads no conversation."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from chatkeep.api import paging, problems
from chatkeep.api.dependencies import CallerOf, Limit, StoreOf, TenantsOf
from chatkeep.api.routes.keys import JSON
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.times import rfc3339
from chatkeep.store import audit
from chatkeep.store import tenants as stored

router = APIRouter(tags=["administration"], route_class=StrictRoute)

TenantPath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]


class Tenant(BaseModel):
    """A tenant, with how much there is of it; its users' sessions are not counted."""

    tenant: str
    created_at: str
    session_count: int
    last_activity: str | None


class NewTenant(BaseModel):
    """A tenant that there is now."""

    tenant: str


class Entry(BaseModel):
    """Who did what, and when. It has no texts."""

    number: int
    at: str
    actor: str
    tenant: str | None
    action: audit.Action
    target: str | None


@router.get(
    "/tenants",
    summary="List tenants",
    response_model=list[Tenant],
    responses=problems.documented(422),
)
async def list_tenants(
    request: Request,
    _caller: CallerOf,
    store: StoreOf,
    limit: Limit = None,
    after: Annotated[
        str | None, Query(max_length=200, description="From the `Link` of a page before.")
    ] = None,
) -> Response:
    """List tenants in the order of their names, at most 1,000; the `Link` leads on."""
    size = limit or paging.MAX_LIMIT
    rows = await store.read(stored.listed, parent=None, after=after or "", limit=size + 1)
    entries = [
        Tenant(
            tenant=row.id,
            created_at=rfc3339(row.created_at),
            session_count=row.session_count,
            last_activity=None if row.last_activity is None else rfc3339(row.last_activity),
        ).model_dump()
        for row in rows
    ]
    return paging.cut(request, "next", entries, size, lambda last: {"after": last["tenant"]})


@router.put(
    "/tenants/{tenant}",
    summary="Make a tenant",
    status_code=201,
    response_model=NewTenant,
    responses={
        200: {"description": "The tenant was there.", "model": NewTenant},
        **problems.documented(409, 422),
    },
)
async def create_tenant(caller: CallerOf, tenants: TenantsOf, tenant: TenantPath) -> Response:
    """Make a tenant: an application, or a customer, whose sessions nobody else sees."""
    is_new = await tenants.create(caller, tenant)
    body = orjson.dumps({"tenant": tenant})
    return Response(body, status_code=201 if is_new else 200, media_type=JSON)


@router.delete(
    "/tenants/{tenant}",
    summary="Erase a tenant",
    status_code=204,
    response_class=Response,
    responses={
        202: {"description": "The tenant is erased; the last traces go in the background."},
        **problems.documented(404, 409, 422),
    },
)
async def delete_tenant(caller: CallerOf, tenants: TenantsOf, tenant: TenantPath) -> Response:
    """Erase a tenant with its users, their sessions and its keys, from every file."""
    is_gone = await tenants.erase(caller, tenant)
    return Response(status_code=204 if is_gone else 202)


@router.get(
    "/audit",
    summary="Who did what",
    response_model=list[Entry],
    responses=problems.documented(422),
)
async def read_audit(
    request: Request,
    _caller: CallerOf,
    store: StoreOf,
    tenant: Annotated[
        str | None, Query(max_length=200, description="Only what concerned this tenant.")
    ] = None,
    limit: Limit = None,
    before: Annotated[
        int | None, Query(ge=1, le=2**63 - 1, description="From the `Link` of a page before.")
    ] = None,
) -> Response:
    """List the newest entries first, at most 1,000; the `Link` leads to older ones."""
    size = limit or paging.MAX_LIMIT
    rows = await store.read(audit.page, tenant=tenant, before=before, limit=size + 1)
    entries = [
        Entry(
            number=row.pk,
            at=rfc3339(row.at),
            actor=row.actor,
            tenant=row.tenant_id,
            action=audit.Action(row.action),
            target=row.target,
        ).model_dump()
        for row in rows
    ]
    return paging.cut(request, "prev", entries, size, lambda last: {"before": last["number"]})
