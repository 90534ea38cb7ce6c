"""A reader of server-sent events, written from the standard and not from our writer."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

STREAM = {"Accept": "text/event-stream"}
TERMINAL = {"turn.completed", "turn.failed", "turn.cancelled", "turn.interrupted"}


@dataclass(frozen=True)
class Event:
    id: str
    name: str
    data: dict[str, Any]


def parse(lines: Iterable[str], comments: list[str] | None = None) -> Iterator[Event]:
    """The events in these lines; one that is cut off is none."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            if comments is not None:
                comments.append(line)
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


def lines_of(response: httpx2.Response) -> Iterator[str]:
    """The lines of a body. The client's own reader also cuts at separators of Unicode."""
    parts: list[str] = []
    for text in response.iter_text():
        rest, *lines = text.split("\n")
        parts.append(rest)
        for line in lines:
            yield "".join(parts)
            parts = [line]


def events(response: httpx2.Response, comments: list[str] | None = None) -> Iterator[Event]:
    assert response.status_code == 200, response.read()
    assert response.headers["content-type"] == "text/event-stream"
    yield from parse(lines_of(response), comments)


@dataclass
class Reading:
    """What a reader has put together of a turn, over any number of connections."""

    text: str = ""
    after: str = ""
    names: tuple[str, ...] = ()
    end: Event | None = None

    def take(self, event: Event) -> None:
        assert self.end is None, f"after the last event: {event}"
        if event.name == "message.delta":
            self.text += event.data["text"]
        elif event.name == "turn.restarted":
            self.text = ""
        elif event.name in TERMINAL:
            self.end = event
        self.names += (event.name,)
        self.after = event.id

    @property
    def stored(self) -> str:
        """The whole text, as the last event has it."""
        assert self.end is not None
        key = "response" if self.end.name == "turn.completed" else "text"
        return str(self.end.data[key])


def read(client: httpx2.Client, turn_id: str, after: str = "") -> Reading:
    """Read a turn's events after a position, to the last."""
    reading = Reading(after=after)
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", f"/turns/{turn_id}/events", headers=headers) as response:
        for event in events(response):
            reading.take(event)
    return reading


def whole_events(raw: bytes) -> list[str]:
    """The lines of the whole events in a chunked body (RFC 9112, section 7.1) that is cut off."""
    body = b""
    while b"\r\n" in raw:
        size, _, rest = raw.partition(b"\r\n")
        body += rest[: int(size, 16)]
        raw = rest[int(size, 16) + 2 :]
    # An event whose blank line is missing was not received.
    return body[: body.rfind(b"\n\n") + 2].decode().split("\n") if b"\n\n" in body else []


@dataclass
class Transcript:
    """The messages that a reader has put together of a turn: its steps, and what is under way."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    reasoning: str = ""
    text: str = ""
    after: str = ""
    end: Event | None = None

    def take(self, event: Event) -> None:
        assert self.end is None, f"after the last event: {event}"
        if event.name == "message.delta":
            self.text += event.data["text"]
        elif event.name == "reasoning.delta":
            self.reasoning += event.data["text"]
        elif event.name == "message.completed":
            whole = [{"type": "text", "text": event.data["content"]}]
            blocks = event.data["blocks"] or whole
            written = [b for b in blocks if b["type"] in ("reasoning", "text")]
            if event.data["role"] == "assistant":
                assert self.reasoning == "".join(b.get("reasoning", "") for b in written)
                assert self.text == "".join(b.get("text", "") for b in written)
            self.steps.append(event.data)
            self.reasoning = self.text = ""
        elif event.name == "turn.restarted":
            self.steps, self.reasoning, self.text = [], "", ""
        elif event.name in TERMINAL:
            self.end = event
        self.after = event.id
