"""The server's own client of OpenAI's chat completions, which most servers of models speak too.

https://platform.openai.com/docs/api-reference/chat/create. `Any` is decoded JSON of others.
"""

import re
from typing import Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage, ContentBlock, ToolCall, ToolMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from chatkeep.providers.direct_client import ChunkBuffer, DirectModel, Messages

_REASONING_MODEL = re.compile(r"^o\d")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
"""Reasoning as DeepSeek, llama.cpp and vLLM spell it, OpenRouter, and others."""


class ChatCompletions(DirectModel):
    """A model behind `POST /chat/completions`."""

    def _request_body(
        self, messages: Messages, stop: list[str] | None, params: dict[str, Any]
    ) -> dict[str, Any]:
        # The role that reasoning models have for the system's message.
        system = "developer" if _REASONING_MODEL.match(self.model) else "system"
        body = {
            "model": self.model,
            "messages": [_message(message, system) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **params.pop("extra_body", {}),
        }
        if stop:
            body["stop"] = stop
        if (limit := params.pop("max_tokens", None)) is not None:
            body["max_completion_tokens"] = limit
        return body | params

    def _read_payload(self, payload: dict[str, Any], chunk: ChunkBuffer) -> None:
        choices = payload.get("choices")
        if choices.__class__ is list:
            chunk.is_answer = True
            for choice in choices:
                # One is requested.
                if choice.__class__ is dict and not choice.get("index"):
                    _read_choice(choice, chunk)
        usage = payload.get("usage")
        if usage.__class__ is dict:
            chunk.set_usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        if payload.get("object") == "error" and not payload.get("error"):
            # The form of vLLM and servers like it.
            payload["error"] = {name: payload[name] for name in payload if name != "object"}


def _read_choice(choice: dict[str, Any], chunk: ChunkBuffer) -> None:
    # A whole answer, as servers give it that do not stream, is in `message`.
    delta = choice.get("delta") or choice.get("message")
    if delta.__class__ is dict:
        content = delta.get("content")
        if content.__class__ is str:
            chunk.text += content
        # Nearly all chunks have a text and nothing else.
        if content.__class__ is not str or len(delta) > 1 + ("role" in delta):
            _read_rest(delta, chunk)
    if reason := choice.get("finish_reason"):
        chunk.finish_reason = str(reason)


def _read_rest(delta: dict[str, Any], chunk: ChunkBuffer) -> None:
    """Read what comes beside a text, or in place of it."""
    content = delta.get("content")
    if isinstance(content, list):
        chunk.text += "".join(_text(part) for part in content)
    for name in _REASONING_FIELDS:
        if reasoning := delta.get(name):
            chunk.reasoning += reasoning if isinstance(reasoning, str) else " "
            break
    if isinstance(refusal := delta.get("refusal"), str):
        # The model's words are the reply, even where they decline.
        chunk.text += refusal
    calls = delta.get("tool_calls") or ([{}] if delta.get("function_call") else [])
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            chunk.tool_calls.append(_call_chunk(call, number))


def _call_chunk(call: dict[str, Any], number: int) -> ToolCallChunk:
    """A piece of a call; where a server gives no index, its position stands for it."""
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    index, args = call.get("index"), function.get("arguments")
    if isinstance(args, dict):
        # As some servers send it, against the specification.
        args = orjson.dumps(args).decode()
    return tool_call_chunk(
        name=_string(function.get("name")),
        args=_string(args),
        id=_string(call.get("id")),
        index=index if type(index) is int else number,
    )


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _message(message: tuple[str, str] | BaseMessage, system: str) -> dict[str, Any]:
    """A message as the protocol has it."""
    if isinstance(message, tuple):
        role, text = message
        return {"role": system if role == "system" else role, "content": text}
    if isinstance(message, ToolMessage):
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
    if isinstance(message, AIMessage):
        calls = [_call(call) for call in message.tool_calls]
        content = message.text or None if calls else message.text
        return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}
    role = system if message.type == "system" else "user"
    if isinstance(message.content, str):
        return {"role": role, "content": message.content}
    return {"role": role, "content": [_part(block) for block in message.content_blocks]}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": orjson.dumps(call["args"]).decode()}
    return {"id": call["id"], "type": "function", "function": function}


def _part(block: ContentBlock) -> dict[str, Any]:
    """A block of a user's message as a part of its content."""
    if block["type"] == "image":
        url = block.get("url") or f"data:{block.get('mime_type')};base64,{block.get('base64')}"
        return {"type": "image_url", "image_url": {"url": url}}
    if block["type"] == "file":
        data = f"data:{block.get('mime_type')};base64,{block.get('base64')}"
        # Where providers' clients have it.
        name = block.get("filename")
        name = name if isinstance(name, str) else "document.pdf"
        return {"type": "file", "file": {"filename": name, "file_data": data}}
    text = block.get("text")
    return {"type": "text", "text": text if isinstance(text, str) else ""}


def _text(part: object) -> str:
    """The text of a part of a content; of other kinds, such as reasoning, there is none."""
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""
