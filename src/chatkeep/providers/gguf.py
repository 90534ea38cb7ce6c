"""How many parameters a model in a GGUF file has, by the header of the file.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from pathlib import Path

VERSIONS = {2, 3}
"""Version 1 had shorter counts, and is no longer written."""

MAX_HEADER_BYTES = 32 * 1_024 * 1_024
"""More than the largest vocabularies take; what claims to be longer is not read."""

MAX_DIMENSIONS = 4
"""`GGML_MAX_DIMS` of the runtime."""

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a metadata value, by its type."""

_STRING, _ARRAY = 8, 9
"""The types of values that begin with their length."""


class UnreadableHeaderError(Exception):
    """Raised for a file that is no GGUF file, or whose header makes no sense."""


def parameter_count(path: Path) -> int | None:
    """The sum of the sizes of all tensors; `None` for a model that is split into several files.

    Raises `UnreadableHeaderError`, and `OSError`.
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Header(data).parameter_count()
        except (ValueError, struct.error) as error:
            raise UnreadableHeaderError(str(error)) from error


class _Header:
    """Reads the fields of a header one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._end = min(len(data), MAX_HEADER_BYTES)
        self._offset = 0

    def parameter_count(self) -> int | None:
        magic, version = self._bytes(4), self._number(4)
        if magic != b"GGUF" or version not in VERSIONS:
            raise ValueError("not a GGUF file of a known version")
        tensors, entries = self._number(8), self._number(8)
        files = 1
        for _ in range(entries):
            key, value_type, start = self._string(), self._number(4), self._offset
            self._skip_value(value_type)
            if key == b"split.count":
                files = int.from_bytes(self._data[start : self._offset], "little")
        return sum(self._tensor_size() for _ in range(tensors)) if files == 1 else None

    def _tensor_size(self) -> int:
        self._string()
        dimensions = self._number(4)
        if dimensions > MAX_DIMENSIONS:
            raise ValueError("a tensor with too many dimensions")
        size = math.prod([self._number(8) for _ in range(dimensions)])
        self._skip(4 + 8)  # the type of its numbers, and their position in the file
        return size

    def _skip_value(self, value_type: int) -> None:
        count = 1
        if value_type == _ARRAY:
            value_type, count = self._number(4), self._number(8)
        if value_type in _SIZES:
            self._skip(_SIZES[value_type] * count)
        elif value_type == _STRING:
            self._skip_strings(count)
        else:
            raise ValueError("metadata of an unknown type, or an array of arrays")

    def _skip_strings(self, count: int) -> None:
        offset, length_at = self._offset, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if offset > self._end:
                break
            offset += 8 + length_at(self._data, offset)[0]
        self._skip(offset - self._offset)

    def _string(self) -> bytes:
        return self._bytes(self._number(8))

    def _number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "little")

    def _bytes(self, size: int) -> bytes:
        self._skip(size)
        return self._data[self._offset - size : self._offset]

    def _skip(self, size: int) -> None:
        self._offset += size
        if self._offset > self._end:
            raise ValueError("the header does not end")
