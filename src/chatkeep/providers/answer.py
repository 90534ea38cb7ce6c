"""An answer as its chunks come: the text that is passed on, how it ended, and what that means.

Whichever client streams it. Pure.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chatkeep.domain.errors import (
    AnswerWithheld,
    AnswerWithoutText,
    ChatError,
    ModelFailed,
    ModelOutOfTokens,
)
from chatkeep.domain.model import Completion, Usage
from chatkeep.domain.validation import is_blank, replace_unstorable
from chatkeep.providers.text import Cleaner

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk
    from langchain_core.messages.ai import UsageMetadata

MAX_REASON_CHARS = 100

_OUT_OF_TOKENS = {"length", "max_tokens", "max_output_tokens", "incomplete"}
_WITHHELD = {"content_filter", "refusal", "safety", "sensitive"}
_BROKEN_OFF = {"error", "abort", "insufficient_system_resource", "load", "failed"}
"""Reasons to end that are a provider's failures: of OpenRouter, SGLang and vLLM, DeepSeek,
Ollama."""


class ReplyTooLongError(Exception):
    """Raised for a reply that has reached the limit; what there is of it counts."""


class Answer:
    """One answer of a model."""

    def __init__(self, on_text: Callable[[str], None], cleaner: Cleaner, *, max_chars: int) -> None:
        """Begin with no text.

        Args:
            on_text: Called with each piece of text, cleaned.
            cleaner: One that has cleaned nothing yet.
            max_chars: The length at which the answer is cut off, after the piece that reaches it.

        """
        self._on_text = on_text
        self._cleaner = cleaner
        self._max_chars = max_chars
        self._length = 0
        self._blank = True
        self._calls_tool = False
        self._reasoned = False
        self._usages: list[UsageMetadata] = []
        self.finish_reason: str | None = None
        self.bytes = 0
        """Of UTF-8, reasoning included: what was most likely paid for."""
        self.has_begun = False
        """True once a token came, be it of text or of reasoning."""

    @property
    def usage(self) -> Usage:
        """The tokens of all chunks: providers count each token in one chunk only."""
        read = sum(usage["input_tokens"] for usage in self._usages)
        written = sum(usage["output_tokens"] for usage in self._usages)
        return Usage(_counted(read), _counted(written))

    @property
    def has_text(self) -> bool:
        """True if any text was passed on."""
        return self._length > 0

    @property
    def is_whole(self) -> bool:
        """True if there is text and its model has ended it: what follows can change nothing."""
        reason = self.finish_reason
        return reason is not None and not self._blank and reason not in _BROKEN_OFF

    def read(self, chunk: "AIMessageChunk") -> None:
        """Take the next chunk. Raises `ReplyTooLongError`."""
        more, content = chunk.additional_kwargs, chunk.content
        if content or more:
            self.has_begun = True
        if chunk.tool_call_chunks:
            self._calls_tool = True
        if chunk.usage_metadata:
            self._usages.append(chunk.usage_metadata)
        if more or (content and type(content) is not str):
            self._take_reasoning(chunk)
        metadata = chunk.response_metadata
        for key in ("finish_reason", "stop_reason", "done_reason", "status"):
            if metadata.get(key):
                self.finish_reason = replace_unstorable(str(metadata[key]))[:MAX_REASON_CHARS]
                break
        if content:
            self._take(self._cleaner.clean(content if type(content) is str else chunk.text))

    def end(self) -> Completion:
        """Pass on the rest, and return how the answer ended.

        Raises `ReplyTooLongError`, and a `ChatError` for an answer that broke off or has no text.
        """
        self._take(self._cleaner.end())
        reason = self.finish_reason
        if reason is not None and reason in _BROKEN_OFF:
            raise ModelFailed(f"The answer broke off: the model's provider reported “{reason}”.")
        if self._blank:
            raise self._why_blank()
        if reason is None:
            raise ModelFailed("The answer broke off before its end.")
        return Completion(self.usage, reason)

    def pass_on_rest(self) -> None:
        """Pass on what the cleaner holds back of an answer that has failed."""
        # Not half a character, of which nothing readable would remain.
        if rest := self._cleaner.end().removesuffix("\ufffd"):
            self._on_text(rest)

    def _take_reasoning(self, chunk: "AIMessageChunk") -> None:
        """Note reasoning, which clients put beside the content or into blocks of it."""
        reasoning = [str(chunk.additional_kwargs.get("reasoning_content") or "")]
        reasoning += [
            str(block.get("thinking") or block.get("reasoning") or "")
            for block in chunk.content
            if isinstance(block, dict)
        ]
        written = "".join(reasoning)
        self._reasoned = self._reasoned or bool(written)
        self.bytes += len(written.encode(errors="replace"))

    def _take(self, text: str) -> None:
        if not text:
            return
        self._length += len(text)
        self._blank = self._blank and is_blank(text)
        self.bytes += len(text.encode())
        self._on_text(text)
        if self._length >= self._max_chars:
            raise ReplyTooLongError

    def _why_blank(self) -> ChatError:
        """Why there is no text. It is a `ModelFailed` only if another call may end better."""
        if self.finish_reason in _OUT_OF_TOKENS:
            return ModelOutOfTokens(
                "The model used all its tokens before it wrote an answer, most likely on "
                "reasoning. Allow more (max_tokens), or ask for less reasoning."
            )
        if self.finish_reason is not None and self.finish_reason.lower() in _WITHHELD:
            return AnswerWithheld(
                f"The model's provider withheld the answer ({self.finish_reason}). "
                "Try rephrasing the message."
            )
        if self._calls_tool or self.finish_reason in {"tool_calls", "tool_use", "function_call"}:
            return AnswerWithoutText(
                "The model called a tool, although none was offered to it, and wrote no answer. "
                "Try another model, or a system prompt that mentions no tools."
            )
        if self._reasoned:
            return AnswerWithoutText(
                "The model wrote only reasoning. Try another model, or check how its "
                "server separates reasoning from answers."
            )
        return ModelFailed("The model's answer was empty.")


def _counted(tokens: int) -> int | None:
    """A count that can be true: no prompt and no answer is empty, so a zero is no count."""
    return tokens if 0 < tokens < 2**63 else None
