"""Times in a request: RFC 3339 in, microseconds out."""

from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import BeforeValidator

from chatkeep.domain import times


def _moment(value: object) -> object:
    """Parse a time with a zone, or a day, which is its midnight in UTC. Raises `ValueError`."""
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
        raise ValueError("must have a time zone, such as Z")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]


def microseconds(moment: datetime | None) -> int | None:
    """Microseconds since 1970, when it was at the earliest; `None` for `None`."""
    return None if moment is None else max(0, times.from_datetime(moment))
