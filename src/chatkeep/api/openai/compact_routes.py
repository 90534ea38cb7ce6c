"""`/v1/responses/compact`: a conversation made short, so that a client can go on with less of it.

https://developers.openai.com/api/reference/resources/responses/methods/compact. `Any` is JSON of
theirs.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from chatkeep.api import bodies
from chatkeep.api.bodies import Storable
from chatkeep.api.dependencies import Services, caller, services
from chatkeep.api.openai.compaction import INTRODUCTION, compaction_item
from chatkeep.api.openai.contexts import Context, stored_context
from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.ids import created_at, response_id
from chatkeep.api.openai.inputs import Input, check_results
from chatkeep.api.openai.items import COMPLETED, Item
from chatkeep.api.openai.models import chosen_model, resolve_model
from chatkeep.api.openai.references import resolved
from chatkeep.api.openai.requests import ID, check_allowed, check_roles, missing, unsupported
from chatkeep.api.openai.response_routes import JSON, PATH, parsed_items, previous_turn, watched
from chatkeep.api.openai.responses import usage_object
from chatkeep.api.routing import LenientRoute
from chatkeep.domain.blocks import call_block, rendition, text_of, tool_calls
from chatkeep.domain.errors import TurnCancelled
from chatkeep.domain.ids import message_id
from chatkeep.domain.model import (
    Caller,
    FileContent,
    MessageContent,
    Reply,
    Role,
    TurnOptions,
)
from chatkeep.turns.stream import TurnStream
from chatkeep.turns.unstored import UnstoredRequest

router = APIRouter(tags=["openai"], route_class=LenientRoute)

SYSTEM_PROMPT = (
    "You summarise conversations, so that they can go on without their texts. Do not answer "
    "them. State facts, names, numbers, decisions, what was tried with which result, what the "
    "user wants and how, and what is left to do. Write nothing but the summary."
)
REQUEST = "Summarise the conversation up to here."


class CompactRequest(BaseModel):
    """What `POST /v1/responses/compact` takes."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: Storable | None = None
    input: Any = None
    previous_response_id: ID | None = None
    instructions: Storable | None = None

    def check(self) -> None:
        """Raise `Refused` for what is missing."""
        if self.model is None:
            raise missing("model")
        if self.input is None and self.previous_response_id is None:
            raise missing("input")


@router.post(PATH + "/compact", summary="Make a conversation short, as OpenAI does")
async def compact(request: Request) -> Response:
    """Summarise a conversation with one call of a model. Nothing is stored but what it costs.

    The output is to be sent as the beginning of the next input: the last message of the user as it
    was, and the summary of everything.
    """
    parts, who = services(request), caller(request)
    value = bodies.validated(await bodies.read_object(request), CompactRequest)
    value.check()
    model = _model(parts, who, value)
    parsed = await _conversation(parts, who, value)
    unstored = UnstoredRequest(
        (*flattened(parsed.messages), MessageContent(Role.USER, REQUEST)),
        parsed.files,
        options=TurnOptions(model=model, system_prompt=_system_prompt(parsed)),
    )
    async with parts.turns.unstored(who, unstored) as stream:
        waiting = asyncio.ensure_future(stream.result(title=False))
        async with watched(request, lambda: stream.stop(TurnCancelled())):
            reply = await waiting
    return Response(orjson.dumps(_compacted(stream, reply, parsed)), media_type=JSON)


def _model(parts: Services, who: Caller, value: CompactRequest) -> str:
    model = resolve_model(parts.providers, value.model or "")
    check_allowed(who, {"instructions": value.instructions})
    chosen_model(who, model, parts.providers.default)
    if parts.providers.capabilities(model).is_agent:
        # It would do things, instead of summarising.
        raise unsupported("model", "An agent cannot summarise a conversation.")
    return model


async def _conversation(parts: Services, who: Caller, value: CompactRequest) -> Input:
    """What is to be summarised. Raises `ChatError`."""
    before = Context(())
    after_turn = None
    if value.previous_response_id is not None:
        turn = await previous_turn(parts, who, value.previous_response_id)
        after_turn = turn.turn_id
        before = await stored_context(parts, who, turn.turn_id)
    items = await resolved(
        value.input or [], store=parts.store, caller=who, session_id=None, after_turn=after_turn
    )
    parsed = await parsed_items(items, parts.max_file_bytes)
    check_roles(who, parsed)
    check_results(parsed, before.messages)
    parsed = before.followed_by(parsed)
    if value.instructions is not None:
        instructions = [value.instructions, parsed.instructions]
        parsed.instructions = "\n\n".join(filter(None, instructions))
    if not parsed.messages:
        raise Refused("There is nothing to summarise.", param="input")
    return parsed


def _system_prompt(parsed: Input) -> str:
    """The instructions of the call, with those of the conversation that it is about."""
    if not parsed.instructions:
        return SYSTEM_PROMPT
    return f"{SYSTEM_PROMPT}\n\nThe conversation had these instructions:\n\n{parsed.instructions}"


def flattened(messages: Iterable[MessageContent]) -> list[MessageContent]:
    """The messages as texts and pictures, those of the assistant in a row as one.

    Not every provider reads calls of tools that it is not offered.
    """
    flat: list[MessageContent] = []
    for is_written, group in groupby(messages, lambda m: m.role in {Role.ASSISTANT, Role.TOOL}):
        if is_written:
            text = "\n\n".join(map(_written, group))
            flat.append(MessageContent(Role.ASSISTANT, text))
        else:
            flat += group
    return flat


def _written(message: MessageContent) -> str:
    """The text of a message of the assistant, or of a tool."""
    if message.role is Role.TOOL:
        return f"(The tool's result: {message.text})"
    calls = tool_calls(message.blocks)
    if not calls:
        return message.text
    text = text_of(message.text, message.blocks)
    called = f"({rendition(tuple(call_block(call) for call in calls))})"
    return f"{text}\n\n{called}" if text else called


def _compacted(stream: TurnStream, reply: Reply, parsed: Input) -> dict[str, Any]:
    turn_id = stream.turn.turn_id
    items = [_item(message, parsed.files) for message in _last_of_user(parsed.messages)]
    return {
        "id": response_id(turn_id),
        "object": "response.compaction",
        "created_at": created_at(turn_id),
        "output": [*items, compaction_item(reply.response, turn_id)],
        "usage": usage_object(reply.usage),
    }


def _last_of_user(messages: Sequence[MessageContent]) -> list[MessageContent]:
    """The last message of the user, if there is one that is no summary of an earlier compaction."""
    for message in reversed(messages):
        if message.role is Role.USER and not message.text.startswith(INTRODUCTION):
            return [message]
    return []


def _item(message: MessageContent, files: Iterable[FileContent]) -> Item:
    """A message of the user as an item that can be sent again, whatever it shows."""
    contents = {file.file_id: file for file in files}
    blocks = message.blocks or ({"type": "text"},)
    parts = [_part(block, message.text, contents) for block in blocks]
    return {
        "id": message.id or message_id(),
        "type": "message",
        "role": "user",
        "status": COMPLETED,
        "content": [part for part in parts if part is not None],
    }


def _part(
    block: Mapping[str, Any], text: str, files: Mapping[str, FileContent]
) -> dict[str, Any] | None:
    kind, file = block["type"], files.get(block.get("file_id", ""))
    address = block.get("url")
    if file is not None:
        address = f"data:{file.mime_type};base64,{b64encode(file.data).decode()}"
    if kind == "text":
        return {"type": "input_text", "text": block.get("text", text)}
    if kind == "image" and address is not None:
        return {"type": "input_image", "image_url": address, "detail": "auto", "file_id": None}
    if kind == "file" and address is not None:
        name = block.get("filename") or "document.pdf"
        return {"type": "input_file", "filename": name, "file_data": address}
    return None
