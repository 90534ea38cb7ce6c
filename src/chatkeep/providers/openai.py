"""OpenAI's protocol of chat completions, which most servers of models speak too.

https://platform.openai.com/docs/api-reference/chat/create
"""

import os
import re
from typing import Any

from chatkeep.providers.direct import DirectModel, Heard, Said

URL = "https://api.openai.com/v1"

_RESPONSES_ONLY = re.compile(r"codex|^gpt-5(\.\d+)?-pro|^gpt-5\.6-sol")
_REASONING = re.compile(r"^o\d")


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

    def _hear(self, data: Any, heard: Heard) -> None:
        for choice in data.get("choices") or ():
            text = (choice.get("delta") or {}).get("content")
            if isinstance(text, str):
                heard.text += text
            heard.finish_reason = choice.get("finish_reason") or heard.finish_reason
        if usage := data.get("usage"):
            heard.count(usage.get("prompt_tokens"), usage.get("completion_tokens"))
