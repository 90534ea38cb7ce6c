"""Text of which a reader sees nothing is blank."""

import pytest

from chatkeep.domain.validation import is_blank

INVISIBLE = [
    "",
    " \r\n\t\x0b\x0c",
    "\u00a0\u2003\u3000\u2028\u2029",
    "\x00\x07\x1b\x7f\x85",
    "\u200b",
    "\u200d\u200c",
    "\ufeff",
    "\u2060\u2061\u2064",
    "\u00ad",
    "\u180e",
    "\u034f",
    "\u200e\u200f\u061c\u202a\u202e\u2066\u2069",
    "\ufe0f\U000e0100",
    "\U000e0001\U000e0068\U000e0069\U000e007f",
    "\u3164\uffa0\u115f\u1160",
    "\u2800",
    " \u200b\n\ufeff ",
]


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_a_text_of_which_nothing_is_seen_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(text + "." + text)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "?",
        "日",
        "한",
        "\u1112\u1161\u11ab",
        "ا",
        "😀",
        "👩\u200d👧",
        "❤\ufe0f",
        "é",
        "\u0301",
        "\ue000",
    ],
)
def test_whatever_is_seen_is_not_blank(text: str) -> None:
    assert not is_blank(text)
