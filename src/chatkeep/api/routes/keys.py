"""`/keys`: who may call the server. Only a key with the scope `admin` manages keys."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from chatkeep.access.service import KeyRecord, NewKeyRecord
from chatkeep.api import bodies, paging, problems
from chatkeep.api.bodies import Storable
from chatkeep.api.dependencies import AccessOf, CallerOf, Limit
from chatkeep.api.routing import StrictRoute
from chatkeep.domain import ids
from chatkeep.domain.model import DEFAULT_TENANT, SERVER_SCOPES, Scope
from chatkeep.domain.times import from_datetime, now
from chatkeep.store.keys import NewKey

router = APIRouter(tags=["keys"], route_class=StrictRoute)

TenantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
UserName = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
KeyName = Annotated[Storable, Field(max_length=100)]

JSON = "application/json"
MAX_MODELS = 100
YEAR_SECONDS = 366 * 24 * 3_600
LAST_YEAR = 9_000
"""A later time might be none any more, once it is in UTC."""


class KeyRequest(BaseModel):
    """What a new key may do, and for whom."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"name": "web shop"}]}
    )

    name: KeyName = Field("", description="For people: what the key is used for.")
    scope: Literal["chat", "read", "admin", "metrics"] = Field(
        "chat",
        description="`chat`: everything with sessions; `read`: only reading; `admin`: keys, "
        "tenants and the audit log, but no conversation; `metrics`: only the metrics.",
    )
    tenant: TenantName | None = Field(None, description="Whose sessions; `default` by default.")
    user: UserName | None = Field(None, description="The user of the tenant that it is for.")
    models: list[Storable] | None = Field(
        None, max_length=MAX_MODELS, description="The models that it may ask for; null for all."
    )
    expires_at: datetime | None = Field(
        None, strict=False, description="When it ends (RFC 3339); null for never."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.scope in SERVER_SCOPES and (self.tenant or self.user):
            raise ValueError("a key with this scope belongs to no tenant")
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at needs a time zone, such as Z")
        if self.expires_at is not None and self.expires_at.year > LAST_YEAR:
            raise ValueError(f"expires_at is after the year {LAST_YEAR}")
        if self.expires_at is not None and from_datetime(self.expires_at) <= now():
            raise ValueError("expires_at is in the past")
        return self

    def to_new_key(self) -> NewKey:
        """The key as it is stored."""
        scope = Scope(self.scope)
        return NewKey(
            id=ids.key_id(),
            tenant_id=None if scope in SERVER_SCOPES else self.tenant or DEFAULT_TENANT,
            user=self.user,
            name=self.name,
            scope=scope,
            models=None if self.models is None else tuple(self.models),
            expires_at=None if self.expires_at is None else from_datetime(self.expires_at),
        )


class KeyChange(BaseModel):
    """What can be changed of a key."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: KeyName


class Rotation(BaseModel):
    """How a key changes its secret."""

    model_config = ConfigDict(extra="forbid", strict=True)

    grace_seconds: int = Field(
        86_400,
        ge=0,
        le=YEAR_SECONDS,
        description="Seconds for which the secrets before still hold.",
    )


def request_body(schema: str) -> dict[str, Any]:
    """Return the OpenAPI entry of a body that `bodies.py` reads."""
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": True, "content": content}}


@router.get(
    "/keys",
    summary="List keys",
    response_model=list[KeyRecord],
    responses=problems.documented(422),
)
async def list_keys(
    request: Request,
    _caller: CallerOf,
    access: AccessOf,
    tenant: Annotated[
        str | None, Query(max_length=40, description="Only keys of this tenant.")
    ] = None,
    limit: Limit = None,
    after: Annotated[
        str | None, Query(max_length=200, description="From the `Link` of a page before.")
    ] = None,
) -> Response:
    """List keys, also those that were revoked, in the order of their creation, at most 1,000.

    The `Link` leads to the next page.
    """
    size = limit or paging.MAX_LIMIT
    records = await access.list_keys(tenant, after=after or "", limit=size + 1)
    return paging.cut(request, "next", records, size, lambda last: {"after": last.id})


@router.post(
    "/keys",
    summary="Make a key",
    status_code=201,
    response_model=NewKeyRecord,
    openapi_extra=request_body("KeyRequest"),
    responses=problems.documented(400, 404, 413, 415, 422),
)
async def create_key(request: Request, caller: CallerOf, access: AccessOf) -> Response:
    """Make a key. This response alone has its secret: only a digest of it is stored."""
    body = await bodies.read(request, KeyRequest)
    return _created(await access.create_key(caller, body.to_new_key()))


@router.get(
    "/keys/{key_id}",
    summary="Read a key",
    response_model=KeyRecord,
    responses=problems.documented(404),
)
async def read_key(_caller: CallerOf, access: AccessOf, key_id: str) -> Response:
    """Tell what a key may do, and when it was last used."""
    return Response(orjson.dumps(await access.read_key(key_id)), media_type=JSON)


@router.patch(
    "/keys/{key_id}",
    summary="Rename a key",
    response_model=KeyRecord,
    openapi_extra=request_body("KeyChange"),
    responses=problems.documented(400, 404, 413, 415, 422),
)
async def change_key(request: Request, caller: CallerOf, access: AccessOf, key_id: str) -> Response:
    """Change the name of a key. What it may do stays as it is: make another key for that."""
    change = await bodies.read(request, KeyChange)
    renamed = await access.rename_key(caller, key_id, change.name)
    return Response(orjson.dumps(renamed), media_type=JSON)


@router.delete(
    "/keys/{key_id}",
    summary="Revoke a key",
    response_model=KeyRecord,
    responses=problems.documented(404),
)
async def revoke_key(caller: CallerOf, access: AccessOf, key_id: str) -> Response:
    """End a key at once, with the tokens and the browsers that were let in with it.

    Turns that it has posted go on. To revoke the last key does not open the server again.
    """
    return Response(orjson.dumps(await access.revoke_key(caller, key_id)), media_type=JSON)


@router.post(
    "/keys/{key_id}/rotate",
    summary="Give a key another secret",
    status_code=201,
    response_model=NewKeyRecord,
    openapi_extra=request_body("Rotation"),
    responses=problems.documented(400, 404, 409, 413, 415, 422),
)
async def rotate_key(request: Request, caller: CallerOf, access: AccessOf, key_id: str) -> Response:
    """Make another secret; the ones before hold for `grace_seconds`, so that nothing is cut off."""
    body = await bodies.read(request, Rotation)
    return _created(await access.rotate_key(caller, key_id, body.grace_seconds))


def _created(record: NewKeyRecord) -> Response:
    return Response(orjson.dumps(record), status_code=201, media_type=JSON)
