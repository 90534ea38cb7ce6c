"""How a request says that it has been sent before."""

from fastapi import Request

from chatkeep.domain.errors import InvalidRequest, InvalidValue

MAX_KEY_CHARS = 255


def idempotency_key(request: Request) -> str | None:
    """The idempotency key of a request. Raises `InvalidRequest`."""
    headers = request.headers.getlist("idempotency-key")
    if not headers:
        return None
    header = headers[0]
    is_valid = 1 <= len(header) <= MAX_KEY_CHARS and all("!" <= ch <= "~" for ch in header)
    if len(headers) > 1 or not is_valid:
        detail = "must appear once, with 1 to 255 visible ASCII characters"
        listed: list[InvalidValue] = [{"parameter": "Idempotency-Key", "detail": detail}]
        raise InvalidRequest(f"Idempotency-Key: {detail}", errors=listed)
    return header


def is_client_retry(request: Request) -> bool:
    """Whether the stock client of a provider marks a request as a repetition."""
    count = request.headers.get("x-stainless-retry-count", "").strip()
    return count.isdecimal() and count.strip("0") != ""


def counts_retries(request: Request) -> bool:
    """Whether the client says of each request which attempt it is."""
    return "x-stainless-retry-count" in request.headers
