"""Values of a foreign export: each taken for what it should be, or else for nothing."""

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

MAX_LINE_CHARS = 255
YEAR_2200 = 7_258_118_400
"""Seconds since 1970; a later time is no time."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_NOT_SPACE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


def table(value: object) -> dict[str, Any]:
    """The value, if it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """The value, if it is an array; else an empty one."""
    return value if isinstance(value, list) else []


def names(value: object) -> list[str]:
    """The strings of an array."""
    return [name for name in items(value) if isinstance(name, str)]


def text(value: object) -> str:
    """A string as every database keeps it: no U+0000, U+FFFD for half a character."""
    if not isinstance(value, str):
        return ""
    kept = value.replace("\0", "")
    try:
        kept.encode()
    except UnicodeEncodeError:
        return kept.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return kept


def line(value: object) -> str:
    """A string as one line without control characters, cut to 255 characters."""
    if not isinstance(value, str):
        return ""
    return " ".join(_CONTROL_NOT_SPACE.sub("", value).split())[:MAX_LINE_CHARS].strip()


def first_line(*values: object) -> str:
    """The first of the values that has a character to show, as one line."""
    return next(filter(None, map(line, values)), "")


def identifier(*values: object) -> str:
    """The first of the values that can be a session's id; empty if none can."""
    for value in values:
        if isinstance(value, str):
            kept = _CONTROL.sub("", value).strip()[:MAX_LINE_CHARS].strip()
            if kept not in {"", ".", ".."}:
                return kept
    return ""


def distinct(lines: Iterable[str], *, limit: int) -> list[str]:
    """The lines that are not empty, each once, in their order, and no more than `limit`."""
    return list(dict.fromkeys(filter(None, lines)))[:limit]


def microseconds(value: object, *, units: tuple[int, ...] = (1,)) -> int | None:
    """A time since 1970 in microseconds; `None` if it is none, or before 1970 or after 2199.

    Each of `units` is so many to a second; the first holds in which the time is a possible one.
    """
    if isinstance(value, Decimal) and value.is_finite():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    for unit in units:
        # Zero is what software writes that does not know.
        if 0 < value < YEAR_2200 * unit:
            whole = isinstance(value, int)
            return int(value * 1_000_000 // unit) if whole else round(value * 1e6 / unit)
    return None


def stand_in(kind: str, name: object, left_out: Counter[str]) -> str:
    """The line that stands for an image, a recording or another file, and count it as left out.

    `kind` is a content type or a MIME type.
    """
    if "image" in kind:
        left_out["image"] += 1
        return "[image]"
    if "audio" in kind:
        left_out["audio recording"] += 1
        return "[audio]"
    left_out["file"] += 1
    return f"[file: {line(name) or 'unnamed'}]"
