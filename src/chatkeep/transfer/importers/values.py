"""Values of another product's export: each read as the type it should have, or as nothing."""

import re
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from chatkeep.domain.validation import replace_unstorable

MAX_LINE_CHARS = 255
YEAR_2200 = 7_258_118_400
"""Seconds since 1970; a later time is no time."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_NOT_SPACE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


def as_object(value: object) -> dict[str, object]:
    """The value, if it is a JSON object; else an empty one."""
    return value if isinstance(value, dict) else {}


def as_array(value: object) -> list[object]:
    """The value, if it is a JSON array; else an empty one."""
    return value if isinstance(value, list) else []


def strings(value: object) -> list[str]:
    """The strings of an array."""
    return [item for item in as_array(value) if isinstance(item, str)]


def string(value: object) -> str:
    """The value, if it is a string; else an empty one."""
    return value if isinstance(value, str) else ""


def text(value: object) -> str:
    """A string as every database stores it: without U+0000, with U+FFFD for lone surrogates."""
    return replace_unstorable(string(value).replace("\0", ""))


def one_line(*values: object) -> str:
    """The first string with a character to show, without control characters.

    It is cut to 255 characters, and each white space in it is one space.
    """
    lines = (
        " ".join(_CONTROL_NOT_SPACE.sub("", string(value)).split())[:MAX_LINE_CHARS].strip()
        for value in values
    )
    return next(filter(None, lines), "")


def identifier(*values: object) -> str:
    """The first of the values that can be a session's id; empty if none can."""
    for value in values:
        name = _CONTROL.sub("", string(value)).strip()[:MAX_LINE_CHARS].strip()
        if name not in {"", ".", ".."}:
            return name
    return ""


def distinct(lines: Iterable[str], *, limit: int) -> list[str]:
    """The lines that are not empty, each once, in their order, and no more than `limit`."""
    return list(dict.fromkeys(filter(None, lines)))[:limit]


def microseconds(value: object, *, units: tuple[int, ...] = (1,)) -> int | None:
    """A time in microseconds since 1970; `None` if it is none, or before 1970 or after 2199.

    Args:
        value: A number.
        units: Units that the number may have, as parts of a second: 1,000 are milliseconds. The
            first counts in which the time is a possible one.

    """
    if isinstance(value, Decimal) and value.is_finite():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    for unit in units:
        # Zero is written by software that does not know the time.
        if 0 < value < YEAR_2200 * unit:
            if isinstance(value, int):
                return value * 1_000_000 // unit
            return round(value * 1e6 / unit)
    return None


def placeholder(kind: str, name: object, left_out: Counter[str]) -> str:
    """The text for an image, a recording or another file.

    Args:
        kind: Its content type, or its MIME type.
        name: The file's name, if it is a string.
        left_out: Where it is counted.

    """
    if "image" in kind:
        left_out["image"] += 1
        return "[image]"
    if "audio" in kind:
        left_out["audio recording"] += 1
        return "[audio]"
    left_out["file"] += 1
    return f"[file: {one_line(name) or 'unnamed'}]"
