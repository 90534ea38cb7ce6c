"""Whole messages of an agent on the way to its reply: calls of tools, and their results."""

from typing import TYPE_CHECKING

import orjson

from chatkeep.domain.blocks import MAX_BLOCKS, ToolCall, ToolResult, call_block, result_block
from chatkeep.domain.model import MessageContent, Role
from chatkeep.domain.validation import MAX_JSON_DEPTH, replace_unstorable, storable_json
from chatkeep.providers.text import Cleaner
from chatkeep.providers.tool_calls import MAX_NAME_CHARS, new_call_id

if TYPE_CHECKING:
    from langchain_core.messages import ToolCall as LangChainCall

    from chatkeep.providers.protocol import Output

MAX_ARGS_BYTES = 524_288

MAX_RESULT_CHARS = 1_000_000
"""Of what a tool returned; the rest is cut off."""


def step_content(message: "Output", cleaner: Cleaner) -> MessageContent:
    """A step as it is stored.

    Args:
        message: What an agent has written, or what a tool has returned.
        cleaner: One that has cleaned nothing yet.

    """
    if message.type == "tool":
        text = cleaner.clean(message.text[:MAX_RESULT_CHARS]) + cleaner.end()
        result = ToolResult(
            _name(getattr(message, "tool_call_id", "")) or new_call_id(),
            _name(message.name) or None,
            getattr(message, "status", "success") == "error",
        )
        return MessageContent(Role.TOOL, text, (result_block(result),))
    calls: dict[str, ToolCall] = {}
    for call in getattr(message, "tool_calls", [])[:MAX_BLOCKS]:
        made = _call(call)
        call_id = made.id if made.id and made.id not in calls else new_call_id()
        calls[call_id] = made._replace(id=call_id)
    return MessageContent(Role.ASSISTANT, "", tuple(map(call_block, calls.values())))


def _call(call: "LangChainCall") -> ToolCall:
    args = storable_json(call["args"], levels=MAX_JSON_DEPTH - 2)
    if not isinstance(args, dict):
        args = {}
    if len(orjson.dumps(args)) > MAX_ARGS_BYTES:
        args = {"left_out": "These arguments are too long to be stored."}
    return ToolCall(_name(call["id"]), _name(call["name"]), args)


def _name(value: object) -> str:
    return replace_unstorable(str(value or ""))[:MAX_NAME_CHARS]
