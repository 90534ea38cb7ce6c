"""Errors as OpenAI's envelope, for everything below `/v1/`.

https://platform.openai.com/docs/guides/error-codes. Clients repeat 408, 409, 429 and 5xx by
themselves: 409 is never sent, and what is stored says that it must not be sent again.
"""

from typing import Any

from pydantic import BaseModel, Field

from chatkeep.api.responses import DIALECT
from chatkeep.domain import errors
from chatkeep.domain.errors import ChatError, InvalidValue

BAD_REQUEST, NOT_FOUND, CONFLICT, TOO_MANY, SERVER_ERROR = 400, 404, 409, 429, 500
UNAUTHORIZED, FORBIDDEN = 401, 403

_CODES: dict[type[ChatError], str] = {
    errors.ModelNotFound: "model_not_found",
    errors.ContextTooLong: "context_length_exceeded",
    errors.KeyMissing: "invalid_api_key",
    errors.KeyInvalid: "invalid_api_key",
    errors.KeyExpired: "invalid_api_key",
    errors.KeyRevoked: "invalid_api_key",
    errors.QueueFull: "rate_limit_exceeded",
    errors.SessionBusy: "conversation_locked",
    errors.TurnNotEnded: "conversation_locked",
    errors.MessageNotLast: "item_not_last",
    errors.IdempotencyKeyReused: "idempotency_key_reused",
}
"""Where OpenAI has a word for it; ours otherwise."""


class Refused(errors.InvalidRequest):
    """A request that is refused in OpenAI's words; `param` is the member that is to blame."""

    def __init__(
        self, detail: str = "", *, openai_code: str = "invalid_value", param: str | None = None
    ) -> None:
        """Make an error."""
        value: InvalidValue = {"detail": detail}
        if param is not None:
            value["pointer"] = f"#/{param}"
        super().__init__(detail or None, errors=[value])
        self.openai_code = openai_code


class OpenAIError(BaseModel):
    """What went wrong, as OpenAI says it."""

    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None
    code: str | None
    response_id: str | None = None


class ErrorEnvelope(BaseModel):
    """What every error at OpenAI's addresses answers."""

    error: OpenAIError


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of a route's errors."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}}
    return {status: {"description": MEANINGS[status], "content": content} for status in statuses}


def is_dialect(path: str) -> bool:
    """Whether an address is one of OpenAI's."""
    return path.startswith(DIALECT)


def status_of(error: ChatError, status: int) -> int:
    """The status of an error here, by that which it has elsewhere."""
    if isinstance(error, errors.ContextTooLong):
        return BAD_REQUEST
    return BAD_REQUEST if status in {422, CONFLICT, 412} else status


def code_of(error: ChatError) -> str:
    """The name of an error."""
    if isinstance(error, Refused):
        return error.openai_code
    return _CODES.get(type(error)) or error.code.replace("-", "_")


def envelope(error: ChatError, status: int) -> dict[str, Any]:
    """The body of a response to a request that has failed.

    Args:
        error: Why.
        status: The status that it is sent with.

    """
    value: InvalidValue = error.errors[0] if error.errors else {"detail": ""}
    body: dict[str, Any] = {
        "message": value["detail"] or error.detail,
        "type": _type(status),
        "param": _param(value),
        "code": code_of(error),
    }
    if error.turn is not None:
        body["response_id"] = "resp_" + error.turn.turn_id.removeprefix("turn_")
    return {"error": body}


def wrong_result(error: ChatError) -> int | None:
    """The number of the message of a turn that is a result of no open call, if that is wrong."""
    pointer = error.errors[0].get("pointer", "") if error.errors else ""
    head, _, rest = pointer.partition("/tool_results/")
    number = rest.partition("/")[0]
    return int(number) if head == "#" and number.isdecimal() else None


def response_error(error: ChatError) -> dict[str, Any]:
    """The `error` of a response that has failed."""
    return {"code": code_of(error), "message": error.detail}


def _type(status: int) -> str:
    if status == TOO_MANY:
        return "rate_limit_error"
    if status == UNAUTHORIZED:
        return "authentication_error"
    if status == FORBIDDEN:
        return "permission_error"
    return "server_error" if status >= SERVER_ERROR else "invalid_request_error"


MEANINGS = {
    400: "The request has a value that is not allowed; `param` says which.",
    401: "The key is missing, wrong, expired or revoked.",
    403: "The key does not allow that.",
    404: "There is no such model, response, conversation or item.",
    408: "The body did not arrive in time.",
    413: "The body or a message is too large.",
    415: "The body is not application/json.",
    429: "The conversation's queue is full, or a limit is reached.",
    500: "The server was stopped in every attempt of the response.",
    502: "The model failed, or is not set up correctly on the server.",
    503: "The model takes no more requests, or the server is overloaded or shutting down.",
    504: "The model did not answer in time.",
}


def _param(value: InvalidValue) -> str | None:
    """A JSON pointer as OpenAI names a member: `input[0].role`."""
    if "parameter" in value:
        return value["parameter"]
    steps = value.get("pointer", "").removeprefix("#/")
    if not steps:
        return None
    first, *rest = steps.split("/")
    return first + "".join(f"[{step}]" if step.isdecimal() else f".{step}" for step in rest)
