"""Every exception that leaves a route, as a problem document (RFC 9457)."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from chatkeep.api import problems
from chatkeep.domain import errors

METHOD_NOT_ALLOWED = 405


def install(app: FastAPI) -> None:
    """Have the application answer with problem documents, whatever goes wrong."""
    app.add_exception_handler(errors.ChatError, _on_chat_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameter)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unknown)


async def _on_chat_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.ChatError):
        raise error
    response = problems.respond(error, request.scope["path"])
    # Headers that the route has set before it failed.
    response.headers.update(getattr(request.state, "headers", {}))
    return response


async def _on_invalid_parameter(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    listed: list[errors.InvalidValue] = [
        {"parameter": str(item["loc"][1]), "detail": item["msg"]} for item in error.errors()
    ]
    invalid = errors.InvalidRequest(
        f"{listed[0]['parameter']}: {listed[0]['detail']}", errors=listed
    )
    return problems.respond(invalid, request.scope["path"])


async def _on_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: an unknown path, a wrong method."""
    if not isinstance(error, HTTPException):
        raise error
    title = str(error.detail)
    headers = error.headers
    if error.status_code == METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(_allowed(request))}
    body: dict[str, Any] = {"type": f"/problems/{title.lower().replace(' ', '-')}", "title": title}
    body |= {"status": error.status_code, "detail": f"{title}."}
    return problems.response(body, headers)


def _allowed(request: Request) -> list[str]:
    """The methods that the address has, over all of its routes (RFC 9110, 10.2.1)."""
    return [
        method
        for method in ("GET", "HEAD", "POST", "PATCH", "DELETE")
        if any(
            route.matches({**request.scope, "method": "GET" if method == "HEAD" else method})[0]
            is Match.FULL
            for route in request.app.router.routes
        )
    ]


async def _on_unknown(request: Request, _error: Exception) -> Response:
    return problems.respond(errors.InternalError(), request.scope["path"])
