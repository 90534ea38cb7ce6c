"""Times: microseconds since 1970 (UTC) in the database, RFC 3339 on the wire and in exports."""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_correction = 0


def now() -> int:
    """The current time in microseconds since 1970, UTC: by this machine, unless that was wrong."""
    return time.time_ns() // 1_000 + _correction


def set_clock(microseconds: int, *, tolerance: int) -> None:
    """Make this time the current one, if `now` is further from it than `tolerance`.

    Processes that share a database share its clock, so that a request that comes again through
    another one is as old there.
    """
    global _correction  # noqa: PLW0603  (a process has one clock)
    if abs(microseconds - now()) > tolerance:
        _correction = microseconds - time.time_ns() // 1_000


def rfc3339(microseconds: int) -> str:
    """A time as RFC 3339: UTC with `Z`, always with six digits of a second.

    So the order of these strings is that of the times.
    """
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def microseconds(value: str) -> int:
    """The microseconds since 1970 of a time in RFC 3339.

    Raises `ValueError`, and `TypeError` for a time without a zone.
    """
    return from_datetime(datetime.fromisoformat(value))


def from_datetime(moment: datetime) -> int:
    """The microseconds since 1970 of a time that has a zone; negative before 1970."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
