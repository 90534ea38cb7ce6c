"""An answer as its chunks come: the text that is passed on, how it ended, and what that means.

Whichever client streams it. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from chatkeep.domain.blocks import Block, call_block
from chatkeep.domain.errors import (
    AnswerWithheld,
    AnswerWithoutText,
    ChatError,
    ModelFailed,
    ModelOutOfTokens,
)
from chatkeep.domain.model import Completion, MessageContent, Usage
from chatkeep.domain.validation import is_blank, replace_unstorable
from chatkeep.providers.steps import step_content
from chatkeep.providers.text import Cleaner
from chatkeep.providers.tool_calls import CallBuffer

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.messages.tool import ToolCallChunk

    from chatkeep.providers.protocol import Output

MAX_REASON_CHARS = 100

_OUT_OF_TOKENS = {"length", "max_tokens", "max_output_tokens", "incomplete"}
_WITHHELD = {"content_filter", "refusal", "safety", "sensitive"}
_BROKEN_OFF = {"error", "abort", "insufficient_system_resource", "load", "failed"}
"""Reasons to end that are a provider's failures: of OpenRouter, SGLang and vLLM, DeepSeek,
Ollama."""


class ReplyTooLongError(Exception):
    """Raised for a reply that has reached the limit; what there is of it counts."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is called with the pieces of an answer as they come, cleaned, on the event loop.

    Attributes:
        on_text: Called with each piece of text.
        on_reasoning: Called with each piece of reasoning, and whether it begins another one than
            the pieces before; `None` if nobody wants it.
        on_step: Called with each message that is whole before the reply, of a model that calls
            tools by itself. The pieces after it belong to the next message.

    """

    on_text: Callable[[str], None]
    on_reasoning: Callable[[str, bool], None] | None = None
    on_step: Callable[[MessageContent], None] | None = None


class Answer:
    """One answer of a model."""

    def __init__(
        self,
        listener: Listener,
        make_cleaner: Callable[[], Cleaner],
        *,
        max_chars: int,
        offers_tools: bool = False,
        has_steps: bool = False,
    ) -> None:
        """Begin with no text.

        Args:
            listener: Who gets the pieces.
            make_cleaner: Makes what cleans a text or a reasoning.
            max_chars: The length at which the answer is cut off, after the piece that reaches it.
            offers_tools: Whether the model may call tools.
            has_steps: Whether whole messages may come before the reply.

        """
        self._listener = listener
        self._make_cleaner = make_cleaner
        self._cleaner = make_cleaner()
        self._reasoning_cleaner: Cleaner | None = None
        self._max_chars = max_chars
        self._offers_tools = offers_tools
        self._has_steps = has_steps
        self._steps = 0
        self._length = 0
        self._blank = True
        self._calls: CallBuffer | None = None
        self._reasoned = False
        self._shows_reasoning = False
        self._reasoning_length = 0
        self._extras: list[Block] = []
        # A call that is repeated has shown its reasoning before.
        self._begins_reasoning = True
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
        """True if any text was passed on, which cannot be taken back."""
        return self._length > 0

    @property
    def is_whole(self) -> bool:
        """True if there is an answer and its model has ended it: what follows changes nothing."""
        reason = self.finish_reason
        if reason is None or reason in _BROKEN_OFF:
            return False
        return not self._blank or (self._offers_tools and self._calls is not None)

    def read(self, chunk: "Output") -> None:
        """Take the next chunk, or a whole step. Raises `ReplyTooLongError`."""
        if self._has_steps and chunk.type != "AIMessageChunk":
            self._take_step(chunk)
            return
        # `--help` needs no LangChain, by whose class the types would know it.
        chunk = cast("AIMessageChunk", chunk)
        more, content = chunk.additional_kwargs, chunk.content
        if content or more:
            self.has_begun = True
        if chunk.tool_call_chunks:
            self._take_calls(chunk.tool_call_chunks)
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
        self._end_reasoning()
        self._take(self._cleaner.end())
        reason = self.finish_reason
        if reason is not None and reason in _BROKEN_OFF:
            raise ModelFailed(f"The answer broke off: the model's provider reported “{reason}”.")
        calls = self._calls.calls() if self._calls is not None and self._offers_tools else ()
        # An agent may have nothing to say to what it has done.
        if self._blank and not calls and not self._steps:
            raise self._why_blank()
        if reason is None:
            raise ModelFailed("The answer broke off before its end.")
        return Completion(
            self.usage,
            reason,
            blocks=tuple(call_block(call) for call in calls),
            reasoning_extras=tuple(self._extras),
        )

    def pass_on_rest(self) -> None:
        """Pass on what the cleaner holds back of an answer that has failed."""
        # Not half a character, of which nothing readable would remain.
        if rest := self._cleaner.end().removesuffix("\ufffd"):
            self._listener.on_text(rest)

    def _take_calls(self, chunks: "list[ToolCallChunk]") -> None:
        self.has_begun = True
        if self._calls is None:
            self._calls = CallBuffer()
        for chunk in chunks:
            self.bytes += self._calls.add(chunk)

    def _take_reasoning(self, chunk: "AIMessageChunk") -> None:
        """Take reasoning, which clients put beside the content or into blocks of it."""
        reasoning = [str(chunk.additional_kwargs.get("reasoning_content") or "")]
        reasoning += [
            str(block.get("thinking") or block.get("reasoning") or "")
            for block in chunk.content
            if isinstance(block, dict)
        ]
        written = "".join(reasoning)
        self._reasoned = self._reasoned or bool(written)
        self.bytes += len(written.encode(errors="replace"))
        if written and self._listener.on_reasoning is not None:
            if self._reasoning_cleaner is None:
                self._reasoning_cleaner = self._make_cleaner()
            self._pass_on_reasoning(self._reasoning_cleaner.clean(written))
        for block in chunk.content:
            signature = _signature(block)
            if isinstance(signature, str) and signature:
                # Anthropic refuses its reasoning without it, and calls of tools without both.
                self._end_reasoning()
                self._extras.append({"signature": replace_unstorable(signature)})
                self._begins_reasoning = True

    def _take_step(self, message: "Output") -> None:
        """Pass on a message that is whole before the reply; what comes now is another one."""
        self._end_reasoning()
        self._take(self._cleaner.end())
        content = step_content(message, self._make_cleaner())
        self.bytes += len(content.text.encode())
        if self._listener.on_step is not None:
            self._listener.on_step(content)
        self._steps += 1
        self._cleaner, self._blank, self._begins_reasoning = self._make_cleaner(), True, True

    def _end_reasoning(self) -> None:
        if self._reasoning_cleaner is not None:
            self._pass_on_reasoning(self._reasoning_cleaner.end())
            self._reasoning_cleaner = None

    def _pass_on_reasoning(self, text: str) -> None:
        if self._listener.on_reasoning is None or not text:
            return
        if not self._shows_reasoning and is_blank(text):
            return
        self._shows_reasoning = True
        self._reasoning_length += len(text)
        self._listener.on_reasoning(text, self._begins_reasoning)
        self._begins_reasoning = False
        if self._reasoning_length >= self._max_chars:
            raise ReplyTooLongError

    def _take(self, text: str) -> None:
        if not text:
            return
        if self._reasoning_cleaner is not None:
            self._end_reasoning()
        self._length += len(text)
        self._blank = self._blank and is_blank(text)
        self.bytes += len(text.encode())
        self._listener.on_text(text)
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
        if self._calls or self.finish_reason in {"tool_calls", "tool_use", "function_call"}:
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


def _signature(block: object) -> object:
    """What Anthropic signs its reasoning with, as its client or LangChain's blocks have it."""
    if not isinstance(block, dict):
        return None
    return block.get("signature") or (block.get("extras") or {}).get("signature")


def _counted(tokens: int) -> int | None:
    """A count that can be true: no prompt and no answer is empty, so a zero is no count."""
    return tokens if 0 < tokens < 2**63 else None
