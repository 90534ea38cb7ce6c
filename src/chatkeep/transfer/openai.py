"""Messages as OpenAI's API and its files for fine-tuning have them.

https://platform.openai.com/docs/api-reference/chat/create. `Any` is JSON of that format.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from chatkeep.domain.blocks import Block, ToolCall, text_of, tool_calls, tool_result
from chatkeep.domain.context import paired
from chatkeep.domain.model import FileContent, Message, MessageContent, Role

DOCUMENT_NAME = "document.pdf"
"""Of a document whose block has no name."""


class Exchanges:
    """The messages of a conversation, each call of a tool with its result, in flat memory."""

    def __init__(self) -> None:
        """Begin a conversation."""
        self._open: list[Message] = []

    def add(self, messages: Sequence[Message]) -> Iterator[MessageContent]:
        """Add the next messages; yield those whose exchange is complete."""
        messages = [*self._open, *messages]
        end = _open_exchange(messages)
        self._open = messages[end:]
        return _paired(messages[:end])

    def end(self) -> Iterator[MessageContent]:
        """Yield the rest."""
        return _paired(self._open)


def as_json(message: MessageContent, files: Mapping[str, FileContent]) -> dict[str, Any]:
    """A message as OpenAI has it.

    Args:
        message: One of `Exchanges`.
        files: What its blocks refer to. What is missing is left out.

    """
    role, text, blocks, _ = message
    if blocks is None:
        return {"role": role, "content": text}
    result = tool_result(blocks)
    if result is not None:
        return {"role": role, "tool_call_id": result.call_id, "content": text}
    text = text_of(text, blocks)
    if calls := [_call(call) for call in tool_calls(blocks)]:
        return {"role": role, "content": text or None, "tool_calls": calls}
    if role is Role.USER:
        parts = [part for block in blocks if (part := _part(block, text, files)) is not None]
        if any(part["type"] != "text" for part in parts):
            return {"role": role, "content": parts}
    return {"role": role, "content": text}


def _open_exchange(messages: Sequence[Message]) -> int:
    """The index of calls at the end whose results may follow; the length if there are none."""
    index = len(messages)
    while index and tool_result(messages[index - 1].blocks) is not None:
        index -= 1
    has_calls = index > 0 and bool(tool_calls(messages[index - 1].blocks))
    return index - 1 if has_calls else len(messages)


def _paired(messages: Sequence[Message]) -> Iterator[MessageContent]:
    results = {message.id for message in messages if tool_result(message.blocks) is not None}
    contents = (
        MessageContent(message.role, message.content, message.blocks, message.id)
        for message in messages
    )
    for content in paired(contents):
        # A result without its call. OpenAI has no message of a tool without one.
        is_orphan = content.blocks is None and content.id in results
        yield content._replace(role=Role.ASSISTANT) if is_orphan else content


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": orjson.dumps(call.args).decode()}
    return {"id": call.id, "type": "function", "function": function}


def _part(block: Block, text: str, files: Mapping[str, FileContent]) -> dict[str, Any] | None:
    """A block of a user's message as a part of its content; `None` if there is none like it."""
    kind = block["type"]
    if kind == "text":
        return {"type": "text", "text": block.get("text", text)}
    file = files.get(block.get("file_id", ""))
    data = file and f"data:{file.mime_type};base64,{b64encode(file.data).decode()}"
    if kind == "image" and (url := data or block.get("url")):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "file" and data:
        filename = block.get("filename") or DOCUMENT_NAME
        return {"type": "file", "file": {"filename": filename, "file_data": data}}
    return None
