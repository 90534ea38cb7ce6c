"""`GET /me`, `POST /login`, `POST /logout`: who the caller is, and how the page signs in."""

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from chatkeep.access.service import LONGEST_MICROSECONDS, SECOND
from chatkeep.api import bodies, problems
from chatkeep.api.authentication import COOKIE, SECURE_COOKIE, cookie_name, cookies_of
from chatkeep.api.dependencies import AccessOf, CallerOf, services
from chatkeep.api.routing import StrictRoute
from chatkeep.domain.errors import ChatError
from chatkeep.domain.model import SERVER_SCOPES, Caller, Scope

router = APIRouter(tags=["access"], route_class=StrictRoute)

MAX_KEY_CHARS = 255


class Me(BaseModel):
    """Who the caller is."""

    tenant: str | None = Field(
        description="Whose sessions the caller reads; null for the server's."
    )
    user: str | None = Field(description="The user of the tenant, if the caller is one.")
    scope: Scope = Field(description="What the caller may do.")
    key: str | None = Field(description="The id of the key; null if the caller has shown none.")
    is_signed_in: bool = Field(description="Whether the caller can sign out.")


class Login(BaseModel):
    """A key that is exchanged for a cookie."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(min_length=1, max_length=MAX_KEY_CHARS, description="The key.")


@router.get("/me", summary="Who am I?", response_model=Me)
async def read_me(request: Request, caller: CallerOf) -> Response:
    """Tell who the server takes the caller for."""
    return _me(request, caller)


@router.post(
    "/login",
    summary="Exchange a key for a cookie",
    response_model=Me,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Login"}}},
        }
    },
    responses=problems.documented(400, 401, 403, 413, 415, 422),
)
async def login(request: Request, access: AccessOf) -> Response:
    """Sign a browser in: the cookie holds another secret than the key, and no script can read it.

    It ends after 12 hours without use, after 30 days, with the key, or with `POST /logout`.
    """
    body = await bodies.read(request, Login)
    try:
        caller, secret = await access.sign_in(body.key.strip())
    except ChatError as error:
        access.refuse(error.code)
        raise
    response = _me(request, caller)
    _set_cookie(request, response, secret, seconds=LONGEST_MICROSECONDS // SECOND)
    return response


@router.post(
    "/logout",
    summary="End a cookie",
    status_code=204,
    response_class=Response,
    responses=problems.documented(403),
)
async def logout(request: Request, access: AccessOf) -> Response:
    """Sign a browser out. Its cookie is worth nothing from then on, wherever it was copied to."""
    cookies = cookies_of(dict(request.scope["headers"]))
    for name in (SECURE_COOKIE, COOKIE):
        if name in cookies:
            await access.sign_out(cookies[name])
    # What the page has stored in the browser is somebody's words.
    response = Response(status_code=204, headers={"Clear-Site-Data": '"storage"'})
    _set_cookie(request, response, "", seconds=0)
    return response


def _me(request: Request, caller: Caller) -> Response:
    me = Me(
        tenant=None if caller.scope in SERVER_SCOPES else caller.root,
        user=caller.user,
        scope=caller.scope,
        key=caller.actor if caller.actor.startswith("key_") else None,
        is_signed_in=_cookie_name(request) in cookies_of(dict(request.scope["headers"])),
    )
    return Response(orjson.dumps(me.model_dump()), media_type="application/json")


def _cookie_name(request: Request) -> str:
    return cookie_name(is_secure=services(request).proxies.is_secure(request.scope))


def _set_cookie(request: Request, response: Response, secret: str, *, seconds: int) -> None:
    """Set the page's cookie, which no other site's page can make a browser send."""
    name = _cookie_name(request)
    response.set_cookie(
        name,
        secret,
        max_age=seconds,
        path="/",
        secure=name == SECURE_COOKIE,
        httponly=True,
        samesite="strict",
    )
