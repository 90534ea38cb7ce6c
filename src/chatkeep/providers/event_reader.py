"""Reads the body of a streamed answer as its bytes come: JSON objects in server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, and what
servers send instead: events without an empty line between them, one JSON document, a web page.
"""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from chatkeep.domain.errors import AnswerUnreadable, ModelMisconfigured

MAX_LINE_BYTES = 64 * 1_024 * 1_024
"""Of a line, and of an answer that is not streamed: more than the longest reply has, escaped."""

NOT_AN_API = "The server at the model's address is not a model API. Check the provider's base URL."

_OBJECT = (b"data: {", b"data:{")
_FIELDS = (b"data:", b":", b"event:", b"id:", b"retry:", b"data", b"event", b"id", b"retry")


class EventReader:
    """Turns the bytes of a body into the objects in its events.

    `Any` is decoded JSON of a provider.
    """

    __slots__ = (
        "_data", "_has_fields", "_is_error", "_rest", "has_payloads", "is_document", "is_done",
    )  # fmt: skip

    def __init__(self) -> None:
        self.is_done = False
        """True once the stream has announced its end (`[DONE]`)."""
        self.has_payloads = False
        """True once there was an object, whatever is in it."""
        self._rest = bytearray()
        self._data: list[bytes] = []
        self.is_document: bool | None = None
        """Whether it is one JSON document; `None` while nothing but white space came."""
        self._has_fields = False
        self._is_error = False

    def feed(self, received: bytes) -> Iterator[dict[str, Any]]:
        """The objects that are whole with these bytes.

        Raises `ModelMisconfigured` for a web page, `AnswerUnreadable` for what is no object.
        What follows the announced end is not read.
        """
        if self.is_done:
            return
        is_plain = not (self._data or self._is_error)
        for line in self._lines(received):
            # Nearly all lines are empty, or an object that is an event by itself.
            if is_plain and not line:
                continue
            if is_plain and line.startswith(_OBJECT):
                try:
                    payload = orjson.loads(line[5:])
                except orjson.JSONDecodeError:
                    payload = self._read(line)
            else:
                payload = self._read(line)
            if payload is not None:
                self.has_payloads = True
                yield payload
            elif self.is_done:
                return
            else:
                is_plain = not (self._data or self._is_error)

    def _lines(self, received: bytes) -> list[bytes]:
        """The lines that are whole with these bytes."""
        if self.is_document is None:
            received = self._detect_form(received)
        if self.is_document or not (b"\n" in received or b"\r" in received):
            self._rest += received
            if len(self._rest) > MAX_LINE_BYTES:
                raise AnswerUnreadable("The model's answer has a line without an end.")
            return []
        body = bytes(self._rest) + received
        # The other half of a CR LF may come with the next bytes.
        half = b"\r" if body.endswith(b"\r") else b""
        if b"\r" in body:
            body = body.removesuffix(half).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = body.split(b"\n")
        self._rest = bytearray(rest + half)
        return lines

    def end(self) -> Iterator[dict[str, Any]]:
        """The objects that are whole with the end of the body; what is cut off is none.

        Raises what `feed` raises.
        """
        rest = bytes(self._rest)
        if self.is_document:
            document = _decoded(rest)
            if type(document) is not dict:
                raise ModelMisconfigured(NOT_AN_API)
            self.has_payloads = True
            yield document
        elif not self.is_done:
            for payload in (self._read(rest.removesuffix(b"\r")), self._last()):
                if payload is not None:
                    yield payload
        if self.is_document is False and not (self._has_fields or self.has_payloads):
            raise ModelMisconfigured(NOT_AN_API)

    def _detect_form(self, received: bytes) -> bytes:
        """Find out from its first character what the body is; drop the white space before that."""
        received = received.lstrip(b"\xef\xbb\xbf \t\r\n")
        if received.startswith(b"<"):
            raise ModelMisconfigured(NOT_AN_API)
        if received:
            self.is_document = received.startswith((b"{", b"["))
        return received

    def _read(self, line: bytes) -> dict[str, Any] | None:
        """The object in a line, if the line has all the data of its event."""
        if line.startswith(b"data:"):
            self._has_fields = True
            value = line[5:].strip()
            if value == b"[DONE]":
                self.is_done = True
                return None
            if self._data:
                self._data.append(value)
            elif value:
                try:
                    return self._marked(_decoded(value))
                except AnswerUnreadable:
                    # The rest of it may follow on the next line.
                    self._data.append(value)
            return None
        if not line or line.isspace():
            return self._dispatch() if self._data or self._is_error else None
        self._has_fields = self._has_fields or line.startswith(_FIELDS)
        if line.startswith(b"event:"):
            self._is_error = line[6:].strip() == b"error"
        return None

    def _dispatch(self) -> dict[str, Any] | None:
        """The object of an event that ends here, if its data are on several lines."""
        lines, self._data = self._data, []
        try:
            return self._marked(_decoded(b"\n".join(lines))) if lines else None
        finally:
            self._is_error = False

    def _last(self) -> dict[str, Any] | None:
        """The object of the last event, if it is whole although no empty line follows."""
        try:
            return self._dispatch()
        except AnswerUnreadable:
            return None

    def _marked(self, payload: object) -> dict[str, Any] | None:
        """The object, marked as an error if its event has that name; `None` for any other value."""
        if type(payload) is not dict:
            return None
        self.has_payloads = True
        if self._is_error and not payload.get("error"):
            return {"error": payload}
        return payload


def _decoded(data: bytes) -> object:
    """Decode JSON, even with halves of characters in it, which the fast reader refuses."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise AnswerUnreadable from None
