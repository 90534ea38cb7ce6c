"""OpenAI's protocol of chat completions, which most servers of models speak too.

https://platform.openai.com/docs/api-reference/chat/create
"""

import os
import re
from typing import Any

from chatkeep.providers.direct_client import DirectModel, Heard, Said

URL = "https://api.openai.com/v1"

_RESPONSES_ONLY = re.compile(r"codex|^gpt-5(\.\d+)?-pro|^gpt-5\.6-sol")
_REASONING = re.compile(r"^o\d")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
"""Reasoning as DeepSeek, llama.cpp and vLLM spell it, OpenRouter, and others."""


def speaks(model: str) -> bool:
    """Whether a model of OpenAI's answers here: some are on the newer Responses API only."""
    return _RESPONSES_ONLY.search(model) is None


def account() -> dict[str, str]:
    """The headers of the organization and the project, which OpenAI's client reads by itself."""
    named = {
        "OpenAI-Organization": os.environ.get("OPENAI_ORG_ID"),
        "OpenAI-Project": os.environ.get("OPENAI_PROJECT_ID"),
    }
    return {header: name for header, name in named.items() if name}


class OpenAI(DirectModel):
    """A model behind `POST /chat/completions`."""

    def _asked(self, said: Said, stop: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
        # The name that reasoning models know the system by.
        named = {"system": "developer"} if _REASONING.match(self.model) else {}
        asked = {
            "model": self.model,
            "messages": [{"role": named.get(who, who), "content": text} for who, text in said],
            "stream": True,
            "stream_options": {"include_usage": True},
            **given.pop("extra_body", {}),
        }
        if stop:
            asked["stop"] = stop
        if (limit := given.pop("max_tokens", None)) is not None:
            asked["max_completion_tokens"] = limit
        return asked | given

    def _hear(self, data: dict[str, Any], heard: Heard) -> None:
        choices = data.get("choices")
        if choices.__class__ is list:
            heard.is_answer = True
            for choice in choices:
                # One is asked for.
                if choice.__class__ is dict and not choice.get("index"):
                    _hear_choice(choice, heard)
        usage = data.get("usage")
        if usage.__class__ is dict:
            heard.count(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        if data.get("object") == "error" and not data.get("error"):
            # So say vLLM and servers like it.
            data["error"] = {name: data[name] for name in data if name != "object"}


def _hear_choice(choice: dict[str, Any], heard: Heard) -> None:
    # A whole answer, as servers give it that do not stream, is in `message`.
    delta = choice.get("delta") or choice.get("message")
    if delta.__class__ is dict:
        content = delta.get("content")
        if content.__class__ is str:
            heard.text += content
        # Nearly all chunks have a text and nothing else.
        if content.__class__ is not str or len(delta) > 1 + ("role" in delta):
            _hear_more(delta, heard)
    if reason := choice.get("finish_reason"):
        heard.finish_reason = str(reason)


def _hear_more(delta: dict[str, Any], heard: Heard) -> None:
    """Hear what stands beside a text, or in place of it."""
    content = delta.get("content")
    if isinstance(content, list):
        heard.text += "".join(_text(part) for part in content)
    for name in _REASONING_FIELDS:
        if reasoning := delta.get(name):
            heard.reasoning += reasoning if isinstance(reasoning, str) else " "
            break
    if isinstance(refusal := delta.get("refusal"), str):
        # The model's words are the reply, also where they say no.
        heard.text += refusal
    if delta.get("tool_calls") or delta.get("function_call"):
        heard.calls_tool = True


def _text(part: object) -> str:
    """The text of a part of a content; of other kinds, such as reasoning, there is none."""
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else ""
