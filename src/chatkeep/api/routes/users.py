"""`/tokens` and `/users`: the end users of a tenant's application."""

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from chatkeep.api import bodies, paging, problems
from chatkeep.api.bodies import Storable
from chatkeep.api.dependencies import AccessOf, CallerOf, Limit, StoreOf, TenantsOf
from chatkeep.api.routes.keys import JSON, MAX_MODELS, UserName, request_body
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.errors import NotAllowed, TenantNotFound
from chatkeep.domain.model import Scope
from chatkeep.domain.times import rfc3339
from chatkeep.store import tenants as stored

router = APIRouter(tags=["users"], route_class=StrictRoute)

SHORTEST_SECONDS, DEFAULT_SECONDS, LONGEST_SECONDS = 60, 900, 86_400


class TokenRequest(BaseModel):
    """For whom a token is, and what it may do."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"user": "alice"}]}
    )

    user: UserName = Field(description="Your application's own id of the user.")
    scope: Literal["user", "chat"] = Field(
        "user",
        description="`user` converses, and neither sees nor sets prompts and the like; `chat` may "
        "do everything in the user's sessions.",
    )
    models: list[Storable] | None = Field(
        None,
        max_length=MAX_MODELS,
        description="The models that may be chosen; null for none but the session's with `user`, "
        "for those of the key with `chat`.",
    )
    seconds: int = Field(
        DEFAULT_SECONDS,
        ge=SHORTEST_SECONDS,
        le=LONGEST_SECONDS,
        description="How long the token holds.",
    )


class Token(BaseModel):
    """A token for a user's browser."""

    token: str = Field(description="To be sent as `Authorization: Bearer`.")
    expires_at: str = Field(description="When it ends (RFC 3339).")


class User(BaseModel):
    """A user of the tenant."""

    user: str
    created_at: str
    session_count: int
    last_activity: str | None


@router.post(
    "/tokens",
    summary="Make a token for a user's browser",
    status_code=201,
    response_model=Token,
    openapi_extra=request_body("TokenRequest"),
    responses=problems.documented(400, 404, 413, 415, 422),
)
async def create_token(request: Request, caller: CallerOf, access: AccessOf) -> Response:
    """Make a short-lived token with which a browser calls the server as one user, and no other."""
    body = await bodies.read(request, TokenRequest)
    if caller.is_bound and body.user != caller.user:
        raise NotAllowed("The key belongs to another user.", needs="chat", pointer="#/user")
    secret, ends_at = await access.create_token(
        caller,
        user=body.user,
        scope=Scope(body.scope),
        models=() if body.models is None and body.scope == "user" else _tuple(body.models),
        seconds=body.seconds,
    )
    token = Token(token=secret, expires_at=rfc3339(ends_at))
    return Response(orjson.dumps(token.model_dump()), status_code=201, media_type=JSON)


@router.get(
    "/users",
    summary="List the tenant's users",
    response_model=list[User],
    responses=problems.documented(422),
)
async def list_users(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    limit: Limit = None,
    after: Annotated[
        str | None, Query(max_length=200, description="From the `Link` of a page before.")
    ] = None,
) -> Response:
    """List users in the order of their ids, at most 1,000; the `Link` leads to the next page."""
    size = limit or paging.MAX_LIMIT
    rows = await store.read(
        stored.listed,
        parent=caller.root,
        only=caller.tenant if caller.user else None,
        after=f"{caller.root}/{after or ''}",
        limit=size + 1,
    )
    users = [
        User(
            user=row.id.partition("/")[2],
            created_at=rfc3339(row.created_at),
            session_count=row.session_count,
            last_activity=None if row.last_activity is None else rfc3339(row.last_activity),
        ).model_dump()
        for row in rows
    ]
    return paging.cut(request, "next", users, size, lambda last: {"after": last["user"]})


@router.delete(
    "/users/{user:path}",
    summary="Erase a user",
    status_code=204,
    response_class=Response,
    responses={
        202: {"description": "The user is erased; the last traces on disk go in the background."},
        **problems.documented(404),
    },
)
async def delete_user(caller: CallerOf, tenants: TenantsOf, user: str) -> Response:
    """Erase a person: all sessions, keys, tokens, and the user's own id, from every file."""
    if caller.is_bound and user != caller.user:
        raise TenantNotFound
    is_gone = await tenants.erase(caller, f"{caller.root}/{user}")
    return Response(status_code=204 if is_gone else 202)


def _tuple(models: list[str] | None) -> tuple[str, ...] | None:
    return None if models is None else tuple(models)
