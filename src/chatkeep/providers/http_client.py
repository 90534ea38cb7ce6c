"""What LangChain's clients get so that they behave as the server's own: HTTP without surprises.

No redirects, no web page in place of an answer, and a pool of connections that can be closed.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import httpx2

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.event_reader import NOT_AN_API

NOT_STREAMED = "The model's provider does not stream its answers, which Chatkeep needs."


class Response(Protocol):
    """What responses of httpx and of httpx2 have in common."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, whatever its case."""


async def reject_non_stream(response: Response) -> None:
    """Raise `ModelMisconfigured` for a success that is a web page, or a whole document.

    A hook of httpx and of httpx2, called with each response before its body is read.
    """
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not 200 <= response.status_code < 300:
        return
    if media_type == "text/html":
        raise ModelMisconfigured(NOT_AN_API)
    # A stream has no length; some servers label theirs as JSON all the same.
    if media_type == "application/json" and "content-length" in response.headers:
        raise ModelMisconfigured(NOT_STREAMED)


def connections(**options: Any) -> httpx2.AsyncClient:  # whatever httpx2's constructor takes
    """A pool of connections of its own."""
    hooks = {"response": [reject_non_stream]}
    return httpx2.AsyncClient(event_hooks=hooks, follow_redirects=False, **options)


def timeouts(timeout: float, silence_timeout: float) -> httpx2.Timeout:
    """Limits in seconds: `silence_timeout` between two reads, `timeout` for all else."""
    return httpx2.Timeout(timeout, read=silence_timeout)
