"""Bytes of a stream read into objects, wherever they are cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.errors import AnswerUnreadable, ModelMisconfigured
from chatkeep.providers.event_reader import MAX_LINE_BYTES, EventReader

OBJECTS = [{"a": "Grüß 👋"}, {"b": [1, {"c": "\u2028"}]}, {"d": "\\ud83d"}]


def read(*pieces: bytes) -> list[dict[str, Any]]:
    reader = EventReader()
    objects = [payload for piece in pieces for payload in reader.feed(piece)]
    return objects if reader.is_done else objects + list(reader.end())


def stream(line_end: bytes, *, indent: int | None) -> bytes:
    lines = [b": hello", b"retry: 9"]
    for payload in OBJECTS:
        data = json.dumps(payload, ensure_ascii=False, indent=indent).encode()
        lines += [b"data: " + line for line in data.split(b"\n")]
        lines.append(b"")
    return line_end.join([*lines, b""])


@given(
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    indent=st.sampled_from([None, 1]),
    ends=st.sampled_from([b"", b"data: [DONE]\n\ndata: {junk\n\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=20),
)
def test_the_objects_are_the_same_wherever_the_bytes_are_cut(
    line_end: bytes, indent: int | None, ends: bytes, cuts: list[int]
) -> None:
    body = stream(line_end, indent=indent) + ends
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})

    pieces = [body[start:end] for start, end in pairwise(edges)]

    assert read(*pieces) == OBJECTS


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<!doctype html>", ModelMisconfigured),
        (b"\n  <html>", ModelMisconfigured),
        (b"It works!\n", ModelMisconfigured),
        (b"[1]", ModelMisconfigured),
        (b'"ok"', ModelMisconfigured),
        (b"data: {junk\n\n", AnswerUnreadable),
        (b'{"choices": [', AnswerUnreadable),
        (b"data: " + b"x" * MAX_LINE_BYTES, AnswerUnreadable),
    ],
)
def test_what_is_no_answer_is_named(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(body)


def test_what_is_cut_off_at_the_end_is_no_object() -> None:
    assert read(b'data: {"a": 1}\n\ndata: {"b": ') == [{"a": 1}]


def test_what_follows_the_end_is_not_read_wherever_the_bytes_are_cut() -> None:
    pieces = (b'data: {"a": 1}\n\ndata: [DONE]\n\n', b"data: {junk\n", b"\n")
    assert read(*pieces) == [{"a": 1}]


def test_objects_that_come_before_junk_are_there() -> None:
    objects = EventReader().feed(b'data: {"a": 1}\n\ndata: {junk\n\n')

    assert next(objects) == {"a": 1}
    with pytest.raises(AnswerUnreadable):
        next(objects)
