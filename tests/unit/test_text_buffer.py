"""A text that grows is the same text from every place in it."""

from hypothesis import given
from hypothesis import strategies as st

from chatkeep.turns.text_buffer import TextBuffer


@given(st.lists(st.text(max_size=5), max_size=80), st.integers(0, 400), st.integers(1, 40))
def test_what_is_read_from_a_place_is_what_was_written_there(
    pieces: list[str], offset: int, limit: int
) -> None:
    text = TextBuffer()
    for piece in pieces:
        text.append(piece)

    whole = "".join(pieces)
    assert str(text) == whole
    assert text.length == len(whole)
    assert text.since(offset, limit) == whole[offset : offset + limit]
