"""The ids of OpenAI's objects. Each is made of an id of ours: none is stored.

A response is a turn, and a conversation is a session by its own name. An item that a turn has
written is named after the turn and counted within it, from the first step to the end of the reply;
every other item after its message, and counted within that. The first item has no number.
"""

import re
from typing import Literal, NamedTuple

from chatkeep.domain.errors import TurnNotFound

ItemKind = Literal["rs", "msg", "fc", "fco"]
"""Reasoning, message, call of a function, output of a function."""

_RESPONSE = re.compile(r"resp_([0-9a-f]{32})")
_ITEM = re.compile(r"(?:rs|msg|fc|fco)_([0-9a-f]{32})(?:_([1-9]\d{0,3}))?")


class ItemRef(NamedTuple):
    """Which item an id names: the `number`-th of a turn, or else of a message."""

    hex: str
    number: int

    @property
    def turn_id(self) -> str:
        """The turn that it may be of."""
        return f"turn_{self.hex}"

    @property
    def message_id(self) -> str:
        """The message that it may be of."""
        return f"msg_{self.hex}"


def response_id(turn_id: str) -> str:
    """The id of a turn's response."""
    return "resp_" + turn_id.removeprefix("turn_")


def turn_id_of(response_id: str) -> str:
    """The turn of a response. Raises `TurnNotFound` for what cannot be the id of one."""
    match = _RESPONSE.fullmatch(response_id)
    if match is None:
        raise TurnNotFound("There is no such response.")
    return f"turn_{match[1]}"


def item_id(kind: ItemKind, owner: str, number: int) -> str:
    """The id of an item.

    Args:
        kind: What it is.
        owner: The id of its turn if that has written it, else of its message.
        number: How many items of its owner are before it.

    """
    suffix = f"_{number}" if number else ""
    return f"{kind}_{owner.rpartition('_')[2]}{suffix}"


def item_ref(item_id: str) -> ItemRef | None:
    """Which item an id names; `None` for an id that was not made here."""
    match = _ITEM.fullmatch(item_id)
    return None if match is None else ItemRef(match[1], int(match[2] or 0))


def created_at(turn_id: str) -> int:
    """When a turn was created, in seconds since 1970: a UUIDv7 begins with it (RFC 9562, 5.7)."""
    return int(turn_id.rpartition("_")[2][:12], 16) // 1000
