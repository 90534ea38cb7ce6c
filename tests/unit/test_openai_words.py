"""The deltas of OpenAI's streams follow from the text alone, however it came."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chatkeep.api.openai.words import MAX_LETTERS, MAX_SPACES, WordCutter

TEXTS = st.text(
    st.one_of(
        st.sampled_from(" \n\t\u3000aÄß9-雨ไทย한🎈👩‍👩\u0301"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=200,
)


def words(pieces: list[str]) -> list[str]:
    cutter = WordCutter()
    cut = [word for piece in pieces for word in cutter.cut(piece)]
    return cut + cutter.end()


@given(TEXTS, st.lists(st.integers(0, 200), max_size=10))
def test_a_text_has_the_same_words_however_it_came(text: str, cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(ends)]
    assert words(pieces) == words([text])
    assert "".join(words(pieces)) == text


@given(TEXTS, TEXTS)
def test_what_was_cut_stays_cut_whatever_comes(text: str, more: str) -> None:
    cutter = WordCutter()
    early = cutter.cut(text)
    assert words([text + more])[: len(early)] == early


def test_words_have_their_white_space_before_them_and_a_limit() -> None:
    assert words(["It rains  in\nOslo."]) == ["It", " rains", "  in", "\nOslo."]
    assert words(["雨が降る"]) == list("雨が降る")
    assert words(["x" * 30]) == ["x" * MAX_LETTERS, "x" * 6]
    assert words([" " * 40 + "x"]) == [" " * MAX_SPACES, " " * 8 + "x"]
