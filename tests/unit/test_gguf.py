"""The size of a model from a file, by the header of the file."""

import struct
from pathlib import Path

import pytest

from chatkeep.domain.model import MessageContent, Prompt, Role
from chatkeep.providers import gguf
from chatkeep.providers.embedded import (
    SMALL_PARAMETERS,
    EmbeddedModel,
    EmbeddedSettings,
    is_small,
    weights,
)
from chatkeep.providers.protocol import ProviderOptions

UINT16, UINT32, STRING, ARRAY = 2, 4, 8, 9
BUILT_IN = "smollm2-135m-instruct"
OPTIONS = ProviderOptions(timeout=1, first_token_timeout=1, retries=0, max_reply_chars=1)


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def entry(key: bytes, value_type: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", value_type) + value


def tensor(*shape: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return string(b"blk.0.weight") + dimensions + struct.pack("<IQ", 0, 0)


VOCABULARY = entry(
    b"tokens", ARRAY, struct.pack("<IQ", STRING, 3) + b"".join(map(string, [b"a", b"", b"\xff"]))
)
SCORES = entry(b"scores", ARRAY, struct.pack("<IQ3I", UINT32, 3, 1, 2, 3))
ENTRIES = (entry(b"general.name", STRING, string(b"a model")), VOCABULARY, SCORES)


def header(
    *tensors: bytes,
    entries: tuple[bytes, ...] = ENTRIES,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    counts = counts or (len(tensors), len(entries))
    return magic + struct.pack("<IQQ", version, *counts) + b"".join([*entries, *tensors])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def embedded(path: Path) -> EmbeddedModel:
    settings = EmbeddedSettings.model_construct(local_context_tokens=8_192)
    return EmbeddedModel(str(path), settings, OPTIONS)


def test_the_parameters_are_those_of_all_tensors(file: Path) -> None:
    file.write_bytes(header(tensor(3, 5), tensor(7), tensor(2, 2, 2, 2), tensor()))

    assert gguf.parameter_count(file) == 15 + 7 + 16 + 1


def test_the_packaged_weights_have_135_million_parameters() -> None:
    assert gguf.parameter_count(weights(BUILT_IN)) == 134_515_008


@pytest.mark.parametrize(("missing", "small"), [(0, False), (1, True)])
def test_a_model_is_small_below_three_billion_parameters(
    file: Path, missing: int, small: bool
) -> None:
    file.write_bytes(header(tensor(SMALL_PARAMETERS - missing)))

    model = embedded(file)

    assert SMALL_PARAMETERS == 3_000_000_000
    assert model.capabilities.is_small is small
    assert (model.system_prompt is not None) is small
    assert model.notice is None
    # A large one is limited by its context alone.
    assert model.config.max_tokens == (1_024 if small else 8_192)
    assert model.parameters(Prompt(None, (MessageContent(Role.USER, "Hello"),))) == {}


def test_the_built_in_model_and_a_copy_of_its_file_are_small(tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.symlink_to(weights(BUILT_IN))

    assert embedded(copy).capabilities.is_small
    settings = EmbeddedSettings.model_construct()
    assert EmbeddedModel(BUILT_IN, settings, OPTIONS).capabilities.is_small


@pytest.mark.parametrize(("files", "count"), [(1, 10), (2, None), (256, None)])
def test_a_part_of_a_model_does_not_count_for_the_whole(
    file: Path, files: int, count: int | None
) -> None:
    split = entry(b"split.count", UINT16, struct.pack("<H", files))
    file.write_bytes(header(tensor(10), entries=(*ENTRIES, split)))

    assert gguf.parameter_count(file) == count
    assert is_small(file) == (count is not None)


WHOLE = header(tensor(3, 5), tensor(7))
UNREADABLE = {
    "empty": b"",
    "another format": header(tensor(1), magic=b"GGML"),
    "the first version": header(tensor(1), version=1),
    "a big-endian file": header(tensor(1), version=3 << 24),
    "more tensors than there are": header(tensor(1), counts=(2**64 - 1, len(ENTRIES))),
    "more entries than there are": header(counts=(0, 2**64 - 1)),
    "a key without an end": header(entries=(struct.pack("<Q", 2**64 - 1),)),
    "a string without an end": header(entries=(entry(b"k", STRING, struct.pack("<Q", 2**63)),)),
    "more numbers than there are": header(
        entries=(entry(b"k", ARRAY, struct.pack("<IQ", UINT32, 2**64 - 1)),)
    ),
    "more strings than there are": header(
        entries=(entry(b"k", ARRAY, struct.pack("<IQ", STRING, 2**64 - 1) + string(b"a")),)
    ),
    "a long string in an array": header(
        entries=(entry(b"k", ARRAY, struct.pack("<IQQ", STRING, 2, 2**64 - 1)),)
    ),
    "arrays in arrays": header(
        entries=(entry(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1) * 99_999),)
    ),
    "an unknown type": header(entries=(entry(b"k", 13, b"\0" * 64),)),
    "too many dimensions": header(tensor(*[2] * 5)),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_header_that_makes_no_sense_is_refused_at_once(file: Path, case: str) -> None:
    file.write_bytes(UNREADABLE[case])

    with pytest.raises(gguf.UnreadableHeaderError):
        gguf.parameter_count(file)
    assert not is_small(file)


def test_a_header_that_is_cut_off_anywhere_is_refused(file: Path) -> None:
    for end in range(len(WHOLE)):
        file.write_bytes(WHOLE[:end])
        with pytest.raises(gguf.UnreadableHeaderError):
            gguf.parameter_count(file)


def test_no_more_of_a_file_is_read_than_headers_are_long(file: Path) -> None:
    # Sparse: only its length is that of a large file.
    with file.open("wb") as sparse:
        length = gguf.MAX_HEADER_BYTES
        sparse.write(header(entries=(entry(b"k", STRING, struct.pack("<Q", length)),)))
        sparse.truncate(2 * length)

    with pytest.raises(gguf.UnreadableHeaderError):
        gguf.parameter_count(file)
