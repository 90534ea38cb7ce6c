"""Which media type is answered."""

import pytest

from chatkeep.api.accept import allows_coding, choose
from chatkeep.domain.errors import NotAcceptable

OFFERS = ("application/json", "text/plain")


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/plain", "text/plain"),
        ("text/*", "text/plain"),
        ("text/plain, */*", "application/json"),
        ("text/plain, */*;q=0.5", "text/plain"),
        ("application/json;q=0.2, text/plain;q=0.8", "text/plain"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("TEXT/PLAIN; charset=utf-8", "text/plain"),
        ("application/json;q=0, */*", "text/plain"),
    ],
)
def test_the_best_liked_offer_is_chosen(header: str | None, chosen: str) -> None:
    assert choose(header, OFFERS) == chosen


@pytest.mark.parametrize("header", ["image/png", "application/json;q=0", "text/plain;q=nonsense"])
def test_an_offer_that_nobody_wants_is_an_error(header: str) -> None:
    with pytest.raises(NotAcceptable):
        choose(header, OFFERS)


@pytest.mark.parametrize(
    ("header", "is_allowed"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip;q=0.1", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
        ("gzip;q=high", False),
    ],
)
def test_a_coding_is_used_only_where_it_is_allowed(header: str | None, is_allowed: bool) -> None:
    assert allows_coding(header, "gzip") is is_allowed
