"""Calls of tools as they come, piece by piece, in an answer. Pure."""

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatkeep.domain.blocks import MAX_BLOCKS, MAX_BYTES, ToolCall
from chatkeep.domain.errors import AnswerUnreadable
from chatkeep.domain.validation import MAX_JSON_DEPTH, replace_unstorable, storable_json

if TYPE_CHECKING:
    from langchain_core.messages.tool import ToolCallChunk

MAX_NAME_CHARS = 255


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    args: str = ""


class CallBuffer:
    """The calls of one answer."""

    __slots__ = ("_calls", "_size")

    def __init__(self) -> None:
        """Begin with none."""
        # By their index in the answer, or what stands for it.
        self._calls: dict[object, _Call] = {}
        self._size = 0

    def add(self, chunk: "ToolCallChunk") -> int:
        """Add a piece of a call. Returns how many bytes it has.

        Raises `AnswerUnreadable` for more than a message may hold.
        """
        index, call_id = chunk.get("index"), chunk.get("id") or ""
        # Without an index, each is a call by itself.
        key: object = index if index is not None else object()
        call = self._calls.setdefault(key, _Call())
        if call.id and call_id and call_id != call.id:
            # A server that gives all of its calls the same index: what follows is the newest's.
            self._calls[object()] = self._calls.pop(key)
            call = self._calls[key] = _Call()
        name, args = chunk.get("name") or "", chunk.get("args") or ""
        call.id = call.id or call_id
        call.name = call.name or name
        call.args += args
        size = len(name.encode(errors="replace")) + len(args.encode(errors="replace"))
        self._size += size
        if self._size > MAX_BYTES or len(self._calls) > MAX_BLOCKS:
            raise AnswerUnreadable("The model called more tools than a message can hold.")
        return size

    def calls(self) -> tuple[ToolCall, ...]:
        """The whole calls, each with an id of its own.

        Raises `AnswerUnreadable` for one without a name, or whose arguments are no JSON object.
        """
        calls: dict[str, ToolCall] = {}
        for call in self._calls.values():
            call_id = replace_unstorable(call.id)[:MAX_NAME_CHARS]
            if not call_id or call_id in calls:
                call_id = new_call_id()
            name = replace_unstorable(call.name)[:MAX_NAME_CHARS]
            if not name:
                raise AnswerUnreadable("The model called a tool without a name.")
            calls[call_id] = ToolCall(call_id, name, _arguments(call.args))
        return tuple(calls.values())


def new_call_id() -> str:
    """An id for a call whose provider gives none, of a form that every provider accepts."""
    return f"call_{secrets.token_hex(12)}"


def _arguments(text: str) -> "dict[str, object]":
    try:
        args = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        args = None
    if not isinstance(args, dict):
        raise AnswerUnreadable("The model called a tool with arguments that are no JSON object.")
    # In its block it is two levels down.
    storable = storable_json(args, levels=MAX_JSON_DEPTH - 2)
    return storable if isinstance(storable, dict) else {}
