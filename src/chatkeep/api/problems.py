"""Errors on the wire: `application/problem+json` (RFC 9457).

Which status each error has is the table `STATUS`.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, Field

from chatkeep.api.openai import errors as openai
from chatkeep.api.responses import DEFAULTS
from chatkeep.domain import errors
from chatkeep.domain.errors import ChatError

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[errors.ChatError], int] = {
    errors.MalformedRequest: 400,
    errors.MalformedBody: 400,
    errors.UnsupportedContent: 400,
    errors.KeyMissing: 401,
    errors.KeyInvalid: 401,
    errors.KeyExpired: 401,
    errors.KeyRevoked: 401,
    errors.ForeignHost: 403,
    errors.ForeignOrigin: 403,
    errors.NotAllowed: 403,
    errors.AddressNotFound: 404,
    errors.KeyNotFound: 404,
    errors.TenantNotFound: 404,
    errors.SessionNotFound: 404,
    errors.MessageNotFound: 404,
    errors.TurnNotFound: 404,
    errors.FileNotFound: 404,
    errors.ModelNotFound: 404,
    errors.PageMissing: 404,
    errors.WrongMethod: 405,
    errors.NotAcceptable: 406,
    errors.BodyTooSlow: 408,
    errors.SessionBusy: 409,
    errors.MessageNotLast: 409,
    errors.KeyEnded: 409,
    errors.TenantErased: 409,
    errors.TenantNeeded: 409,
    errors.SessionChanged: 412,
    errors.TurnNotStarted: 409,
    errors.TurnNotEnded: 409,
    errors.TurnCancelled: 409,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.InvalidRequest: 422,
    errors.IdempotencyKeyReused: 422,
    errors.QueueFull: 429,
    errors.InternalError: 500,
    errors.TurnInterrupted: 500,
    errors.ModelFailed: 502,
    errors.AnswerUnreadable: 502,
    errors.AnswerWithheld: 502,
    errors.AnswerWithoutText: 502,
    errors.ModelOutOfTokens: 502,
    errors.ModelQuotaExhausted: 502,
    errors.ModelMisconfigured: 502,
    errors.ContextTooLong: 502,
    errors.ModelBusy: 503,
    errors.Overloaded: 503,
    errors.Draining: 503,
    errors.StoreUnavailable: 503,
    errors.UnsafeAddress: 503,
    errors.ModelTimedOut: 504,
}
"""Which status each error has. Every error is in here."""


class Problem(BaseModel):
    """What every error answers."""

    type: str = Field(examples=["/problems/model-failed"])
    title: str
    status: int
    detail: str


def document(error: ChatError) -> dict[str, Any]:
    """The members of an error's problem document; with a turn, also where to read its events."""
    body: dict[str, Any] = {"type": error.uri, "title": error.title, "status": STATUS[error.kind()]}
    body["detail"] = error.detail
    if error.errors:
        body["errors"] = error.errors
    if error.turn is not None:
        body["turn_id"] = error.turn.turn_id
        if error.turn.session_id is not None:
            body["session_id"] = error.turn.session_id
    if isinstance(error, errors.NotAllowed):
        body["needs"] = error.needs
        if error.pointer is not None:
            body["pointer"] = error.pointer
    if error.retry_after is not None:
        body["retry_after"] = error.retry_after
    if error.turn is not None:
        body["events"] = f"/turns/{error.turn.turn_id}/events"
    return body


def respond(error: ChatError, path: str) -> Response:
    """An error as a response: a problem document, or OpenAI's envelope at one of its addresses.

    Args:
        error: What went wrong.
        path: The address of the request.

    """
    headers = _challenge(error)
    if isinstance(error, errors.WrongMethod):
        headers["Allow"] = ", ".join(error.allowed)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.forbids_retry:
        headers["X-Should-Retry"] = "false"
    if openai.is_dialect(path):
        status = openai.status_of(error, STATUS[error.kind()])
        body = openai.envelope(error, status)
        return _with_defaults(
            Response(orjson.dumps(body), status, headers, media_type="application/json")
        )
    return response(document(error), headers)


def _challenge(error: ChatError) -> dict[str, str]:
    """Headers that say which credential is needed (RFC 6750, section 3)."""
    challenge = 'Bearer realm="chatkeep"'
    if isinstance(error, errors.NotAllowed):
        challenge += f', error="insufficient_scope", scope="{error.needs}"'
    elif isinstance(error, errors.KeyInvalid | errors.KeyExpired | errors.KeyRevoked):
        challenge += ', error="invalid_token"'
    elif not isinstance(error, errors.KeyMissing):
        return {}
    return {"WWW-Authenticate": challenge}


def response(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem document as a response."""
    return _with_defaults(
        Response(orjson.dumps(body), body["status"], headers, media_type=MEDIA_TYPE)
    )


def _with_defaults(response: Response) -> Response:
    # What goes wrong outside of every middleware is answered without them.
    response.raw_headers.extend(DEFAULTS.items())
    return response


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of a route's errors."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


_MEANINGS = {
    400: "The body is not well-formed JSON in UTF-8.",
    401: "The key is missing, wrong, expired or revoked.",
    403: "The key does not allow that; `needs` says which scopes do.",
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
