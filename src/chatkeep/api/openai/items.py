"""Messages as items, the pieces of OpenAI's conversations.

https://platform.openai.com/docs/api-reference/responses/object. `Any` is JSON of theirs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from chatkeep.api.openai.ids import item_id
from chatkeep.domain.blocks import Block, tool_result
from chatkeep.domain.model import Message, MessageContent, Role

Item = dict[str, Any]

IN_PROGRESS, INCOMPLETE, COMPLETED = "in_progress", "incomplete", "completed"


def text_item(text: str, owner: str, number: int, status: str = COMPLETED) -> Item:
    """A text that a model has written."""
    return {
        "id": item_id("msg", owner, number),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [text_part(text)],
    }


def text_part(text: str) -> Item:
    """The content of such a text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def reasoning_item(text: str, owner: str, number: int, status: str = COMPLETED) -> Item:
    """What a model has shown of its reasoning."""
    return {
        "id": item_id("rs", owner, number),
        "type": "reasoning",
        "status": status,
        "summary": [{"type": "summary_text", "text": text}],
    }


def call_item(call: Block, owner: str, number: int) -> Item:
    """A call of a function."""
    return {
        "id": item_id("fc", owner, number),
        "type": "function_call",
        "status": COMPLETED,
        "call_id": call["id"],
        "name": call["name"],
        "arguments": orjson.dumps(call["args"]).decode(),
    }


def output_item(message: Message | MessageContent, owner: str, number: int) -> Item:
    """The output of a function."""
    text = message.content if isinstance(message, Message) else message.text
    result = tool_result(message.blocks)
    return {
        "id": item_id("fco", owner, number),
        "type": "function_call_output",
        "status": COMPLETED,
        "call_id": "" if result is None else result.call_id,
        "output": text,
    }


def written_items(messages: Iterable[Message], owner: str) -> list[Item]:
    """The items of messages that a model has written, or an agent's tools, in their order.

    Args:
        messages: Those of one turn, or one message that has no turn.
        owner: What the items are named after: see `item_id`.

    """
    return [item for _, items in items_by_message(messages, owner) for item in items]


def items_by_message(
    messages: Iterable[Message], owner: str
) -> Iterator[tuple[Message, list[Item]]]:
    """The same, message by message."""
    number = 0
    for message in messages:
        items = list(_items_of(message, owner, number))
        number += len(items)
        yield message, items


def _items_of(message: Message, owner: str, first: int) -> Iterator[Item]:
    if message.role is Role.TOOL:
        yield output_item(message, owner, first)
        return
    for number, block in enumerate(_merged(message), first):
        if block["type"] == "tool_call":
            yield call_item(block, owner, number)
        elif block["type"] == "reasoning":
            yield reasoning_item(block["reasoning"], owner, number)
        else:
            yield text_item(block["text"], owner, number)


def _merged(message: Message) -> Iterator[Block]:
    """A message's texts, reasonings and calls; what has nothing between it is one.

    So is it streamed: nobody sees where one reasoning ended and another began.
    """
    blocks = message.blocks or ({"type": "text", "text": message.content},)
    pending: Block | None = None
    for block in blocks:
        kind = block["type"]
        if kind == "text" or kind == "reasoning":
            text = str(block.get(kind) or "")
            if pending is not None and pending["type"] == kind:
                pending = {"type": kind, kind: pending[kind] + text}
                continue
            if pending is not None and pending[pending["type"]]:
                yield pending
            pending = {"type": kind, kind: text}
        elif kind == "tool_call":
            if pending is not None and pending[pending["type"]]:
                yield pending
            pending = None
            yield block
    if pending is not None and pending[pending["type"]]:
        yield pending


def input_item(message: Message, files: str) -> Item:
    """A message of a user or the system, or the output of a function.

    Args:
        message: The message.
        files: The address below which the files of its session are.

    """
    if message.role is Role.TOOL:
        return output_item(message, message.id, 0)
    blocks = message.blocks or ({"type": "text", "text": message.content},)
    parts = [part for block in blocks if (part := _input_part(block, files)) is not None]
    return {
        "id": item_id("msg", message.id, 0),
        "type": "message",
        "role": message.role.value,
        "status": COMPLETED,
        "content": parts,
    }


def _input_part(block: Block, files: str) -> Item | None:
    kind, file_id = block["type"], block.get("file_id")
    address = block.get("url") if file_id is None else f"{files}/{file_id}"
    if kind == "text":
        return {"type": "input_text", "text": block.get("text") or ""}
    if kind == "image":
        return {"type": "input_image", "image_url": address, "detail": "auto", "file_id": None}
    if kind == "file":
        name = {"filename": block["filename"]} if "filename" in block else {}
        return {"type": "input_file", "file_url": address, **name}
    return None


def message_items(message: Message, files: str) -> list[Item]:
    """The items of a message that a client has sent, or that was imported."""
    if message.role is Role.ASSISTANT:
        return written_items([message], message.id)
    return [input_item(message, files)]
