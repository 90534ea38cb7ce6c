"""A turn as OpenAI's response: its members, whatever has become of it.

https://platform.openai.com/docs/api-reference/responses/object. `Any` is JSON of theirs.
"""

from collections.abc import Sequence
from typing import Any

from chatkeep.api.openai import errors
from chatkeep.api.openai.ids import created_at, response_id
from chatkeep.api.openai.items import COMPLETED, IN_PROGRESS, INCOMPLETE, Item, written_items
from chatkeep.domain.blocks import Block, Blocks, written_blocks
from chatkeep.domain.events import Failure, end_status
from chatkeep.domain.model import (
    Message,
    Reply,
    ReplyWithBlocks,
    Role,
    Status,
    Turn,
    TurnOptions,
    Usage,
)
from chatkeep.turns.stream import TurnStream

TOKENS_OUT = {"length", "max_tokens", "max_output_tokens", "incomplete"}
WITHHELD = {"content_filter", "safety", "sensitive"}
"""Reasons for which models end an answer early, in the words of their providers."""

_STATUS = {Status.FAILED: "failed", Status.INTERRUPTED: "failed", Status.CANCELLED: "cancelled"}

DEFAULTS: dict[str, object] = {
    "background": False,
    "max_tool_calls": None,
    "metadata": {},
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "top_logprobs": 0,
    "truncation": "disabled",
    "user": None,
}
"""What a response says where its request has said nothing."""


def response_object(
    turn: Turn,
    tools: Sequence[Block],
    *,
    status: str = IN_PROGRESS,
    output: Sequence[Item] = (),
    usage: Usage | None = None,
    error: dict[str, Any] | None = None,
    incomplete: str | None = None,
    completed_at: int | None = None,
    is_visible: bool = True,
) -> dict[str, Any]:
    """A response.

    Args:
        turn: The turn.
        tools: Those that it offers, as chat completions have them.
        status: Where it is.
        output: What it has written.
        usage: Its tokens; `None` while they are not known.
        error: Why it has failed.
        incomplete: Why its answer ended early.
        completed_at: When it was completed, in seconds since 1970.
        is_visible: False for a caller who does not see the instructions.

    """
    options = turn.options
    client = options.client or {}
    body: dict[str, Any] = {
        "id": response_id(turn.turn_id),
        "object": "response",
        "created_at": created_at(turn.turn_id),
        "completed_at": completed_at,
        "status": status,
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "model": turn.model,
        "instructions": options.system_prompt or None if is_visible else None,
        "output": list(output),
        "error": error,
        "tools": [_flat(tool) for tool in tools],
        "usage": None if usage is None else usage_object(usage),
        "conversation": {"id": turn.session_id} if client.get("conversation") else None,
    }
    body |= _demands(options)
    return body | {name: client.get(name, default) for name, default in DEFAULTS.items()}


def _demands(options: TurnOptions) -> dict[str, Any]:
    """How the model was asked."""
    return {
        "tool_choice": _choice(options.tool_choice),
        "parallel_tool_calls": options.parallel_tool_calls is not False,
        "text": {"format": _format(options.response_format)},
        "temperature": 1.0 if options.temperature is None else options.temperature,
        "top_p": 1.0 if options.top_p is None else options.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_output_tokens": options.max_tokens,
        "reasoning": {
            "effort": options.reasoning_effort,
            "summary": (options.client or {}).get("reasoning_summary"),
        },
    }


def response_of(
    stream: TurnStream, tools: Sequence[Block], *, is_visible: bool = True
) -> dict[str, Any]:
    """The response of a turn as far as its stream has come. The arguments are as above."""
    turn, end = stream.turn, stream.ended
    if end is None:
        status = "queued" if turn.status is Status.QUEUED else IN_PROGRESS
        output = _output(stream, None, IN_PROGRESS)
        return response_object(turn, tools, status=status, output=output, is_visible=is_visible)
    if isinstance(end, Failure):
        status = _STATUS[end_status(end.error)]
        return response_object(
            turn,
            tools,
            status=status,
            output=_output(stream, None, INCOMPLETE),
            error=errors.response_error(end.error) if status == "failed" else None,
            is_visible=is_visible,
        )
    incomplete = incomplete_reason(end)
    is_whole = incomplete is None
    return response_object(
        turn,
        tools,
        status=COMPLETED if is_whole else INCOMPLETE,
        output=_output(stream, end, COMPLETED if is_whole else INCOMPLETE),
        usage=end.usage if stream.counted is None else stream.counted,
        incomplete=incomplete,
        completed_at=stream.ended_at // 1_000_000 if is_whole and stream.ended_at else None,
        is_visible=is_visible,
    )


def incomplete_reason(reply: Reply) -> str | None:
    """Why an answer ended early, in OpenAI's words; `None` if it is whole."""
    if reply.finish_reason in TOKENS_OUT:
        return "max_output_tokens"
    if reply.finish_reason in WITHHELD:
        return "content_filter"
    return None


def usage_object(usage: Usage) -> dict[str, Any]:
    """The tokens of a turn."""
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def reply_message(stream: TurnStream, blocks: Blocks | None) -> Message:
    """The last message of a turn, which has the text of its stream."""
    turn = stream.turn
    return Message(
        id=turn.message_id,
        role=Role.ASSISTANT,
        content=stream.text,
        created_at="",
        status=turn.status,
        turn_id=turn.turn_id,
        parent_id=None,
        blocks=blocks,
    )


def _output(stream: TurnStream, reply: Reply | None, status: str) -> list[Item]:
    """What a turn has written so far; its last text or reasoning has a status of its own."""
    items = written_items(_written(stream, reply), stream.turn.turn_id)
    if items and stream.segments and items[-1]["type"] in {"message", "reasoning"}:
        items[-1]["status"] = status
    return items


def _written(stream: TurnStream, reply: Reply | None) -> list[Message]:
    """What a turn has written so far."""
    if reply is not None:
        blocks = reply.blocks if isinstance(reply, ReplyWithBlocks) else None
    else:
        blocks = written_blocks(stream.segments, ())
        if blocks is not None:
            text = stream.text
            blocks = tuple(
                {**block, "text": block.get("text", text)} if block["type"] == "text" else block
                for block in blocks
            )
    return [*stream.steps, reply_message(stream, blocks)]


def _flat(tool: Block) -> dict[str, Any]:
    """A tool as the Responses API has it."""
    function = tool["function"]
    return {
        "type": "function",
        "name": function["name"],
        "description": function.get("description"),
        "parameters": function.get("parameters"),
        "strict": function.get("strict", False),
    }


def _choice(choice: str | Block | None) -> str | dict[str, Any]:
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    return {"type": "function", "name": choice["function"]["name"]}


def _format(form: Block | None) -> dict[str, Any]:
    if form is None:
        return {"type": "text"}
    schema = form.get("json_schema")
    if not isinstance(schema, dict):
        return {"type": form["type"]}
    return {
        "type": form["type"],
        "name": schema["name"],
        "description": schema.get("description"),
        "schema": schema.get("schema") or {},
        "strict": schema.get("strict", False),
    }
