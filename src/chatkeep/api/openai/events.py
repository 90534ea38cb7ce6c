"""A turn's stream as OpenAI's: typed events whose numbers follow from the text alone.

https://platform.openai.com/docs/api-reference/responses-streaming. A reader may go on from any
number, at any time: the events are made again from the first, and those before are left out.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Literal

from chatkeep.api.openai.items import (
    COMPLETED,
    IN_PROGRESS,
    INCOMPLETE,
    Item,
    call_item,
    output_item,
    reasoning_item,
    text_item,
    text_part,
)
from chatkeep.api.openai.responses import response_object, response_of
from chatkeep.api.openai.words import WordCutter
from chatkeep.domain.blocks import Block, Blocks
from chatkeep.domain.events import Event, EventType, MessageDelta, ReasoningDelta
from chatkeep.domain.model import Message, ReplyWithBlocks, Role
from chatkeep.turns.stream import TurnStream

ATTEMPT_NUMBERS = 10_000_000
"""What the numbers of each further attempt of a turn begin higher than those of the one before."""

_LAST = {
    "completed": "response.completed",
    "failed": "response.failed",
    "incomplete": "response.incomplete",
    # There is no event for it.
    "cancelled": "response.incomplete",
}

ResponseEvent = dict[str, Any]


async def response_events(
    stream: TurnStream,
    tools: Sequence[Block],
    *,
    after: int,
    idle_seconds: float,
    is_visible: bool = True,
) -> AsyncGenerator[list[ResponseEvent] | str, None]:
    """Yield a turn's events as OpenAI has them, as they come, those together that come together.

    After the last one there is an empty list.

    A turn that runs again ends the stream, unless nothing was sent of it yet: a client that asks
    again gets the new attempt, from its beginning.

    Args:
        stream: The turn's.
        tools: Those that it offers.
        after: The number of the last event that was read; -1 for none.
        idle_seconds: After so many seconds without an event a comment is yielded, a `str`.
        is_visible: False for a caller who does not see the instructions.

    """
    writer, has_sent = _Writer(stream, tools, is_visible=is_visible), False
    async for event in stream.read(None, idle_seconds=idle_seconds):
        if isinstance(event, str):
            yield event
            continue
        if event.type is EventType.TURN_RESTARTED:
            if has_sent:
                return
            writer = _Writer(stream, tools, is_visible=is_visible)
        made = list(writer.write(event))
        if writer.has_ended and made[-1]["sequence_number"] < after:
            # The turn ended in its reasoning, which was shown and is not stored: the end is news.
            made[-1]["sequence_number"] = after + 1
        events = [each for each in made if each["sequence_number"] > after]
        if events:
            has_sent = True
            yield events
        # A long text is thousands of events, which are made without waiting for anything.
        await asyncio.sleep(0)
    if writer.has_ended:
        yield []


class _Writer:
    """Makes the events of one turn."""

    def __init__(self, stream: TurnStream, tools: Sequence[Block], *, is_visible: bool) -> None:
        self._stream = stream
        self._tools = tools
        self._is_visible = is_visible
        self.has_ended = False
        self._number = (stream.attempt - 1) * ATTEMPT_NUMBERS
        self._items = 0
        self._open: Literal["reasoning", "message"] | None = None
        self._id = ""
        self._text: list[str] = []
        self._words = WordCutter()

    def write(self, event: Event) -> Iterator[ResponseEvent]:
        """The events that one of ours becomes."""
        payload = event.payload
        if isinstance(payload, MessageDelta):
            yield from self._add("message", payload.text)
        elif isinstance(payload, ReasoningDelta):
            yield from self._add("reasoning", payload.text)
        elif event.type in {EventType.TURN_STARTED, EventType.TURN_RESTARTED}:
            yield from self._begin()
        elif isinstance(payload, Message):
            yield from self._end_step(payload)
        elif event.type is not EventType.SESSION_TITLED:
            yield from self._end()

    def _begin(self) -> Iterator[ResponseEvent]:
        for kind in ("response.created", "response.in_progress"):
            response = response_object(self._stream.turn, self._tools, is_visible=self._is_visible)
            yield self._event(kind, response=response)

    def _add(self, kind: Literal["reasoning", "message"], text: str) -> Iterator[ResponseEvent]:
        if self._open != kind:
            yield from self._close(COMPLETED)
            yield from self._open_item(kind)
        yield from self._deltas(self._words.cut(text))

    def _open_item(self, kind: Literal["reasoning", "message"]) -> Iterator[ResponseEvent]:
        turn_id = self._stream.turn.turn_id
        self._open, self._text, self._words = kind, [], WordCutter()
        if kind == "message":
            item = text_item("", turn_id, self._items, IN_PROGRESS) | {"content": []}
            part = {"type": "response.content_part.added", "content_index": 0}
            part["part"] = text_part("")
        else:
            item = reasoning_item("", turn_id, self._items, IN_PROGRESS) | {"summary": []}
            part = {"type": "response.reasoning_summary_part.added", "summary_index": 0}
            part["part"] = {"type": "summary_text", "text": ""}
        self._id = item["id"]
        yield self._item_event("response.output_item.added", item)
        yield self._event(str(part.pop("type")), item_id=self._id, output_index=self._items, **part)

    def _deltas(self, words: list[str]) -> Iterator[ResponseEvent]:
        self._text += words
        for word in words:
            if self._open == "message":
                yield self._event(
                    "response.output_text.delta",
                    item_id=self._id,
                    output_index=self._items,
                    content_index=0,
                    delta=word,
                    logprobs=[],
                )
            else:
                yield self._event(
                    "response.reasoning_summary_text.delta",
                    item_id=self._id,
                    output_index=self._items,
                    summary_index=0,
                    delta=word,
                )

    def _close(self, status: str) -> Iterator[ResponseEvent]:
        """End the item that was begun, if there is one."""
        if self._open is None:
            return
        yield from self._deltas(self._words.end())
        text, turn_id = "".join(self._text), self._stream.turn.turn_id
        where: dict[str, Any] = {"item_id": self._id, "output_index": self._items}
        if self._open == "message":
            where["content_index"] = 0
            yield self._event("response.output_text.done", **where, text=text, logprobs=[])
            yield self._event("response.content_part.done", **where, part=text_part(text))
            item = text_item(text, turn_id, self._items, status)
        else:
            where["summary_index"] = 0
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_text.done", **where, text=text)
            yield self._event("response.reasoning_summary_part.done", **where, part=part)
            item = reasoning_item(text, turn_id, self._items, status)
        self._open = None
        yield self._end_item(item)

    def _end_step(self, step: Message) -> Iterator[ResponseEvent]:
        yield from self._close(COMPLETED)
        if step.role is Role.TOOL:
            item = output_item(step, self._stream.turn.turn_id, self._items)
            yield self._item_event("response.output_item.added", item)
            yield self._end_item(item)
        else:
            yield from self._calls(step.blocks)

    def _calls(self, blocks: Blocks | None) -> Iterator[ResponseEvent]:
        for block in blocks or ():
            if block["type"] != "tool_call":
                continue
            item = call_item(block, self._stream.turn.turn_id, self._items)
            begun = item | {"status": IN_PROGRESS, "arguments": ""}
            where = {"item_id": item["id"], "output_index": self._items}
            yield self._item_event("response.output_item.added", begun)
            arguments = item["arguments"]
            yield self._event("response.function_call_arguments.delta", **where, delta=arguments)
            yield self._event(
                "response.function_call_arguments.done",
                **where,
                name=item["name"],
                arguments=arguments,
            )
            yield self._end_item(item)

    def _end(self) -> Iterator[ResponseEvent]:
        self.has_ended = True
        end = self._stream.ended
        response = response_of(self._stream, self._tools, is_visible=self._is_visible)
        is_whole = response["status"] == COMPLETED
        yield from self._close(COMPLETED if is_whole or self._has_calls(end) else INCOMPLETE)
        if isinstance(end, ReplyWithBlocks):
            yield from self._calls(end.blocks)
        yield self._event(_LAST[response["status"]], response=response)

    @staticmethod
    def _has_calls(end: object) -> bool:
        """Whether calls follow the last text, so that it is whole even if the answer is not."""
        return isinstance(end, ReplyWithBlocks) and any(
            block["type"] == "tool_call" for block in end.blocks
        )

    def _end_item(self, item: Item) -> ResponseEvent:
        event = self._item_event("response.output_item.done", item)
        self._items += 1
        return event

    def _item_event(self, kind: str, item: Item) -> ResponseEvent:
        return self._event(kind, output_index=self._items, item=item)

    def _event(self, kind: str, **members: object) -> ResponseEvent:
        number, self._number = self._number, self._number + 1
        return {"type": kind, "sequence_number": number, **members}
