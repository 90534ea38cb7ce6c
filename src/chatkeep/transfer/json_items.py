"""Cuts a JSON array into the bytes of its values as they arrive; or a file of one object.

It looks at brackets, commas and strings, each once, so that the work grows linearly with the
length. Whether a value is JSON is decided by `parse`.
"""

import json
import re
from collections.abc import Iterator

import orjson

from chatkeep.domain.errors import TooLarge

MAX_DEPTH = 200
"""Levels of nesting: deep nesting costs more than its length."""

BYTES_A_VALUE = 64
"""Bytes that a value must have on average, because in memory each has some 100 bytes more."""

FEW_VALUES = 65_536
"""Values that a record may have, however short they are."""

_TOKEN = re.compile(
    rb"""[^"\[\]{},]*  (?:"[^"\\]*(?:\\.[^"\\]*)*"  [^"\[\]{},]*)*  (["\[\]{},]|\Z)""",
    re.DOTALL | re.VERBOSE,
)
"""A bracket or a comma, with whole strings before it; or the quote of a string that is cut off.

No part can match in two ways, so that it is linear: it never backtracks into what it has read.
"""
_STRING_END = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_QUOTE, _COMMA, _END = b'"', b",", b"]"
_LEVELS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1, b",": 0}


class NotJson(Exception):
    """The bytes are not JSON, or nested too deeply; the message is the reason."""


class RecordLimits:
    """How many bytes and values a record, which is a line or a conversation, may have."""

    def __init__(self, max_bytes: int) -> None:
        """Make the limits; that of values follows from `max_bytes`."""
        self._max_bytes = max_bytes
        self._max_values = max(FEW_VALUES, max_bytes // BYTES_A_VALUE)

    def check_size(self, size: int) -> None:
        """Raise `TooLarge` if a record has more bytes."""
        if size > self._max_bytes:
            words = f"is larger than {self._max_bytes} bytes"
            raise TooLarge(f"A line, or a conversation, of the file {words}.")

    def check_values(self, count: int) -> None:
        """Raise `TooLarge` if a record has more values."""
        if count > self._max_values:
            words = f"has more than {self._max_values} values"
            raise TooLarge(f"A line, or a conversation, of the file {words}.")

    def check(self, record: bytes) -> None:
        """Raise `TooLarge` if this record has more bytes or more values."""
        self.check_size(len(record))
        # Each value has a byte at least.
        if len(record) > self._max_values:
            for count, _ in enumerate(_TOKEN.finditer(record)):
                self.check_values(count)


def parse(record: bytearray) -> object:
    """Parse a JSON value. Raises `NotJson`.

    Lone surrogates are allowed, because JavaScript cuts strings between the halves of a character.
    """
    try:
        return orjson.loads(record)
    except orjson.JSONDecodeError as error:
        if "surrogate" not in str(error):
            raise NotJson(f"it is not JSON ({error})") from None
    # Only Python's own parser, which is slower, allows them.
    try:
        value: object = json.loads(record.decode())
    except ValueError as error:
        raise NotJson(f"it is not JSON ({error})") from None
    return value


class JsonItems:
    """Cuts a stream of bytes into JSON values."""

    def __init__(self, limits: RecordLimits, *, is_array: bool) -> None:
        """Make a cutter.

        Args:
            limits: Of each value.
            is_array: True for the values of an array whose opening bracket was read already; false
                for one object.

        """
        self._limits = limits
        self._is_array = is_array
        self._record = bytearray()
        self._depth = self._values = 0
        self._is_in_string = self._is_escaped = False
        self._has_comma = self._has_ended = False

    @property
    def size(self) -> int:
        """Bytes of the value that is not complete yet."""
        return len(self._record)

    def feed(self, piece: bytes) -> Iterator[bytearray]:
        """The values that this piece completes. Raises `NotJson` and `TooLarge`."""
        start = 0
        for match in self._tokens(piece):
            token, end = match[1], match.end()
            self._step(token)
            if self._depth > 0:
                continue
            if token == _COMMA or self._depth < 0:
                yield from self._cut(piece[start : end - 1], token)
            elif not self._is_array:
                self._has_ended = True
                yield self._completed(piece[start:end])
            else:
                continue
            start = end
        rest = piece[start:]
        if self._has_ended and rest and not rest.isspace():
            raise NotJson("something follows its end")
        self._record += rest
        self._limits.check_size(len(self._record))

    def end(self) -> Iterator[bytearray]:
        """The value that the file ends with; then raises `NotJson` if the file is cut off."""
        if self._has_ended:
            return
        if self._depth == 0 and not self._is_in_string and self._record.strip():
            yield self._completed(b"")
        raise NotJson("it is cut off")

    def _step(self, token: bytes) -> None:
        if self._has_ended:
            raise NotJson("something follows its end")
        level = _LEVELS[token]
        self._depth += level
        if level < 0:
            return
        self._values += 1
        self._limits.check_values(self._values)
        if self._depth > MAX_DEPTH:
            raise NotJson("it is nested too deeply")

    def _cut(self, piece: bytes, token: bytes) -> Iterator[bytearray]:
        """The value before a comma of the array, or before its end."""
        self._has_ended = self._depth < 0
        if token not in (_COMMA, _END):
            raise NotJson("a bracket is not closed by its own kind")
        record = self._completed(piece)
        if record and not record.isspace():
            yield record
        elif self._has_comma or token == _COMMA:
            raise NotJson("a value is missing")
        self._has_comma = token == _COMMA

    def _completed(self, piece: bytes) -> bytearray:
        record, self._record = self._record, bytearray()
        record += piece
        self._limits.check_size(len(record))
        self._values = 0
        return record

    def _tokens(self, piece: bytes) -> Iterator[re.Match[bytes]]:
        """The brackets and commas outside of strings, each as a match's first group."""
        if not piece:
            return
        at = self._string_end(piece, 0) if self._is_in_string else 0
        for match in _TOKEN.finditer(piece, at):
            if match[1] == _QUOTE:
                self._string_end(piece, match.end())
                return
            if match[1]:
                yield match

    def _string_end(self, piece: bytes, at: int) -> int:
        """Where the string that `piece[at:]` continues ends; the end of the piece if not in it."""
        at += self._is_escaped
        # Most pieces of a long string have no quote: `find` is faster than the expression.
        match = _STRING_END.match(piece, at) if piece.find(_QUOTE, at) >= 0 else None
        self._is_in_string = match is None
        if match is not None:
            self._is_escaped = False
            return match.end()
        rest = piece[at:]
        self._is_escaped = (len(rest) - len(rest.rstrip(b"\\"))) % 2 == 1
        return len(piece)
