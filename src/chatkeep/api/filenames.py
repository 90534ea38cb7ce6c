"""What a download is called: `Content-Disposition` (RFC 6266), with names of any language."""

import re
import unicodedata
from urllib.parse import quote

MAX_CHARS, MAX_BYTES = 80, 200
"""Of a name without its suffix. File systems take 255 bytes, and people read less."""

UNTITLED = "conversation"
"""What is called so has a title of which no file can be named."""

_SEPARATING = re.compile(r'[\s<>:"/\\|?*%\x00-\x1f\x7f-\x9f-]+')
"""White space, and what one file system or another does not take, or reads as a path."""

_EDGES = "-. "
"""What begins a hidden file or an option of a command, and what Windows leaves out at an end."""

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows does not take, whatever follows the dot:
https://learn.microsoft.com/windows/win32/fileio/naming-a-file"""


def attachment(name: str, suffix: str) -> str:
    """The header's value for a file that is called after a title, a person's or a model's."""
    stem = _stem(name)
    encoded = quote(f"{stem}.{suffix}", safe="")
    return f"attachment; filename=\"{_plain(stem)}.{suffix}\"; filename*=UTF-8''{encoded}"


def _stem(name: str) -> str:
    """The name without what no file system takes."""
    # Among these are the marks that turn the direction of what follows.
    visible = "".join(ch for ch in name if unicodedata.category(ch) != "Cf")
    joined = _SEPARATING.sub("-", unicodedata.normalize("NFC", visible)).strip(_EDGES)
    return _usable(joined[:MAX_CHARS].encode()[:MAX_BYTES].decode(errors="ignore"))


def _plain(stem: str) -> str:
    """The same in ASCII, for programs that read nothing else."""
    spelled = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return _usable(_SEPARATING.sub("-", _NOT_PLAIN.sub("", spelled)))


def _usable(name: str) -> str:
    name = name.strip(_EDGES)
    return f"{UNTITLED}-{name}" if _DEVICES.match(name) else name or UNTITLED
