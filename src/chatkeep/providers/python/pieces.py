"""Texts of what objects give: pieces of messages, and values that are no messages."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolMessage,
    message_chunk_to_message,
)
from pydantic_core import to_json

Output = AIMessageChunk | AIMessage | ToolMessage
"""What a run yields: a piece of the message under way, or a whole step."""


def piece(message: BaseMessage) -> AIMessageChunk | None:
    """Return text and reasoning of a message or of a chunk, or `None` if it has neither.

    The content is a text, or LangChain's standard blocks of the types `text` and `reasoning`.
    """
    # `Any`: a block is one of twenty typed dicts, of which two are of interest.
    content: str | list[Any]
    if isinstance(message.content, str) and not message.additional_kwargs:
        content = message.content
    else:
        content = [block for block in message.content_blocks if _has_words(block)]
        if all(_is_plain(block) for block in content):
            content = "".join(block["text"] for block in content)
    return AIMessageChunk(content=content, id=message.id) if content else None


def calling_step(message: AIMessage) -> AIMessage:
    """Return a message that calls tools as a whole one with an id."""
    message = cast("AIMessage", message_chunk_to_message(message))
    return message if message.id else message.model_copy(update={"id": str(uuid4())})


def result_step(message: ToolMessage) -> ToolMessage:
    """Return what a tool returned with an id."""
    return message if message.id else message.model_copy(update={"id": str(uuid4())})


def text_of(value: object) -> str:
    """Return the text of whatever an object returned.

    A message's text; of a dict the text of its last message, or its `output` or `answer`; of
    anything else its JSON.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseMessage):
        return value.text
    if isinstance(value, Mapping):
        messages = value.get("messages")
        if isinstance(messages, list) and messages and isinstance(messages[-1], BaseMessage):
            return messages[-1].text
        if (answer := answer_of(value)) is not None:
            return answer
    return to_json(value, fallback=str, bytes_mode="base64", inf_nan_mode="strings").decode()


def answer_of(value: Mapping[Any, object]) -> str | None:
    """Return what chains of LangChain call their answer, if the dict has it as a text."""
    texts = (value.get(key) for key in ("output", "answer"))
    return next((text for text in texts if isinstance(text, str)), None)


def _has_words(block: Mapping[str, Any]) -> bool:
    if block["type"] == "reasoning":
        # A block without words may have the provider's signature of those before.
        return bool(block.get("reasoning") or block.get("extras"))
    return block["type"] == "text" and bool(block.get("text") or block.get("annotations"))


def _is_plain(block: Mapping[str, Any]) -> bool:
    return block["type"] == "text" and not (block.get("annotations") or block.get("extras"))
