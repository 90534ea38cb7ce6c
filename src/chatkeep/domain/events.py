"""What happens in turns and to sessions: every event's type and payload, and positions in a stream.

An event is a member of `EventType` and its entry in `EVENTS`; a field of a payload is a member
of the event's JSON object. Payloads have no slots: orjson writes an instance with a `__dict__` five
times as fast, and one is made for every token.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

import orjson

from chatkeep.domain.errors import ChatError, InvalidRequest, TurnCancelled, TurnInterrupted
from chatkeep.domain.model import Message, Reply, Session, Status

_POSITION = re.compile(r"([1-9]\d{0,8})(?:\.([1-9]\d{0,5}))?-(0|[1-9]\d{0,11})(t?)(e?)")


class EventType(StrEnum):
    """The name of an event on the wire."""

    TURN_STARTED = "turn.started"
    TURN_RESTARTED = "turn.restarted"
    MESSAGE_DELTA = "message.delta"
    REASONING_DELTA = "reasoning.delta"
    MESSAGE_COMPLETED = "message.completed"
    TURN_COMPLETED = "turn.completed"
    TURN_FAILED = "turn.failed"
    TURN_CANCELLED = "turn.cancelled"
    TURN_INTERRUPTED = "turn.interrupted"
    SESSION_CREATED = "session.created"
    SESSION_TITLED = "session.titled"
    SESSION_UPDATED = "session.updated"
    SESSION_DELETED = "session.deleted"
    TURN_QUEUED = "turn.queued"
    TURN_ENDED = "turn.ended"
    EVENTS_MISSED = "events.missed"


@dataclass(frozen=True)
class TurnStarted:
    """A turn runs; its messages and its model are known."""

    turn_id: str
    session_id: str
    user_message_id: str
    message_id: str
    model: str


@dataclass(frozen=True)
class TurnRestarted:
    """Text that was streamed before is void: the turn runs again."""

    turn_id: str
    attempt: int


@dataclass(frozen=True)
class MessageDelta:
    """The next piece of the text of the message under way."""

    text: str


@dataclass(frozen=True)
class ReasoningDelta:
    """The next piece of the model's reasoning."""

    text: str


@dataclass(frozen=True)
class Failure:
    """How a turn ended that has no complete reply: the error, and the text so far."""

    error: ChatError
    text: str


@dataclass(frozen=True)
class SessionTitled:
    """The model's title for a session is stored."""

    session_id: str
    title: str


@dataclass(frozen=True)
class SessionDeleted:
    """No query finds the session any more."""

    session_id: str


@dataclass(frozen=True)
class TurnQueued:
    """A turn is stored, and waits for the one before it."""

    turn_id: str
    session_id: str


@dataclass(frozen=True)
class TurnEnded:
    """A turn's end is stored."""

    turn_id: str
    session_id: str
    status: Status


@dataclass(frozen=True)
class EventsMissed:
    """Events were dropped before this reader came to them."""

    detail: str


Payload = (
    TurnStarted
    | TurnRestarted
    | MessageDelta
    | ReasoningDelta
    | Message
    | Reply
    | Failure
    | Session
    | SessionTitled
    | SessionDeleted
    | TurnQueued
    | TurnEnded
    | EventsMissed
    # The JSON of an event that another process has published.
    | orjson.Fragment
)


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What an event carries, and when it is sent, as the documentation says it."""

    payload: type[Payload]
    meaning: str


EVENTS: dict[EventType, EventSpec] = {
    EventType.TURN_STARTED: EventSpec(
        TurnStarted, "the message is on disk; the turn may still be queued"
    ),
    EventType.TURN_RESTARTED: EventSpec(
        TurnRestarted, "the text so far is void, because the turn runs again"
    ),
    EventType.MESSAGE_DELTA: EventSpec(
        MessageDelta, "the next piece of the text of the message under way"
    ),
    EventType.REASONING_DELTA: EventSpec(
        ReasoningDelta, "the next piece of the model's reasoning, where it shows one"
    ),
    EventType.MESSAGE_COMPLETED: EventSpec(
        Message,
        "a step on the way to the reply, whole: a call of tools, or a result; the pieces after it "
        "belong to the next message",
    ),
    EventType.TURN_COMPLETED: EventSpec(Reply, "the turn ended, and its reply is on disk"),
    EventType.TURN_FAILED: EventSpec(Failure, "the turn ended with an error"),
    EventType.TURN_CANCELLED: EventSpec(Failure, "the turn was stopped"),
    EventType.TURN_INTERRUPTED: EventSpec(
        Failure, "the server stopped during every attempt of the turn"
    ),
    EventType.SESSION_CREATED: EventSpec(
        Session, "the first message of a session is on disk, or the session was imported"
    ),
    EventType.SESSION_TITLED: EventSpec(
        SessionTitled, "the model's title for a session is on disk"
    ),
    EventType.SESSION_UPDATED: EventSpec(Session, "the session was changed"),
    EventType.SESSION_DELETED: EventSpec(SessionDeleted, "the session was deleted, or has expired"),
    EventType.TURN_QUEUED: EventSpec(
        TurnQueued, "a turn is on disk, and waits for the one before it"
    ),
    EventType.TURN_ENDED: EventSpec(TurnEnded, "a turn has ended, and its end is on disk"),
    EventType.EVENTS_MISSED: EventSpec(EventsMissed, "some events are no longer available"),
}
"""Every event. A `Failure` is sent as the problem document of its error."""


class Event(NamedTuple):
    """One event; its `id` is a position from which the stream can be read again."""

    id: str
    type: EventType
    payload: Payload


class Position(NamedTuple):
    """A position in a turn's stream: after which of its events to read on.

    Attributes:
        attempt: Which run of the turn, from 1.
        offset: Characters that were read of the message under way, its reasoning included.
        is_titled: Whether the title was read.
        is_end: Whether the last event was read.
        steps: How many whole messages were read before that one.

    """

    attempt: int
    offset: int = 0
    is_titled: bool = False
    is_end: bool = False
    steps: int = 0

    @classmethod
    def parse(cls, event_id: str) -> Self:
        """Read a position from an event's id. Raises `InvalidRequest`."""
        match = _POSITION.fullmatch(event_id)
        if match is None:
            raise InvalidRequest("The position is not the id of a turn's event.")
        attempt, steps, offset, titled, end = match.groups()
        return cls(int(attempt), int(offset), bool(titled), bool(end), int(steps or 0))

    def __str__(self) -> str:
        """The id of the event at this position."""
        flags = "t" * self.is_titled + "e" * self.is_end
        steps = f".{self.steps}" if self.steps else ""
        return f"{self.attempt}{steps}-{self.offset}{flags}"


END_EVENTS = {
    Status.COMPLETED: EventType.TURN_COMPLETED,
    Status.FAILED: EventType.TURN_FAILED,
    Status.CANCELLED: EventType.TURN_CANCELLED,
    Status.INTERRUPTED: EventType.TURN_INTERRUPTED,
}
"""The last event of a turn's stream, by the status in which the turn ended."""


def end_status(error: ChatError | None) -> Status:
    """The status of a turn that ended with this error, or with `None` completely."""
    if error is None:
        return Status.COMPLETED
    if isinstance(error, TurnCancelled):
        return Status.CANCELLED
    return Status.INTERRUPTED if isinstance(error, TurnInterrupted) else Status.FAILED
