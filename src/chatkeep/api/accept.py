"""Which media type and content coding to answer in (RFC 9110, sections 12.5.1 and 12.5.3)."""

from collections.abc import Sequence
from typing import NamedTuple

from chatkeep.domain.errors import NotAcceptable


class _Range(NamedTuple):
    """A media range or a coding, in lower case, and its weight, from 0 (refused) to 1."""

    name: str
    quality: float

    @property
    def precision(self) -> int:
        """0 for `*/*`, 1 for `text/*`, 2 for `text/plain`."""
        return 2 - self.name.count("*")

    def matches(self, offer: str) -> bool:
        return self.name in {"*/*", "*", offer, f"{offer.partition('/')[0]}/*"}


def choose(header: str | None, offers: Sequence[str]) -> str:
    """The media type to answer in.

    Args:
        header: The `Accept` header, if the request has one.
        offers: What the route can answer; the first wins where the client has no preference.

    Raises:
        NotAcceptable: The header refuses all offers.

    """
    if not header or not header.strip():
        return offers[0]
    ranges = [_parse(part) for part in header.split(",") if part.strip()]
    best, best_quality = "", 0.0
    for offer in offers:
        matching = [media for media in ranges if media.matches(offer)]
        # The most precise range counts, whatever the others say (RFC 9110, 12.5.1).
        _, quality = max(((media.precision, media.quality) for media in matching), default=(0, 0))
        if quality > best_quality:
            best, best_quality = offer, quality
    if not best:
        raise NotAcceptable(f"This response is available as {', '.join(offers)}.")
    return best


def allows_coding(header: str | None, coding: str) -> bool:
    """True if an `Accept-Encoding` header allows a content coding; without one none is allowed."""
    qualities = dict(_parse(part) for part in (header or "").split(","))
    return qualities.get(coding, qualities.get("*", 0.0)) > 0


def _parse(part: str) -> _Range:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return _Range(name, min(max(float(value), 0.0), 1.0))
            except ValueError:
                return _Range(name, 0.0)
    return _Range(name, 1.0)
