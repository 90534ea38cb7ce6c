"""Errors on the wire: `application/problem+json` (RFC 9457).

Which status belongs to which error is the table in `app.py`.
"""

from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field

from chatkeep.domain import ChatError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What every error answers."""

    type: str = Field(examples=["/problems/model-failed"])
    title: str
    status: int
    detail: str


def respond(error: ChatError, status: int) -> Response:
    """The response that tells of an error."""
    return response(
        status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        retry_after=error.retry_after,
        **error.extra,
    )


def response(
    status: int, *, code: str, title: str, detail: str, retry_after: int | None = None, **extra: Any
) -> Response:
    """A problem document; `retry_after` is in seconds and becomes a header too."""
    body = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail}
    headers = {}
    if retry_after is not None:
        extra["retry_after"] = retry_after
        headers["Retry-After"] = str(retry_after)
    return Response(orjson.dumps(body | extra), status, headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of a route's errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _MEANINGS[status], "model": Problem, "content": content}
        for status in statuses
    }


_MEANINGS = {
    400: "The body is not well-formed JSON in UTF-8.",
    404: "There is no such session or message.",
    406: "None of the accepted media types can be given.",
    408: "The body did not arrive in time.",
    413: "The body or the message is too large.",
    415: "The body is not application/json.",
    422: "A value is not allowed; `errors` says which and why.",
    429: "The session's queue is full.",
    502: "The model failed, or its provider refuses this server's configuration.",
    503: "The model's provider limits us, or the server is overloaded or shutting down.",
    504: "The model did not answer in time.",
}
