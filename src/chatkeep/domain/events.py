"""What happens in a turn, step by step, and positions in its stream."""

import re
from dataclasses import dataclass
from typing import Any, Self

from chatkeep.domain.errors import ChatError, InvalidRequest
from chatkeep.domain.model import Reply, Session

_POSITION = re.compile(r"([1-9]\d{0,8})-(0|[1-9]\d{0,11})(t?)(e?)")


@dataclass(frozen=True, slots=True)
class Failure:
    """How a turn ended that has no whole reply: why, and the text so far."""

    error: "ChatError"
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a turn. A turn's stream can be read again from any `id`."""

    id: str
    name: str
    data: "dict[str, Any] | Session | Reply | Failure"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a turn's log: the attempt, the characters of its text, what else was seen."""

    attempt: int
    offset: int = 0
    is_titled: bool = False
    is_end: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an event's id. Raises `InvalidRequest`."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise InvalidRequest("The position is not the id of a turn's event.")
        attempt, offset, titled, end = found.groups()
        return cls(int(attempt), int(offset), bool(titled), bool(end))

    def __str__(self) -> str:
        """The id of the event that leads here."""
        flags = "t" * self.is_titled + "e" * self.is_end
        return f"{self.attempt}-{self.offset}{flags}"
