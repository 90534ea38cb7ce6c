"""Which media type and coding to answer in (RFC 9110, sections 12.5.1 and 12.5.3)."""

from collections.abc import Sequence

from chatkeep.domain.errors import NotAcceptable


def choose(header: str | None, offers: Sequence[str]) -> str:
    """The offer that an `Accept` header likes best; the first where it has no preference.

    Raises `NotAcceptable` when it refuses them all.
    """
    if not header or not header.strip():
        return offers[0]
    ranges = [_range(part) for part in header.split(",") if part.strip()]
    best, best_quality = "", 0.0
    for offer in offers:
        matching = [(_precision(kind), quality) for kind, quality in ranges if _fits(kind, offer)]
        quality = max(matching)[1] if matching else 0.0
        if quality > best_quality:
            best, best_quality = offer, quality
    if not best:
        raise NotAcceptable(f"This answer is available as {', '.join(offers)}.")
    return best


def takes(header: str | None, coding: str) -> bool:
    """Whether an `Accept-Encoding` header allows a content coding; without one nothing does."""
    qualities = dict(_range(part) for part in (header or "").split(","))
    return qualities.get(coding, qualities.get("*", 0.0)) > 0


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return kind, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _precision(kind: str) -> int:
    return 2 - kind.count("*")


def _fits(kind: str, offer: str) -> bool:
    return kind in {"*/*", "*", offer, f"{offer.partition('/')[0]}/*"}
