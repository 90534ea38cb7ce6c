"""Translates a provider's failures into errors of ours, which name what can be done about them.

No key is ever in their texts, and no address but the configured host that could not be reached.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil

from langchain_core import exceptions as langchain

from chatkeep.domain.errors import (
    AnswerUnreadable,
    ChatError,
    ContextTooLong,
    ModelBusy,
    ModelFailed,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelTimedOut,
)
from chatkeep.domain.validation import replace_unstorable
from chatkeep.providers.protocol import Access
from chatkeep.redaction import Redactor

MAX_DETAIL_CHARS = 300
_SECRET = re.compile(
    r"""
    \b(?:sk|key|xai|gsk|pk|rk|ghp|hf)[-_][A-Za-z0-9*_-]{4,} | \bAIza[A-Za-z0-9_-]{4,}  # keys
    | \b(?:AKIA|ASIA)[A-Z0-9]{8,} | \beyJ[A-Za-z0-9_.-]{8,}
    | \b(?:bearer|basic)\s+[^\s"',;]{6,}
    | \b[a-z][a-z0-9+.-]*://\S+                          # addresses
    | \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b
    | \b[a-z]:\\\S+ | (?<![\w/<])/\w[^\s"',;)]*         # paths
    | \b(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}              # anything else that nobody reads
    """,
    re.VERBOSE | re.IGNORECASE,
)
# By name, because providers' clients use several HTTP libraries.
_CONNECTION = {"TransportError", "APIConnectionError", "StreamError", "ClientError"}
_CONNECTING = ("ClientConnector", "Connect", "gaierror")
"""How the names of errors begin where no connection was made: aiohttp's, httpx's, the system's."""

NOWHERE = Access()
TOO_LONG = (
    "This conversation is too long for the model. Read fewer previous messages, or start a new "
    "chat."
)
OWN_CODE = "The model's own code has failed. The server's log says where."
_TOO_LONG = ("context size", "context length", "context_length", "prompt is too long")
_NO_CREDIT = (
    "insufficient_quota",
    "insufficient credit",
    "insufficient balance",
    "credit balance is too low",
    "exceeded your current quota",
    "billing_not_active",
    "billing_hard_limit",
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of ours, whether the same call may succeed later, and when (seconds)."""

    error: ChatError
    retryable: bool
    retry_after: float | None = None


def translate_error(
    failure: Exception,
    redactor: Redactor,
    access: Access = NOWHERE,
    *,
    has_begun: bool = False,
) -> Failure:
    """Translate what went wrong in a call of a provider, whichever client raised it.

    What would end the same way again is not retryable: it costs as much each time.

    Args:
        failure: What the client raised.
        redactor: Strikes the server's keys out of the provider's text.
        access: How the provider is reached, for the advice.
        has_begun: A part of the answer had come by then.

    """
    if (ours := _ours(failure)) is not None:
        return Failure(ours, retryable=isinstance(ours, ModelFailed))
    kinds = {kind.__name__ for kind in type(failure).__mro__}
    if isinstance(failure, TimeoutError | langchain.ModelTimeoutError) or "ReadTimeout" in kinds:
        return Failure(ModelTimedOut(), retryable=False)
    status = _status(failure)
    if status == 402 or _mentions(failure, _NO_CREDIT):
        return Failure(_without_credit(access), retryable=False)
    if status == 429:
        return _rate_limit(_retry_after(failure))
    if isinstance(failure, langchain.ContextOverflowError) or _mentions(failure, _TOO_LONG):
        return Failure(ContextTooLong(TOO_LONG), retryable=False)
    if status is not None:
        return _of_status(status, failure, redactor, access)
    if (reason := _reason(failure, redactor)) is not None:
        text = f"The model's provider reported an error: {reason}"
        return Failure(ModelFailed(text), retryable=not getattr(failure, "is_final", False))
    if isinstance(failure, langchain.ModelConnectionError | OSError) or kinds & _CONNECTION:
        return Failure(ModelFailed(_connection_detail(failure, access, has_begun)), retryable=True)
    return Failure(AnswerUnreadable(), retryable=False)


def translate_agent_error(failure: Exception, redactor: Redactor) -> Failure:
    """Translate what the operator's own code raised, whose words are for the log only.

    What a model within it has failed with is named as that of any other model.
    """
    is_models = isinstance(failure, ChatError | langchain.ModelError)
    if is_models or isinstance(failure, TimeoutError) or _status(failure) is not None:
        return translate_error(failure, redactor)
    return Failure(ModelFailed(OWN_CODE), retryable=False)


def _rate_limit(wait: float | None) -> Failure:
    seconds = None if wait is None else max(1, round(wait))
    text = f"Rate limit reached. Try again {_later(seconds)}."
    error = ModelBusy(text, retry_after=seconds or 5)
    return Failure(error, retryable=True, retry_after=wait)


def _connection_detail(failure: Exception, access: Access, has_begun: bool) -> str:
    """The text for a call whose connection failed, by how far it came."""
    if has_begun:
        return "The answer broke off: the connection to the model was lost."
    if not _was_never_connected(failure):
        return "The model closed the connection without an answer."
    where = f" at {access.address}" if access.address else ""
    advice = f"Check that it is running, and {access.address_variable} on the server."
    if access.is_public or not access.address:
        advice = "Check the server's network."
    return f"The model could not be reached{where}. {advice}"


def _was_never_connected(failure: BaseException) -> bool:
    """True if there was no connection yet, whichever error of its own a client made of that."""
    error: BaseException | None = failure
    while error is not None:
        # Ollama's client makes a bare one of it.
        if type(error) is ConnectionError or type(error).__name__.startswith(_CONNECTING):
            return True
        error = error.__cause__ or error.__context__
    return False


def _later(seconds: int | None) -> str:
    minutes = ceil((seconds or 0) / 60)
    return "in a moment" if minutes <= 1 else f"in {minutes} minutes"


def _without_credit(access: Access) -> ModelQuotaExhausted:
    key = f" of {access.key_variable}" if access.key_variable else ""
    return ModelQuotaExhausted(f"The account{key} at the model's provider has no credit left.")


def _ours(failure: BaseException) -> ChatError | None:
    """The error of ours that a client has wrapped, if there is one."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ChatError):
            return cause
        cause = cause.__cause__
    return None


def _of_status(status: int, failure: Exception, redactor: Redactor, access: Access) -> Failure:
    """What an HTTP status means that is about neither limits nor lengths."""
    if status < 400 or status in {401, 403, 404}:
        return Failure(ModelMisconfigured(_advice(status, access)), retryable=False)
    if status < 500 and status not in {408, 409, 425}:
        reason = _reason(failure, redactor) or "it gave no reason"
        text = f"The model's provider refused the request (HTTP {status}): {reason}"
        return Failure(ModelFailed(text), retryable=False)
    text = f"The model's provider failed (HTTP {status})."
    return Failure(ModelFailed(text), retryable=True, retry_after=_retry_after(failure))


def _advice(status: int, access: Access) -> str:
    """The text for a status that the server's settings cause, and which of them to check."""
    address, key = access.address_variable or "the provider's address", access.key_variable
    if status < 400:
        return (
            f"The model's provider redirects to another address (HTTP {status}). Chatkeep "
            f"does not send conversations there. Set {address} to the right address."
        )
    if status == 404:
        check = "" if access.is_public else f", and {address} on the server"
        return (
            "The model's provider does not know this model (HTTP 404). "
            f"Check the model's name{check}."
        )
    if key is None:
        text = f"The model's provider refused access (HTTP {status})."
        return f"{text} Check {address} on the server."
    if status == 403:
        return f"The API key may not use this model (HTTP 403). Check {key} on the server."
    return f"The API key was rejected. Check {key} on the server."


def _status(failure: Exception) -> int | None:
    """The HTTP status, which every provider's client has in one of two attributes."""
    response = getattr(failure, "response", None)
    for status in (getattr(failure, "status_code", None), getattr(response, "status_code", None)):
        if isinstance(status, int) and status >= 300:
            return status
    return _status_in(_error_body(failure))


_BY_KIND = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}
"""The status of an error that came in a stream, which has no status of its own:
https://docs.claude.com/en/api/errors and https://platform.openai.com/docs/guides/error-codes."""


def _error_body(failure: Exception) -> object:
    """What a provider sent instead of an answer: an object, or a text (Ollama's client)."""
    body = getattr(failure, "body", None) or getattr(failure, "error", None)
    return body.get("error", body) if isinstance(body, dict) else body


def _status_in(error: object) -> int | None:
    """The status that an error in a body names, by a number or by a word."""
    if not isinstance(error, dict):
        return None
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, str) and value in _BY_KIND:
            return _BY_KIND[value]
        if re.fullmatch("[45][0-9]{2}", number := str(value)):
            return int(number)
    return None


def _mentions(failure: Exception, phrases: tuple[str, ...]) -> bool:
    text = f"{failure} {getattr(failure, 'body', '')}".casefold()
    return any(phrase in text for phrase in phrases)


def _retry_after(failure: Exception) -> float | None:
    """Seconds to wait before the next call (`Retry-After`: RFC 9110, section 10.2.3)."""
    headers = getattr(getattr(failure, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return None
    value = str(headers.get("retry-after", ""))
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(failure: Exception, redactor: Redactor) -> str | None:
    """The provider's own text, for the person who has to change the request."""
    error = _error_body(failure)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    if not isinstance(error, str) or not error.strip():
        return None
    text = " ".join(error.split())
    if text.startswith("<"):
        return "it answered with a web page"
    text = _SECRET.sub("…", redactor.redact(text))
    return replace_unstorable(text[:MAX_DETAIL_CHARS])
