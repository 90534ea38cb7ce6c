"""Parameters that several routes have, with their limits and their words in the documentation."""

from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Header, Query, Request

from chatkeep.domain.errors import SessionNotFound

AfterEvent = Annotated[
    str | None, Query(max_length=100, description="The `id` of the last event that you have.")
]
LastEventId = Annotated[
    str | None, Header(max_length=100, description="The same; wins over `after`.")
]


def session_name(request: Request, session_id: str) -> str:
    """The session's id in the path. Raises `SessionNotFound` if it is not UTF-8."""
    try:
        unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError:
        # The framework replaces such bytes by U+FFFD, which may be in another session's id.
        raise SessionNotFound from None
    return session_id
