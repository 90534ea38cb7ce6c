"""Lengths of time as people type them."""

import re
from datetime import UTC, datetime, timedelta

import typer

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_from(text: str) -> int:
    """Return the seconds of a length of time, such as `90d`, `24h`, `30m` or `0s`.

    Raises `typer.BadParameter`.
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a length of time: write 90d, 24h, 30m or 0s.")
    return int(match[1]) * UNITS[match[2]]


def time_from(text: str | None) -> str | None:
    """Return a time in RFC 3339: so long from now, or at a date. Raises `typer.BadParameter`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = datetime.now(UTC) + timedelta(seconds=seconds_from(text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
