"""`/v1/conversations`: a session and its messages, as OpenAI's clients read and change them.

`Any` is JSON of theirs.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Response as PlainResponse
from pydantic import BaseModel, ConfigDict, Field

from chatkeep.api import bodies
from chatkeep.api.bodies import Storable
from chatkeep.api.dependencies import (
    CallerOf,
    Services,
    SessionsOf,
    StoreOf,
    caller,
    services,
)
from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.ids import ItemRef, item_ref
from chatkeep.api.openai.inputs import Input, parse_input
from chatkeep.api.openai.items import Item, items_by_message, message_items
from chatkeep.api.openai.paging import Order, list_response
from chatkeep.api.openai.requests import check_roles, checked_metadata
from chatkeep.api.parameters import session_name
from chatkeep.api.routing import LenientRoute
from chatkeep.domain.errors import MessageNotFound
from chatkeep.domain.ids import session_id as new_session_id
from chatkeep.domain.model import Caller, Message, SessionRecord
from chatkeep.domain.times import microseconds
from chatkeep.store import sessions as session_rows
from chatkeep.store import turn_records
from chatkeep.store.database import Store
from chatkeep.store.session_changes import SessionChanges

router = APIRouter(tags=["openai"])
posts = APIRouter(tags=["openai"], route_class=LenientRoute)

PATH = "/v1/conversations"
ONE = PATH + "/{conversation_id:path}"

MAX_ITEMS = 20
"""That are added with one request."""


class ConversationRequest(BaseModel):
    """What `POST /v1/conversations` takes: also an `id`, which makes it safe to repeat."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: Storable | None = Field(None, description="Your own name for the session.")
    items: list[Any] | None = None
    metadata: dict[str, Any] | None = None


class ItemsRequest(BaseModel):
    """Items to add."""

    model_config = ConfigDict(extra="ignore", strict=True)

    items: list[Any]


class Conversation(BaseModel):
    """A conversation."""

    id: str
    object: str = "conversation"
    created_at: int
    metadata: dict[str, str]


class DeletedConversation(BaseModel):
    """A conversation that was deleted."""

    id: str
    object: str = "conversation.deleted"
    deleted: bool = True


def _conversation(record: SessionRecord) -> Conversation:
    metadata = {name: value for name, value in record.metadata.items() if isinstance(value, str)}
    created_at = microseconds(record.created_at) // 1_000_000
    return Conversation(id=record.session_id, created_at=created_at, metadata=metadata)


def _json(model: BaseModel) -> PlainResponse:
    return PlainResponse(model.model_dump_json(), media_type="application/json")


async def _parsed(parts: Services, who: Caller, items: list[Any] | None) -> Input:
    if items is not None and len(items) > MAX_ITEMS:
        raise Refused(f"Must not have more than {MAX_ITEMS} items.", param="items")
    parsed = await asyncio.to_thread(
        parse_input,
        items or [],
        max_file_bytes=parts.max_file_bytes,
        member="items",
        has_instructions=False,
    )
    check_roles(who, parsed)
    return parsed


@posts.post(PATH, summary="Create a conversation, as OpenAI does", response_model=Conversation)
async def create_conversation(request: Request) -> PlainResponse:
    """Create a session, with messages if there are any. One of that name is returned as it is."""
    parts, who = services(request), caller(request)
    value = await bodies.read_object(request) if await bodies.has_content(request) else {}
    body = bodies.validated(value, ConversationRequest)
    parsed = await _parsed(parts, who, body.items)
    created = await parts.sessions.create(
        who,
        body.id or new_session_id(),
        metadata=body.metadata,
        messages=parsed.messages,
        files=parsed.files,
    )
    return _json(_conversation(created.session))


@posts.post(
    ONE + "/items", summary="Add items to a conversation, as OpenAI does", response_model=None
)
async def add_items(request: Request) -> PlainResponse:
    """Add messages after the last one, without a turn. Refused while one runs."""
    parts, who = services(request), caller(request)
    session_id = session_name(request, request.path_params["conversation_id"])
    body = bodies.validated(await bodies.read_object(request), ItemsRequest)
    parsed = await _parsed(parts, who, body.items)
    added = await parts.sessions.append(who, session_id, parsed.messages, parsed.files)
    files = f"/files/{session_id}"
    items = [item for message in added for item in message_items(message, files)]
    return list_response(items, has_more=False)


@router.get(
    ONE + "/items", summary="List a conversation's items, as OpenAI does", response_model=None
)
async def list_items(
    request: Request,
    who: CallerOf,
    sessions: SessionsOf,
    store: StoreOf,
    conversation_id: str,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
) -> PlainResponse:
    """List the items of the active branch."""
    session_name(request, conversation_id)
    is_ascending = order == "asc"
    items: list[Item] = []
    cursor = None
    if after is not None:
        cursor, items = await _rest(store, who, conversation_id, after, is_ascending=is_ascending)
    page = await sessions.branch(
        who, conversation_id, limit=limit + 1, after=cursor, oldest_first=is_ascending
    )
    of_message = await _items(store, who, conversation_id, page.items)
    for message in page.items:
        own = of_message[message.id]
        items += own if is_ascending else reversed(own)
    return list_response(items[:limit], has_more=len(items) > limit)


async def _items(
    store: Store, who: Caller, session_id: str, messages: Sequence[Message]
) -> dict[str, list[Item]]:
    """The items of each message, by its id: those that a turn has written are named after it."""
    turn_ids = {message.turn_id for message in messages if message.turn_id is not None}
    located = await store.read(
        turn_records.locate, tenant=who.tenant, turn_ids=sorted(turn_ids), message_ids=()
    )
    items = {message.id: message_items(message, f"/files/{session_id}") for message in messages}
    for turn_id, stored in located.turns.items():
        for message, own in items_by_message(stored.written, turn_id):
            items[message.id] = own
    return items


async def _rest(
    store: Store, who: Caller, session_id: str, item_id: str, *, is_ascending: bool
) -> tuple[str, list[Item]]:
    """The message of an item, and the items of that message which come after it in this order."""
    message, _ = await _located(store, who, session_id, item_id)
    items = (await _items(store, who, session_id, [message]))[message.id]
    if not is_ascending:
        items.reverse()
    ids = [item["id"] for item in items]
    return message.id, items[ids.index(item_id) + 1 :] if item_id in ids else []


async def _located(
    store: Store, who: Caller, session_id: str, item_id: str
) -> tuple[Message, Item]:
    """The message that an item is of, and the item. Raises `MessageNotFound`."""
    ref = item_ref(item_id) or ItemRef("", 0)
    read = await store.read(
        turn_records.locate,
        tenant=who.tenant,
        turn_ids=[ref.turn_id],
        message_ids=[ref.message_id],
    )
    of_message: list[tuple[Message, list[Item]]] = []
    turn, located = read.turns.get(ref.turn_id), read.messages.get(ref.message_id)
    if turn is not None and turn.turn.session_id == session_id:
        of_message = list(items_by_message(turn.written, ref.turn_id))
    elif located is not None and located.session_id == session_id:
        items = message_items(located.message, f"/files/{session_id}")
        of_message = [(located.message, items)]
    for message, items in of_message:
        for item in items:
            if item["id"] == item_id:
                return message, item
    raise MessageNotFound(f"Item with id {item_id[:80]!r} not found.")


@router.get(ONE + "/items/{item_id}", summary="Read an item, as OpenAI does", response_model=None)
async def read_item(
    request: Request, who: CallerOf, store: StoreOf, conversation_id: str, item_id: str
) -> dict[str, Any]:
    """Read an item of a conversation, whatever branch it is on."""
    session_name(request, conversation_id)
    _, item = await _located(store, who, conversation_id, item_id)
    return item


@router.delete(
    ONE + "/items/{item_id}",
    summary="Delete the last item, as OpenAI does",
    response_model=Conversation,
)
async def delete_item(
    request: Request,
    who: CallerOf,
    sessions: SessionsOf,
    store: StoreOf,
    conversation_id: str,
    item_id: str,
) -> Conversation:
    """Delete the last item of the active branch, with what it is one message with."""
    session_name(request, conversation_id)
    message, item = await _located(store, who, conversation_id, item_id)
    items = (await _items(store, who, conversation_id, [message]))[message.id]
    if items[-1]["id"] != item["id"]:
        raise Refused(
            "Only the last item of a conversation can be deleted.",
            openai_code="item_not_last",
            param="item_id",
        )
    return _conversation(await sessions.remove_last(who, conversation_id, message.id))


@router.get(ONE, summary="Read a conversation, as OpenAI does", response_model=Conversation)
async def read_conversation(
    request: Request, who: CallerOf, store: StoreOf, conversation_id: str
) -> Conversation:
    """Read a session."""
    session_name(request, conversation_id)
    record = await store.read(session_rows.record, tenant=who.tenant, session_id=conversation_id)
    return _conversation(record)


@posts.post(ONE, summary="Change a conversation, as OpenAI does", response_model=Conversation)
async def change_conversation(request: Request) -> PlainResponse:
    """Set a session's metadata."""
    parts, who = services(request), caller(request)
    session_id = session_name(request, request.path_params["conversation_id"])
    body = bodies.validated(await bodies.read_object(request), ConversationRequest)
    values: SessionChanges = {}
    if body.metadata is not None:
        values["metadata"] = checked_metadata(body.metadata)
    record = await parts.sessions.change(
        who, session_id, values, expected=None, seen=lambda record: record
    )
    return _json(_conversation(record))


@router.delete(
    ONE, summary="Delete a conversation, as OpenAI does", response_model=DeletedConversation
)
async def delete_conversation(
    request: Request, who: CallerOf, sessions: SessionsOf, conversation_id: str
) -> DeletedConversation:
    """Delete a session with all that belongs to it."""
    session_name(request, conversation_id)
    await sessions.delete(who, conversation_id)
    return DeletedConversation(id=conversation_id)
