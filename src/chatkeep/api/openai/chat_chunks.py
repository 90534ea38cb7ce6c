"""A turn as OpenAI's chat completion: whole, or in chunks as it comes.

https://platform.openai.com/docs/api-reference/chat/object. `Any` is JSON of theirs.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import orjson

from chatkeep.api import problems
from chatkeep.api.openai import errors
from chatkeep.api.openai.ids import created_at
from chatkeep.api.openai.responses import TOKENS_OUT, WITHHELD
from chatkeep.domain.blocks import Blocks, text_of, tool_calls
from chatkeep.domain.errors import ChatError, TurnInterrupted
from chatkeep.domain.events import Event, EventType, Failure, MessageDelta, ReasoningDelta
from chatkeep.domain.model import Message, Prompt, Reply, ReplyWithBlocks, Role
from chatkeep.providers import estimated
from chatkeep.providers.tokens import BYTES_PER_TOKEN
from chatkeep.store.reconciliation import STEP_SEPARATOR
from chatkeep.turns.stream import TurnStream

Chunk = dict[str, Any]

ID_PREFIX = "chatcmpl-"


def completion(stream: TurnStream, reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """The answer of a turn as one object.

    Args:
        stream: The turn's, which has ended.
        reply: What it ended with.
        prompt: What its model was sent, for an estimate of the tokens.

    """
    texts = [
        _text(step.content, step.blocks) for step in stream.steps if step.role is not Role.TOOL
    ]
    text = STEP_SEPARATOR.join(filter(None, [*texts, _text(reply.response, _blocks(reply))]))
    calls = _calls(reply)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if calls and not text else text,
        "refusal": None,
        "annotations": [],
    }
    if reasoning := _reasoning(reply):
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(reply)}
    head = _head(stream, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(reply, prompt)}


async def completion_chunks(
    stream: TurnStream, prompt: Prompt, *, includes_usage: bool, idle_seconds: float
) -> AsyncGenerator[Chunk | str, None]:
    """Yield the answer of a turn as it comes.

    Args:
        stream: The turn's.
        prompt: What its model is sent, for an estimate of the tokens.
        includes_usage: Whether the tokens are in a last chunk of their own.
        idle_seconds: After so many seconds without a chunk a comment is yielded, a `str`.

    Raises:
        ChatError: The turn has failed before anything was yielded. What fails later is a chunk.

    """
    writer, has_begun = _Writer(stream, prompt, includes_usage=includes_usage), False
    try:
        events = stream.read(None, idle_seconds=idle_seconds, waits_for_title=False)
        async for event in events:
            if isinstance(event, str):
                has_begun = True
                yield event
                continue
            for chunk in writer.write(event):
                has_begun = True
                yield chunk
        if not stream.has_ended:
            # This process does not follow the turn any more: the result says why.
            await stream.result(title=False)
    except ChatError as error:
        if not has_begun:
            raise
        status = errors.status_of(error, problems.STATUS[error.kind()])
        yield errors.envelope(error, status)


class _Writer:
    """Makes the chunks of one turn."""

    def __init__(self, stream: TurnStream, prompt: Prompt, *, includes_usage: bool) -> None:
        self._prompt = prompt
        self._includes_usage = includes_usage
        self._head = _head(stream, "chat.completion.chunk")
        if includes_usage:
            self._head["usage"] = None
        self._has_begun = False
        self._has_text = False
        self._is_step_over = False

    def write(self, event: Event) -> Iterator[Chunk]:
        """The chunks that an event becomes. Raises `ChatError` for a turn that has failed."""
        payload = event.payload
        if isinstance(payload, MessageDelta):
            text = payload.text
            if self._has_text and self._is_step_over:
                text = STEP_SEPARATOR + text
            self._has_text, self._is_step_over = True, False
            yield from self._delta({"content": text})
        elif isinstance(payload, ReasoningDelta):
            yield from self._delta({"reasoning_content": payload.text})
        elif isinstance(payload, Message):
            # What an agent does with its tools is nothing that the client could do.
            self._is_step_over = True
        elif isinstance(payload, Reply):
            yield from self._end(payload)
        elif isinstance(payload, Failure):
            raise payload.error
        elif event.type is EventType.TURN_RESTARTED and self._has_begun:
            raise TurnInterrupted("The answer was begun anew, and what came of it is void.")

    def _end(self, reply: Reply) -> Iterator[Chunk]:
        calls = [{"index": number, **call} for number, call in enumerate(_calls(reply))]
        if calls:
            yield from self._delta({"tool_calls": calls})
        elif not self._has_begun:
            yield from self._delta({"content": ""})
        yield self._chunk([_choice({}, _reason(reply))])
        if self._includes_usage:
            yield self._chunk([]) | {"usage": _usage(reply, self._prompt)}

    def _delta(self, delta: dict[str, Any]) -> Iterator[Chunk]:
        if not self._has_begun:
            self._has_begun = True
            content = None if "tool_calls" in delta else ""
            yield self._chunk([_choice({"role": "assistant", "content": content})])
        yield self._chunk([_choice(delta)])

    def _chunk(self, choices: list[dict[str, Any]]) -> Chunk:
        return {**self._head, "choices": choices}


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _head(stream: TurnStream, kind: str) -> dict[str, Any]:
    turn = stream.turn
    return {
        "id": ID_PREFIX + turn.turn_id.removeprefix("turn_"),
        "object": kind,
        "created": created_at(turn.turn_id),
        "model": turn.model,
    }


def _blocks(reply: Reply) -> Blocks | None:
    return reply.blocks if isinstance(reply, ReplyWithBlocks) else None


def _text(content: str, blocks: Blocks | None) -> str:
    """The text of a message, whose content may be a mere rendition."""
    return text_of(content, blocks)


def _calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": orjson.dumps(call.args).decode()},
        }
        for call in tool_calls(_blocks(reply))
    ]


def _reasoning(reply: Reply) -> str:
    blocks = _blocks(reply) or ()
    return "".join(block["reasoning"] for block in blocks if block["type"] == "reasoning")


def _reason(reply: Reply) -> str:
    """Why the answer ended, in OpenAI's words."""
    if tool_calls(_blocks(reply)):
        return "tool_calls"
    if reply.finish_reason in TOKENS_OUT:
        return "length"
    return "content_filter" if reply.finish_reason in WITHHELD else "stop"


def _usage(reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """The tokens of a turn: as its provider has counted them, or else estimated."""
    read, written = reply.usage.input_tokens, reply.usage.output_tokens
    if read is None:
        read = estimated(prompt)
    if written is None:
        texts = (reply.response, _reasoning(reply), *map(str, _calls(reply)))
        written = -(-sum(len(text.encode()) for text in texts) // BYTES_PER_TOKEN)
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
