"""From the bytes of another product's conversation to lines of ours. Runs in a thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from chatkeep import titles
from chatkeep.domain.records import Line, MessageLine, SessionLine
from chatkeep.domain.times import microseconds, now
from chatkeep.transfer import importers
from chatkeep.transfer.json_items import parsed

BATCH_LINES = 200
"""Lines that one transaction takes in: some 20 ms, so that no turn waits for it."""

BATCH_CHARS = 1_048_576
"""Text that one transaction takes in, or a single message that is longer."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A conversation of another product as lines, and what was left out of it, in words."""

    session: SessionLine
    messages: list[dict[str, Any]]
    notes: tuple[str, ...]

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """The messages in pieces that one transaction takes in, as `as_lines` reads them."""
        batch: list[dict[str, Any]] = []
        size = 0
        for message in self.messages:
            batch.append(message)
            size += len(message["content"])
            if len(batch) == BATCH_LINES or size > BATCH_CHARS:
                yield batch
                batch, size = [], 0
        yield batch


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value of a file that is no conversation: what it calls itself, and why not."""

    name: str | None
    reason: str


def converted(record: bytearray) -> Incoming | Unreadable:
    """The conversation of another product that is in these bytes. Raises `NotJson`."""
    item = parsed(record)
    try:
        conversation = importers.conversation(item)
        session = dict(conversation.session)
        if not session["title"]:
            first = next((m["content"] for m in conversation.messages if m["role"] == "user"), "")
            at = microseconds(session["created_at"]) or now()
            session["title"] = titles.provisional_title(first, at)
        line = SessionLine.model_validate(session)
    except (importers.Unreadable, ValidationError) as error:
        return Unreadable(_named(item), str(error).splitlines()[0])
    return Incoming(line, conversation.messages, conversation.notes)


def as_lines(messages: list[dict[str, Any]]) -> list[Line | str]:
    """Messages as lines, or what is wrong with them."""
    try:
        return [MessageLine.model_validate(message) for message in messages]
    except ValidationError as error:
        return [str(error).splitlines()[0]]


def _named(item: object) -> str | None:
    """What a conversation that cannot be read calls itself, for the report."""
    if not isinstance(item, dict):
        return None
    name = item.get("conversation_id") or item.get("id") or item.get("title")
    return name[:255] if isinstance(name, str) else None
