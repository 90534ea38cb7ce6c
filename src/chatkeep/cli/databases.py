"""The URLs of databases, as far as commands show them."""

import re

STRUCK = "…"

_ACCOUNT = re.compile(r"^(\w+://[^:/?@]*):(?:[^?]*|[^@]*)@")
"""The beginning of a URL, up to the end of a password: also of one with signs that must not be."""

_PARAMETER = re.compile(r"(?<=[?&])([^=&]*password[^=&]*)=[^&]*")
"""libpq reads passwords from parameters too: that of the account, and that of the client's key."""


def without_password(url: str) -> str:
    """A database's URL with `STRUCK` for its password."""
    if url.startswith("sqlite:"):
        return url
    return _PARAMETER.sub(rf"\1={STRUCK}", _ACCOUNT.sub(rf"\1:{STRUCK}@", url))
