"""The server's own client of OpenAI's chat completions, which most servers of models speak too.

https://platform.openai.com/docs/api-reference/chat/create. `Any` is decoded JSON of others.
"""

import re
from typing import Any

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
        roles = {"system": "developer"} if _REASONING_MODEL.match(self.model) else {}
        body = {
            "model": self.model,
            "messages": [
                {"role": roles.get(role, role), "content": text} for role, text in messages
            ],
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
    if delta.get("tool_calls") or delta.get("function_call"):
        chunk.calls_tool = True


def _text(part: object) -> str:
    """The text of a part of a content; of other kinds, such as reasoning, there is none."""
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""
