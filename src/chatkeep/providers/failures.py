"""A provider's failure in our words. No key and no address of the provider's is ever in them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from langchain_core import exceptions as langchain

from chatkeep.domain import (
    ChatError,
    ContextTooLong,
    ModelBusy,
    ModelFailed,
    ModelMisconfigured,
    ModelTimedOut,
)
from chatkeep.providers.text import storable

MAX_DETAIL_CHARS = 300
_SECRET = re.compile(
    r"\b(?:sk|key|xai|gsk)[-_][A-Za-z0-9*_-]{4,}|\bAIza[A-Za-z0-9_-]{4,}|https?://\S+|/(?:\w+/)+\S*"
)
# By name, because providers' clients use several HTTP libraries.
_CONNECTION = {"TransportError", "APIConnectionError", "StreamError", "ClientError"}
_TOO_LONG = ("context size", "context length", "context_length", "prompt is too long")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of ours, whether the same call may succeed later, and when (seconds)."""

    error: ChatError
    retryable: bool
    retry_after: float | None = None


def named(failure: Exception) -> Failure:
    """Name what went wrong in a call to a provider, whichever client raised it."""
    if isinstance(failure, ChatError):
        return Failure(failure, retryable=isinstance(failure, ModelFailed))
    kinds = {kind.__name__ for kind in type(failure).__mro__}
    if isinstance(failure, TimeoutError | langchain.ModelTimeoutError) or "ReadTimeout" in kinds:
        return Failure(ModelTimedOut(), retryable=False)
    status = _status(failure)
    if status in {401, 403}:
        return Failure(
            ModelMisconfigured(f"The model's provider refused this server's key (HTTP {status})."),
            retryable=False,
        )
    if status == 404:
        return Failure(
            ModelMisconfigured(
                "The model's provider does not know this model or address (HTTP 404)."
            ),
            retryable=False,
        )
    if status == 429:
        wait = _retry_after(failure)
        seconds = None if wait is None else max(1, round(wait))
        return Failure(ModelBusy(retry_after=seconds or 5), retryable=True, retry_after=wait)
    if _is_too_long(failure):
        return Failure(ContextTooLong(), retryable=False)
    if status is not None and 400 <= status < 500 and status not in {408, 409, 425}:
        detail = f"The model's provider refused the request (HTTP {status}): {_said(failure)}"
        return Failure(ModelFailed(detail), retryable=False)
    if status is not None:
        return Failure(
            ModelFailed(f"The model's provider failed (HTTP {status})."),
            retryable=True,
            retry_after=_retry_after(failure),
        )
    if isinstance(failure, langchain.ModelConnectionError | OSError) or kinds & _CONNECTION:
        return Failure(
            ModelFailed("The connection to the model's provider failed."), retryable=True
        )
    return Failure(ModelFailed("The model's answer could not be read."), retryable=True)


def _status(failure: Exception) -> int | None:
    """The HTTP status, which every provider's client keeps in one of two places."""
    response = getattr(failure, "response", None)
    for status in (getattr(failure, "status_code", None), getattr(response, "status_code", None)):
        if isinstance(status, int) and status >= 400:
            return status
    return None


def _is_too_long(failure: Exception) -> bool:
    text = str(failure).casefold()
    return isinstance(failure, langchain.ContextOverflowError) or any(
        phrase in text for phrase in _TOO_LONG
    )


def _retry_after(failure: Exception) -> float | None:
    """Seconds that the provider asks us to wait (RFC 9110, section 10.2.3)."""
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


def _said(failure: Exception) -> str:
    """The provider's own words, for the person who has to change the request."""
    body = getattr(failure, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    said = inner.get("message") if isinstance(inner, dict) else inner
    text = said if isinstance(said, str) and said else "it gave no reason"
    return storable(_SECRET.sub("…", " ".join(text.split()))[:MAX_DETAIL_CHARS])
