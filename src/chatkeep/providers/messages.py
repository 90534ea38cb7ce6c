"""A prompt as LangChain takes it: pairs of texts, or its messages where there is more than text."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from chatkeep.domain.blocks import Block, Blocks, text_of, tool_calls, tool_result
from chatkeep.domain.model import FileContent, MessageContent, Prompt, Role
from chatkeep.domain.validation import is_blank
from chatkeep.providers.capabilities import Capabilities

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    PromptMessages = list[tuple[str, str]] | list[BaseMessage]

ROLES = {
    Role.USER: "user",
    Role.ASSISTANT: "assistant",
    # Those of imported conversations too: a tool's output belongs to the answer, and not every
    # provider accepts a system message after the first message.
    Role.SYSTEM: "user",
    Role.TOOL: "assistant",
}
"""The roles of texts by LangChain's names."""

OPENING = "(The beginning of this conversation is left out.)"

EMPTY = "(empty)"
"""In place of a text that providers refuse."""

LEFT_OUT = {
    "image": "(A picture that this model cannot see is left out.)",
    "file": "(A document that this model cannot read is left out.)",
}


def opening(capabilities: Capabilities, first: Role) -> MessageContent | None:
    """The message to send before a conversation whose first message has this role."""
    if capabilities.needs_user_first and first in {Role.ASSISTANT, Role.TOOL}:
        return MessageContent(Role.USER, OPENING)
    return None


def sent_blocks(capabilities: Capabilities, blocks: Blocks | None) -> Blocks | None:
    """The blocks that a model is sent: without the reasoning that its provider does not want."""
    if blocks is None:
        return None
    sent = tuple(block for block in blocks if _is_sent(capabilities, block))
    return None if all(block["type"] == "text" for block in sent) else sent


def _is_sent(capabilities: Capabilities, block: Block) -> bool:
    if block["type"] != "reasoning":
        return True
    has_signature = bool((block.get("extras") or {}).get("signature"))
    return capabilities.wants_signed_reasoning and has_signature


def prompt_messages(capabilities: Capabilities, prompt: Prompt) -> "PromptMessages":
    """The messages of a prompt, with an opening where the provider may demand one."""
    messages = prompt.messages
    if (first := opening(capabilities, messages[0].role)) is not None:
        messages = (first, *messages)
    if all(message.blocks is None for message in messages):
        # LangChain takes pairs too, which cost nothing to make.
        pairs = [] if prompt.system is None else [("system", prompt.system)]
        return pairs + [(ROLES[message.role], message.text) for message in messages]
    return langchain_messages(capabilities, replace(prompt, messages=messages))


def langchain_messages(capabilities: Capabilities, prompt: Prompt) -> "list[BaseMessage]":
    """The messages of a prompt as LangChain's."""
    from langchain_core.messages import SystemMessage

    system: list[BaseMessage] = [] if prompt.system is None else [SystemMessage(prompt.system)]
    return system + [_message(capabilities, message, prompt.files) for message in prompt.messages]


def _message(
    capabilities: Capabilities, message: MessageContent, files: Mapping[str, FileContent]
) -> "BaseMessage":
    """A message as one of LangChain's.

    Args:
        capabilities: What its model can do: what it cannot see is replaced by a sentence.
        message: The message.
        files: What its blocks refer to.

    """
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    role, text, blocks, message_id = message
    if blocks is None:
        is_user = ROLES[role] == "user"
        return (HumanMessage if is_user else AIMessage)(text, id=message_id)
    result = tool_result(blocks)
    if result is not None:
        return ToolMessage(
            text or "(The tool returned nothing.)",
            tool_call_id=result.call_id,
            name=result.name,
            status="error" if result.is_error else "success",
            id=message_id,
        )
    if role is Role.ASSISTANT:
        calls = [
            {"type": "tool_call", "id": call.id, "name": call.name, "args": call.args}
            for call in tool_calls(blocks)
        ]
        # A message of nothing but what is not known here is sent as its rendition.
        written = text_of(text, blocks) or ("" if calls else text)
        content = _written(capabilities, written, blocks)
        return AIMessage(content=content, tool_calls=calls, id=message_id)
    # The list's type is LangChain's, which allows strings in it too.
    parts: list[str | Block] = [_part(capabilities, text, block, files) for block in blocks]
    return HumanMessage(content=parts, id=message_id)


def _written(capabilities: Capabilities, text: str, blocks: Blocks) -> str | list[str | Block]:
    """The content of a model's message: its text, and what its provider wants to have back."""
    if not capabilities.wants_signed_reasoning:
        return text
    parts: list[str | Block] = [
        {
            "type": "thinking",
            "thinking": block["reasoning"],
            "signature": block["extras"]["signature"],
        }
        for block in blocks
        if block["type"] == "reasoning" and _is_sent(capabilities, block)
    ]
    if not parts:
        return text
    return [*parts, {"type": "text", "text": text}] if text else parts


def _part(
    capabilities: Capabilities, text: str, block: Block, files: Mapping[str, FileContent]
) -> Block:
    """A block of a user's message as LangChain's standard content block."""
    kind = block["type"]
    if kind == "text":
        own = block.get("text", text)
        return {"type": "text", "text": EMPTY if is_blank(own) else own}
    if kind not in LEFT_OUT:
        return {"type": "text", "text": f"({kind})"}
    file, url = files.get(block.get("file_id", "")), block.get("url")
    can_see = capabilities.sees_pictures if kind == "image" else capabilities.reads_documents
    if not can_see or (file is None and (url is None or not capabilities.fetches_urls)):
        return {"type": "text", "text": LEFT_OUT[kind]}
    name = {"filename": block["filename"]} if "filename" in block else {}
    if file is None:
        return {"type": kind, "url": url, **name}
    data = b64encode(file.data).decode()
    return {"type": kind, "base64": data, "mime_type": file.mime_type, **name}
