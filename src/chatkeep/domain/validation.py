"""Rules for values that callers choose: each validator returns its value or raises `ValueError`.

The error's text is shown to the caller, behind the name of the value.
"""

import math
import re
import unicodedata

import orjson

MAX_METADATA_BYTES = 16_384
MAX_JSON_DEPTH = 32
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u2800"
    # Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties.txt): soft hyphen, fillers,
    # marks of direction, joiners, variation selectors, tags. Then the marks of annotations.
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff\ufff9-\ufffb]"
)
"""A character that is visible: no white space, no control character, none without a glyph."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""A control character (Unicode's category Cc)."""


def is_blank(text: str) -> bool:
    """True if the text is empty, or has only invisible characters."""
    return _VISIBLE.search(text) is None


def reject_unstorable(value: str) -> str:
    """Check that every database stores the value unchanged: PostgreSQL takes no U+0000."""
    if "\0" in value:
        raise ValueError("must not contain U+0000")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return value


def replace_unstorable(value: str) -> str:
    """The value with surrogate pairs joined, and U+FFFD for lone surrogates and U+0000."""
    value = value.replace("\0", "\ufffd")
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def validate_session_id(value: str) -> str:
    """Check a session's id. Clients drop `.` and `..` from a URL's path (RFC 3986, 5.2.4)."""
    if not 1 <= len(value) <= 255:
        raise ValueError("must have 1 to 255 characters")
    if _CONTROL.search(value) is not None:
        raise ValueError("must not contain control characters")
    if value != value.strip():
        raise ValueError("must not begin or end with white space")
    if value in {".", ".."}:
        raise ValueError("must not be . or ..")
    return reject_unstorable(value)


def validate_title(value: str) -> str:
    """Check a session's title, which is one line. Its length is limited by its model's field."""
    if not value.strip():
        raise ValueError("must not be blank")
    if any(unicodedata.category(ch) in {"Cc", "Zl", "Zp"} for ch in value):
        raise ValueError("must be one line, without control characters")
    return reject_unstorable(value)


def validate_metadata(value: dict[str, object]) -> dict[str, object]:
    """Check a session's metadata: its size as JSON, its depth, its strings and its numbers."""
    size = validate_json(value)
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must not be longer than {MAX_METADATA_BYTES} bytes as JSON")
    return value


def validate_json(value: object) -> int:
    """Check a JSON value's depth, its strings and its numbers. Returns its bytes as JSON."""
    _check_depth(value, MAX_JSON_DEPTH)
    try:
        return len(orjson.dumps(value))
    except TypeError:
        raise ValueError("must not have numbers beyond 64 bits") from None


def storable_json(value: object, *, levels: int = MAX_JSON_DEPTH) -> object:
    """A JSON value with what is not storable replaced, and cut off where it is too deep."""
    if isinstance(value, dict | list | tuple) and levels == 0:
        return "…"
    if isinstance(value, dict):
        return {
            replace_unstorable(str(name)): storable_json(inner, levels=levels - 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [storable_json(inner, levels=levels - 1) for inner in value]
    if isinstance(value, str):
        return replace_unstorable(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return replace_unstorable(str(value))


def _check_depth(value: object, levels: int) -> None:
    """Check the strings and the depth of a JSON value, which may have so many levels."""
    if levels == 0:
        raise ValueError(f"must not be deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, str):
        reject_unstorable(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            reject_unstorable(name)
            _check_depth(inner, levels - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_depth(inner, levels - 1)
