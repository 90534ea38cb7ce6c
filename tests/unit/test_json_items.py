"""Values cut out of a stream of JSON: the same wherever the stream is cut, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.domain.errors import TooLarge
from chatkeep.transfer.json_items import (
    FEW_VALUES,
    JsonItems,
    NotJson,
    RecordLimits,
    parse,
)

LIMITS = RecordLimits(64 * FEW_VALUES)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.sampled_from('a"\\[]{},:\n é🦔') | st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)
CUTS = st.lists(st.integers(0, 2_000), max_size=8)
LOOKS_LIKE_JSON = st.text(st.sampled_from('[]{},:"\\1 a\n'), max_size=30).map(str.encode)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(ends, [*ends[1:], len(data)], strict=True)]


def read(data: bytes, cuts: list[int], limits: RecordLimits = LIMITS) -> tuple[list[Any], str]:
    """The values of an array or an object, and what is wrong after them."""
    is_array = data[:1] == b"["
    items = JsonItems(limits, is_array=is_array)
    values: list[Any] = []
    try:
        for piece in pieces(data[is_array:], cuts):
            values.extend(parse(record) for record in items.feed(piece))
        values.extend(parse(record) for record in items.end())
    except NotJson as error:
        return values, str(error)
    return values, ""


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


@pytest.mark.slow
@given(st.lists(VALUES, max_size=5), CUTS, st.sampled_from([None, 1]), st.booleans())
def test_an_array_gives_its_values_wherever_it_is_cut(
    values: list[Any], cuts: list[int], indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()

    assert read(data + b"\n ", cuts) == (values, "")


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=4), VALUES), CUTS)
def test_an_object_gives_itself(value: dict[str, Any], cuts: list[int]) -> None:
    assert read(json.dumps(value).encode() + b"\r\n", cuts) == ([value], "")


@given(st.lists(VALUES, max_size=4), CUTS, st.data())
def test_a_file_that_is_cut_off_gives_what_is_whole_and_says_so(
    values: list[Any], cuts: list[int], data: st.DataObject
) -> None:
    whole = json.dumps(values).encode()
    part = whole[: data.draw(st.integers(1, len(whole) - 1))]

    complete, error = read(part, cuts)

    assert error
    # A number that is cut off may be another number.
    assert complete[:-1] == values[: len(complete)][:-1]


@given(LOOKS_LIKE_JSON, CUTS, st.sampled_from([b"[", b"{", b"[[", b'["', b'[{"a":']))
def test_what_a_strict_parser_takes_is_taken_and_nothing_else(
    data: bytes, cuts: list[int], start: bytes
) -> None:
    data = start + data
    values, error = read(data, cuts)

    assert (error == "") == is_json(data), (values, error)
    assert read(data, []) == (values, error) or error
    if not error:
        assert (values if start[:1] == b"[" else values[0]) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"[] []", "something follows its end"),
        (b'{} {"a":1}', "something follows its end"),
        (b"{}x", "something follows its end"),
        (b"[1,]", "a value is missing"),
        (b"[,1]", "a value is missing"),
        (b"[1}", "a bracket is not closed by its own kind"),
        (b"[1 2]", "it is not JSON"),
        (b"[1,2", "it is cut off"),
        (b"[1e999]", "it is not JSON"),
        (b"[NaN]", "it is not JSON"),
        (b"[" + b"1" * 5_000 + b"]", "it is not JSON"),
        (b'["\xff"]', "it is not JSON"),
        (b'["\xed\xa0\x80"]', "it is not JSON"),
        (b'["\0"]', "it is not JSON"),
    ],
)
def test_what_is_wrong_is_reported(data: bytes, error: str) -> None:
    assert error in read(data, [])[1]


def test_half_a_character_does_not_spoil_a_file() -> None:
    assert read(b'["a\\ud83d", "\\udd94", "\\ud83e\\udd94"]', []) == (
        ["a\ud83d", "\udd94", "\U0001f994"],
        "",
    )


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_has_a_limit(opening: bytes) -> None:
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    for depth, error in ((200, ""), (201, "it is nested too deeply")):
        assert read(b"[" + opening * depth + b"1" + closing * depth + b"]", [])[1] == error


@pytest.mark.parametrize("unit", [b"[]", b"{}", b"1", b'{"a":1}'])
def test_a_record_has_a_limit_of_values_and_another_one_does_not_count(unit: bytes) -> None:
    many = b"[" + b",".join([unit] * (FEW_VALUES // 5)) + b"],"
    assert len(read(b"[" + many * 6 + b"1]", [])[0]) == 7

    with pytest.raises(TooLarge, match="values"):
        read(b"[[" + b",".join([unit] * (FEW_VALUES + 2)) + b"]]", [])
    with pytest.raises(TooLarge, match="values"):
        LIMITS.check(b'{"metadata":[' + b",".join([unit] * (FEW_VALUES + 2)) + b"]}")


def test_text_is_not_counted_as_values() -> None:
    line = json.dumps({"content": 'a, b [c] {d} "e", ' * FEW_VALUES}).encode()

    LIMITS.check(line)
    assert len(read(b"[" + line + b"]", [70_000, 80_001])[0]) == 1


def test_a_record_has_a_limit_of_bytes() -> None:
    limits = RecordLimits(1_000)
    assert read(b'["' + b"a" * 990 + b'", "' + b"a" * 990 + b'"]', [], limits)[1] == ""
    for cuts in ([], [500], [1_100]):
        with pytest.raises(TooLarge, match="larger than 1000 bytes"):
            read(b'["' + b"a" * 2_000 + b'"]', cuts, limits)
