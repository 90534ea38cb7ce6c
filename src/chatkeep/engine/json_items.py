"""The values of a JSON array, or the one value that there is, as the bytes of it come.

Nesting has a limit, because what is nested deeply costs more than it is long.
"""

from collections.abc import Iterator
from typing import Any

import ijson

MAX_DEPTH = 200

_OPENING, _CLOSING = {"start_map", "start_array"}, {"end_map", "end_array"}


class NotJson(Exception):
    """What came is not JSON, or nested too deeply; the message says so."""


class JsonItems:
    """Takes bytes, gives values."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._events: Any = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events, use_float=True)
        self._depth = 0
        self._base: int | None = None
        self._builder: Any = None

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The values that are whole with this piece. Raises `NotJson`."""
        self._send(piece)
        events, self._events[:] = list(self._events), []
        for event, value in events:
            if self._base is None:
                # What is in an array comes one by one; anything else is the one value.
                self._base = 1 if event == "start_array" else 0
                if self._base:
                    self._depth = 1
                    continue
            yield from self._take(event, value)

    def end(self) -> None:
        """Say that nothing more comes. Raises `NotJson` if something was missing."""
        try:
            self._parser.close()
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise NotJson(_words(error)) from None

    def _take(self, event: str, value: Any) -> Iterator[Any]:
        self._depth += (event in _OPENING) - (event in _CLOSING)
        if self._depth > MAX_DEPTH:
            raise NotJson("it is nested too deeply")
        if self._builder is None:
            if event in _CLOSING:
                return  # the array's own end
            self._builder = ijson.ObjectBuilder()
        self._builder.event(event, value)
        if self._depth == self._base and event != "map_key":
            yield self._builder.value
            self._builder = None

    def _send(self, piece: bytes) -> None:
        try:
            self._parser.send(piece)
        except StopIteration:
            raise NotJson("something follows its end") from None
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise NotJson(_words(error)) from None


def _words(error: Exception) -> str:
    return f"it is not JSON ({' '.join(str(error).split())[:200]})"
