"""Names of downloads: `Content-Disposition` (RFC 6266), in any language."""

import re
import unicodedata
from urllib.parse import quote

MAX_CHARS, MAX_BYTES = 80, 200
"""Limits of a name without its suffix. File systems allow 255 bytes, and people read less."""

UNTITLED = "conversation"
"""The name where a title has no character that a file name may have."""

_SEPARATING = re.compile(r'[\s<>:"/\\|?*%\x00-\x1f\x7f-\x9f-]+')
"""White space, and what some file system refuses or reads as a path."""

_EDGES = "-. "
"""At the start: marks of hidden files and of options. At the end: what Windows drops."""

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names of devices, which Windows refuses with any suffix:
https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""


def attachment(name: str, suffix: str) -> str:
    """The header's value for a file with this name, which is any text, and this suffix."""
    stem = _stem(name)
    encoded = quote(f"{stem}.{suffix}", safe="")
    return f"attachment; filename=\"{_plain(stem)}.{suffix}\"; filename*=UTF-8''{encoded}"


def _stem(name: str) -> str:
    """The name without what some file system refuses."""
    # Format characters, among them marks that reverse the direction of the text behind them.
    visible = "".join(ch for ch in name if unicodedata.category(ch) != "Cf")
    joined = _SEPARATING.sub("-", unicodedata.normalize("NFC", visible)).strip(_EDGES)
    return _usable(joined[:MAX_CHARS].encode()[:MAX_BYTES].decode(errors="ignore"))


def _plain(stem: str) -> str:
    """The name in ASCII, for clients that do not read `filename*`."""
    spelled = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return _usable(_SEPARATING.sub("-", _NOT_PLAIN.sub("", spelled)))


def _usable(name: str) -> str:
    name = name.strip(_EDGES)
    return f"{UNTITLED}-{name}" if _DEVICES.match(name) else name or UNTITLED
