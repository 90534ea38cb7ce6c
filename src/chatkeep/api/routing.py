"""Kinds of routes. They refuse unknown query parameters, so that no misspelt one is ignored."""

from functools import cached_property
from typing import get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from chatkeep.domain.errors import InvalidRequest, InvalidValue

MAX_ERRORS = 20
"""Wrong parameters that a response lists."""


class StrictRoute(APIRoute):
    """A route that refuses query parameters which are unknown, or repeated without being lists."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the names of the parameters. FastAPI checks their values."""
        if scope["query_string"] and scope["method"] in (self.methods or ()):
            _check(scope["query_string"], self._parameters)
        await super().handle(scope, receive, send)

    @cached_property
    def _parameters(self) -> dict[str, bool]:
        """The names of the route's query parameters, and whether each may be repeated."""
        fields = self.dependant.query_params
        return {field.alias: _is_list(field.field_info.annotation) for field in fields}


class PlainRoute(StrictRoute):
    """A route whose function has one parameter, the request.

    Nothing is resolved for it, because FastAPI's parameters and dependencies cost as much as the
    rest of a request.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the function and send its response."""
        if scope["query_string"] or scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response: Response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


class LenientRoute(APIRoute):
    """A `PlainRoute` of a dialect whose clients may send parameters that are not known here."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the function and send its response."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response: Response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def _check(query: bytes, parameters: dict[str, bool]) -> None:
    """Check the names in a query string.

    Args:
        query: The query string, without its question mark.
        parameters: The names that it may have, and whether each may be repeated.

    Raises:
        InvalidRequest: A name is unknown or repeated.

    """
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("The query is not UTF-8 with percent-encoding.") from None
    seen: set[str] = set()
    errors: list[InvalidValue] = []
    for name, _ in pairs:
        if name not in parameters:
            choice = ", ".join(parameters) or "none"
            detail = f"is not a parameter of this route, which accepts: {choice}"
            errors.append({"parameter": name[:100], "detail": detail})
        elif name in seen and not parameters[name]:
            errors.append({"parameter": name, "detail": "must appear only once"})
        seen.add(name)
    if errors:
        first = f"{errors[0]['parameter']}: {errors[0]['detail']}"
        raise InvalidRequest(first, errors=errors[:MAX_ERRORS])


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))
