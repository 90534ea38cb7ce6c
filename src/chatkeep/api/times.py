"""Times in a request: RFC 3339 in, the store's microseconds out."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import BeforeValidator


def _moment(value: object) -> object:
    """A time with its zone, or a day, which begins at midnight, UTC. Raises `ValueError`."""
    if not isinstance(value, str):
        return value
    try:
        if len(value) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        # In an address a plus sign is a space.
        moment = datetime.fromisoformat(value.replace(" ", "+"))
    except ValueError:
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z, or a day") from None
    if moment.tzinfo is None:
        raise ValueError("must say its time zone, such as Z")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]


def microseconds(moment: datetime | None) -> int | None:
    """A time as the store keeps it: microseconds since 1970."""
    if moment is None:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return max(0, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
