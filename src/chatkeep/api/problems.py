"""Errors on the wire: `application/problem+json` (RFC 9457).

Which status belongs to which error is the table in `app.py`.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field

from chatkeep.api.responses import DEFAULTS
from chatkeep.domain.errors import ChatError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What every error answers."""

    type: str = Field(examples=["/problems/model-failed"])
    title: str
    status: int
    detail: str


def document(error: ChatError, status: int) -> dict[str, Any]:
    """What the wire says of an error; where it names a turn, also where that can be read."""
    body: dict[str, Any] = {"type": error.uri, "title": error.title, "status": status}
    body |= {"detail": error.detail, **error.extra}
    if error.retry_after is not None:
        body["retry_after"] = error.retry_after
    if "turn_id" in error.extra:
        body["events"] = f"/turns/{error.extra['turn_id']}/events"
    return body


def respond(error: ChatError, status: int) -> Response:
    """The response that tells of an error."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if "session_id" in error.extra:
        # The turn is stored: a stock client that posts it again by itself would double it.
        headers["X-Should-Retry"] = "false"
    return response(document(error, status), headers)


def response(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem document as a response."""
    response = Response(orjson.dumps(body), body["status"], headers, media_type=MEDIA_TYPE)
    # What goes wrong outside of every middleware is answered without them.
    response.raw_headers.extend(DEFAULTS.items())
    return response


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of a route's errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


_MEANINGS = {
    400: "The body is not well-formed JSON in UTF-8.",
    404: "There is no such session, message or turn.",
    406: "None of the accepted media types is available.",
    408: "The body did not arrive in time.",
    412: "The session has changed since it was read.",
    409: "The session is still answering, or the turn has not started; `turn_id` says which.",
    413: "The body or the message is too large.",
    415: "The body is not application/json.",
    422: "A value is not allowed; `errors` says which and why.",
    429: "The session's queue is full.",
    502: "The model failed, or is not set up correctly on the server.",
    503: "The model takes no more requests, or the server is overloaded or shutting down.",
    504: "The model did not answer in time.",
}
