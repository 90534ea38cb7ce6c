"""Secrets struck out of texts, also where they come in pieces; and of answers of every shape."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.providers.text import Cleaner
from chatkeep.redaction import Redactor

KEY = "3f9a7c5d1b2e4f60"
LONGER = f"sk-proj-{KEY}-and-more"


def cut(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(edges)]


@given(
    words=st.lists(st.sampled_from([KEY, LONGER, "3f9a", "a", " ", "sk-", "👋"]), max_size=9),
    cuts=st.lists(st.integers(0, 300), max_size=12),
)
def test_a_secret_is_struck_wherever_the_text_is_cut(words: list[str], cuts: list[int]) -> None:
    text = "".join(words)
    cleaner = Cleaner(redactor=Redactor([KEY, LONGER]))

    cleaned = "".join([*(cleaner.clean(piece) for piece in cut(text, cuts)), cleaner.end()])

    assert KEY not in cleaned
    assert LONGER not in cleaned
    if KEY not in text:
        assert cleaned == text


def test_the_end_of_an_ordinary_word_is_not_waited_for() -> None:
    cleaner = Cleaner(redactor=Redactor([LONGER]))

    assert [cleaner.clean(piece) for piece in ("It begins", " to sk", "i")] == [
        *("It begins", " to sk", "i"),
    ]


def test_nothing_is_lost_of_a_text_that_has_no_secret() -> None:
    text = "skis, sk-, 3f9, 3f9a7c and so on: s"
    cleaner = Cleaner(redactor=Redactor([KEY, LONGER]))

    assert "".join([*(cleaner.clean(letter) for letter in text), cleaner.end()]) == text


@pytest.mark.parametrize("value", ["none", "ollama", "lm-studio", "sk-no-key-required", "EMPTY"])
def test_what_people_write_where_no_key_is_needed_is_a_word_like_others(value: str) -> None:
    assert Redactor([value]).redact(f"Set the key to {value}.") == f"Set the key to {value}."
    assert not Redactor([value])
