"""Times: microseconds since 1970 (UTC) in the database, RFC 3339 on the wire."""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> int:
    """The time in microseconds since 1970, UTC: the form in which the store keeps times."""
    return time.time_ns() // 1_000


def rfc3339(microseconds: int) -> str:
    """A time as the wire shows it: UTC, RFC 3339 with `Z`, always six digits of a second."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def microseconds(value: str) -> int:
    """A time of an export in microseconds since 1970. Raises `ValueError`."""
    since = datetime.fromisoformat(value) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
