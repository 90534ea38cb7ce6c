"""From bytes to lines of an export: our own, and those of other products. Runs in threads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from chatkeep import titles
from chatkeep.domain.errors import ChatError
from chatkeep.domain.records import LINES, Line, MessageLine, SessionLine
from chatkeep.domain.times import microseconds, now
from chatkeep.transfer import importers
from chatkeep.transfer.importers import MessageFields
from chatkeep.transfer.json_items import NotJson, RecordLimits, parse

BATCH_LINES = 200
"""Lines that one transaction writes: some 20 ms, so that no turn waits for it."""

BATCH_CHARS = 1_048_576
"""Text that one transaction writes, or a single message that is longer."""


@dataclass(frozen=True, slots=True)
class InvalidLine:
    """A line that cannot be imported; the reason is for the report."""

    reason: str


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """A line of an export of ours, and its number in the file, from 1."""

    line: Line | InvalidLine
    number: int


@dataclass(frozen=True, slots=True)
class ParsedConversation:
    """A conversation of another product: its session's line, its messages, what was left out.

    The messages are not validated yet, and `notes` are words for the report.
    """

    session: SessionLine
    messages: list[MessageFields]
    notes: tuple[str, ...]

    def batches(self) -> Iterator[list[MessageFields]]:
        """The messages in pieces that one transaction writes."""
        batch: list[MessageFields] = []
        size = 0
        for message in self.messages:
            batch.append(message)
            size += len(message["content"])
            if len(batch) == BATCH_LINES or size > BATCH_CHARS:
                yield batch
                batch, size = [], 0
        yield batch


@dataclass(frozen=True, slots=True)
class UnreadableConversation:
    """A value of a file that is no conversation; its id or title, if it has one, and the reason."""

    name: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The conversations that came before `error`, which ends the import."""

    conversations: list[ParsedConversation | UnreadableConversation]
    error: NotJson | ChatError | None = None


def parse_lines(lines: list[bytes], *, start: int, limits: RecordLimits) -> list[NumberedLine]:
    """Lines of an export of ours, without empty ones.

    Args:
        lines: Their bytes.
        start: The number of the first.
        limits: Of each line.

    Raises:
        TooLarge: A line is beyond the limits.

    """
    numbered = []
    for number, line in enumerate(lines, start):
        if line.strip():
            limits.check(line)
            numbered.append(NumberedLine(_parse_line(line), number))
    return numbered


def parse_conversations(records: Iterable[bytearray]) -> ParsedBatch:
    """The conversations of other products that are in these records."""
    batch = ParsedBatch([])
    try:
        for record in records:
            batch.conversations.append(_parse_conversation(record))
    except (NotJson, ChatError) as error:
        return ParsedBatch(batch.conversations, error)
    return batch


def validate_messages(messages: list[MessageFields]) -> list[Line | InvalidLine]:
    """Messages as lines; of messages that cannot be lines only the first reason."""
    try:
        return [MessageLine.model_validate(message) for message in messages]
    except ValidationError as error:
        return [InvalidLine(str(error).splitlines()[0])]


def _parse_line(line: bytes) -> Line | InvalidLine:
    try:
        return LINES.validate_python(orjson.loads(line))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        member = ".".join(str(part) for part in first["loc"][1:])
        return InvalidLine(f"{member or 'the line'}: {first['msg']}")
    except ValueError as error:
        return InvalidLine(f"the line is not JSON: {error}")
    except RecursionError:
        return InvalidLine("the line is nested too deeply")


def _parse_conversation(record: bytearray) -> ParsedConversation | UnreadableConversation:
    item = parse(record)
    try:
        conversation = importers.convert(item)
        session = conversation.session
        if not session["title"]:
            first = next((m["content"] for m in conversation.messages if m["role"] == "user"), "")
            at = microseconds(session["created_at"]) or now()
            session = {**session, "title": titles.provisional_title(first, at)}
        line = SessionLine.model_validate(session)
    except (importers.Unreadable, ValidationError) as error:
        return UnreadableConversation(_name(item), str(error).splitlines()[0])
    return ParsedConversation(line, conversation.messages, conversation.notes)


def _name(item: object) -> str | None:
    """What a conversation that cannot be read calls itself, for the report."""
    if not isinstance(item, dict):
        return None
    name = item.get("conversation_id") or item.get("id") or item.get("title")
    return name[:255] if isinstance(name, str) else None
