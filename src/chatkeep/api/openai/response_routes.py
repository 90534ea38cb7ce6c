"""`/v1/responses`: a turn, asked for and read as OpenAI's clients do it.

`Any` is JSON of theirs.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from starlette import types as asgi

from chatkeep.api import bodies, sse
from chatkeep.api.dependencies import (
    CallerOf,
    Services,
    SessionsOf,
    StoreOf,
    TurnsOf,
    caller,
    services,
)
from chatkeep.api.openai.contexts import Context, stored_context
from chatkeep.api.openai.errors import Refused, wrong_result
from chatkeep.api.openai.events import ResponseEvent, response_events
from chatkeep.api.openai.ids import response_id, turn_id_of
from chatkeep.api.openai.inputs import (
    Input,
    check_answerable,
    check_results,
    parse_input,
    unknown_call,
)
from chatkeep.api.openai.items import message_items
from chatkeep.api.openai.models import chosen_model, resolve_model
from chatkeep.api.openai.paging import Order, item_page
from chatkeep.api.openai.references import has_refs, resolved
from chatkeep.api.openai.requests import (
    ResponsesRequest,
    check_members,
    check_roles,
    digest,
    echo,
    tools_json,
)
from chatkeep.api.openai.responses import response_of
from chatkeep.api.retries import counts_retries, idempotency_key, is_client_retry
from chatkeep.api.routing import LenientRoute
from chatkeep.domain.blocks import Block
from chatkeep.domain.errors import (
    ChatError,
    MessageNotFound,
    MessageNotLast,
    SessionNotFound,
    TurnCancelled,
    TurnNotFound,
)
from chatkeep.domain.ids import session_id as new_session_id
from chatkeep.domain.model import Branch, Caller, Scope, TurnOptions, TurnRecord, TurnRequest
from chatkeep.store import turn_records
from chatkeep.turns.service import SubmittedTurn
from chatkeep.turns.stream import TurnStream
from chatkeep.turns.unstored import UnstoredRequest

router = APIRouter(tags=["openai"])
posts = APIRouter(tags=["openai"], route_class=LenientRoute)

JSON = "application/json"
PATH = "/v1/responses"


def is_stored(request: ResponsesRequest) -> bool:
    """Whether the turn of a request becomes part of a session: always where one is named."""
    return request.store is not False or request.conversation is not None


class Prepared:
    """A request that was read and checked: the turn that it asks for, and how it is answered."""

    def __init__(
        self,
        body: dict[str, Any],
        request: ResponsesRequest,
        parsed: Input,
        tools: list[Block],
        turn: TurnRequest,
    ) -> None:
        """Put the parts together."""
        self.body, self.request, self.parsed = body, request, parsed
        self.tools, self.turn = tools, turn
        self.counts_retries = False
        """Whether its client says of each request which attempt it is: then it needs no guess."""

    @property
    def is_stored(self) -> bool:
        """Whether the turn becomes part of a session."""
        return is_stored(self.request)

    def unstored(self) -> UnstoredRequest:
        """The same turn as one of which nothing is stored."""
        turn = self.turn
        return UnstoredRequest(turn.messages, turn.files, turn.tools, turn.options)


async def prepare(
    parts: Services,
    who: Caller,
    body: dict[str, Any],
    *,
    key: str | None = None,
    is_retry: bool = False,
    before: Context | None = None,
) -> Prepared:
    """Read a request for a response.

    Args:
        parts: Of the server.
        who: The caller.
        body: The request.
        key: Its idempotency key.
        is_retry: Whether the client says that it has sent it before.
        before: What `previous_response_id` names, if that is not stored.

    Raises:
        ChatError: It is not what it must be.

    """
    request = bodies.validated(body, ResponsesRequest)
    request.check()
    model = resolve_model(parts.providers, request.model or "")
    check_members(who, request)
    branch = _branch(request) if before is None else None
    if before is None and not is_stored(request):
        before = await _stored_before(parts, who, branch)
    parsed = await _input(parts, who, request, branch, before)
    tools = request.tools_offered()
    options = request.to_options(
        parsed,
        model=chosen_model(who, model, parts.providers.default),
        tools=tools,
        reasons_by_effort=parts.providers.capabilities(model).reasons_by_effort,
        is_user=who.scope is Scope.USER,
        echo=echo(body),
    )
    turn = _turn_request(body, request, parsed, tools, branch, options, key, is_retry=is_retry)
    return Prepared(body, request, parsed, tools, turn)


def _turn_request(
    body: dict[str, Any],
    request: ResponsesRequest,
    parsed: Input,
    tools: list[Block],
    branch: Branch | None,
    options: TurnOptions,
    key: str | None,
    *,
    is_retry: bool,
) -> TurnRequest:
    is_named = request.conversation is not None
    return TurnRequest(
        session_id=request.conversation_id or new_session_id(),
        digest=digest(PATH, body),
        messages=tuple(parsed.messages),
        files=tuple(parsed.files),
        tools=tools_json(tools),
        branch=branch,
        options=options,
        idempotency_key=key,
        is_client_retry=is_retry,
        is_detached=not is_named and branch is None,
        answers_failed=is_named,
        needs_session=is_named,
    )


def _branch(request: ResponsesRequest) -> Branch | None:
    """Where a request goes on; `None` for the end of its conversation."""
    if request.previous_response_id is None:
        return None
    try:
        return Branch(None, after_turn=turn_id_of(request.previous_response_id))
    except TurnNotFound:
        raise _previous_not_found(request.previous_response_id) from None


async def previous_turn(parts: Services, who: Caller, response_id: str) -> TurnRecord:
    """The turn that `previous_response_id` names. Raises `Refused` if there is none."""
    try:
        return await parts.turns.read_turn(who, turn_id_of(response_id))
    except TurnNotFound:
        raise _previous_not_found(response_id) from None


def _previous_not_found(response_id: str | None) -> Refused:
    return Refused(
        f"Previous response with id {(response_id or '')[:80]!r} not found.",
        openai_code="previous_response_not_found",
        param="previous_response_id",
    )


async def _stored_before(parts: Services, who: Caller, branch: Branch | None) -> Context:
    """What a turn goes on from of which nothing is stored, although that is."""
    if branch is None or branch.after_turn is None:
        return Context(())
    try:
        return await stored_context(parts, who, branch.after_turn)
    except TurnNotFound:
        raise _previous_not_found(response_id(branch.after_turn)) from None


async def _input(
    parts: Services,
    who: Caller,
    request: ResponsesRequest,
    branch: Branch | None,
    before: Context | None,
) -> Input:
    """What the model reads of a request, and of what is before it where no session has that."""
    items = request.input
    if has_refs(items):
        items = await resolved(
            items,
            store=parts.store,
            caller=who,
            session_id=request.conversation_id,
            after_turn=None if branch is None else branch.after_turn,
        )
    parsed = await parsed_items(items, parts.max_file_bytes)
    check_roles(who, parsed)
    if request.generate is not False:
        check_answerable(parsed)
    if before is None:
        return parsed
    check_results(parsed, before.messages)
    return before.followed_by(parsed)


async def parsed_items(items: object, max_file_bytes: int) -> Input:
    """The input of a request, without references. Raises as `parse_input`."""
    has_files = isinstance(items, list) and any(
        isinstance(item, dict) and isinstance(item.get("content"), list) for item in items
    )
    if has_files:
        # Pictures take long to decode.
        return await asyncio.to_thread(parse_input, items, max_file_bytes=max_file_bytes)
    return parse_input(items, max_file_bytes=max_file_bytes)


async def submit(parts: Services, who: Caller, prepared: Prepared) -> SubmittedTurn:
    """Submit the turn of a request, unless it is the repetition of one. Raises as `submit_turn`."""
    if not prepared.counts_retries and prepared.turn.idempotency_key is None:
        joined = await parts.lost_answers.join(parts.turns, who, prepared.turn.digest)
        if joined is not None:
            return joined
    try:
        return await parts.turns.submit_turn(who, prepared.turn)
    except ChatError as error:
        raise _in_their_words(error, prepared) from error


def _in_their_words(error: ChatError, prepared: Prepared) -> ChatError:
    """An error of the engine as one that names what the client has sent."""
    request, parsed = prepared.request, prepared.parsed
    if isinstance(error, TurnNotFound | MessageNotFound):
        return _previous_not_found(request.previous_response_id)
    if isinstance(error, SessionNotFound):
        detail = f"Conversation with id {(request.conversation_id or '')[:255]!r} not found."
        return SessionNotFound(detail, errors=[{"pointer": "#/conversation", "detail": detail}])
    number = wrong_result(error)
    return error if number is None else unknown_call(parsed.indexes[number])


@posts.post(PATH, summary="Create a response, as OpenAI does")
async def create_response(request: Request) -> Response:
    """Take a message in, ask the model, and answer with the response, or with its events.

    It is a turn of a session like any other: of the one that `conversation` names, of that of
    `previous_response_id`, or of one of its own, which is archived until it is continued.
    """
    parts, who = services(request), caller(request)
    key, is_retry = idempotency_key(request), is_client_retry(request)
    body = await bodies.read_object(request)
    # A word of connections, which there is nothing to prepare for here.
    body.pop("generate", None)
    prepared = await prepare(parts, who, body, key=key, is_retry=is_retry)
    prepared.counts_retries = counts_retries(request)
    is_visible = who.scope is not Scope.USER
    streams, waits = bool(prepared.request.stream), not prepared.request.background
    if not prepared.is_stored:
        return await _answer_unstored(request, prepared, is_visible=is_visible)
    turn = await submit(parts, who, prepared)
    stream = turn.stream
    headers = request.state.headers = {"Idempotent-Replayed": "true"} if turn.is_replay else {}
    lost = lost_answer(parts, who, prepared, stream)
    if streams:
        return _event_response(
            parts, stream, prepared.tools, is_visible=is_visible, headers=headers, on_gone=lost
        )
    if waits:
        async with watched(request, lost):
            with contextlib.suppress(TurnCancelled):
                await stream.result(title=False)
    response = response_of(stream, prepared.tools, is_visible=is_visible)
    return Response(orjson.dumps(response), headers=headers, media_type=JSON)


def lost_answer(
    parts: Services, who: Caller, prepared: Prepared, stream: TurnStream
) -> Callable[[], None]:
    """What to call if the client of a request goes away before it has its answer."""

    def add() -> None:
        parts.lost_answers.add(who.tenant, prepared.turn.digest, stream.turn.turn_id)

    return add


@asynccontextmanager
async def watched(request: Request, on_gone: Callable[[], None]) -> AsyncIterator[None]:
    """Call a function if the client goes away while something is waited for."""
    leaving = asyncio.create_task(sse.gone(request.receive))
    leaving.add_done_callback(lambda task: None if task.cancelled() else on_gone())
    try:
        yield
    finally:
        leaving.cancel()


async def _answer_unstored(request: Request, prepared: Prepared, *, is_visible: bool) -> Response:
    """Answer with a turn of which nothing is stored; it ends when its reader goes away."""
    parts, who = services(request), caller(request)
    context = parts.turns.unstored(who, prepared.unstored())
    if prepared.request.stream:
        stack = contextlib.AsyncExitStack()
        stream = await stack.enter_async_context(context)
        events = response_events(
            stream,
            prepared.tools,
            after=-1,
            idle_seconds=parts.heartbeat_seconds,
            is_visible=is_visible,
        )
        return _UnstoredStream(stack, events, parts.reader_timeout)
    async with context as stream:
        waiting = asyncio.ensure_future(stream.result(title=False))
        async with watched(request, lambda: stream.stop(TurnCancelled())):
            with contextlib.suppress(TurnCancelled):
                await waiting
        return Response(
            orjson.dumps(response_of(stream, prepared.tools, is_visible=is_visible)),
            media_type=JSON,
        )


class _UnstoredStream(sse.EventStream[list[ResponseEvent] | str]):
    """The events of a turn that ends with its reader."""

    def __init__(
        self,
        stack: contextlib.AsyncExitStack,
        events: AsyncGenerator[list[ResponseEvent] | str, None],
        reader_seconds: float,
    ) -> None:
        super().__init__(events, encoded, reader_seconds=reader_seconds, headers={})
        self._stack = stack

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


def _event_response(
    parts: Services,
    stream: TurnStream,
    tools: Sequence[Block],
    *,
    is_visible: bool,
    after: int = -1,
    headers: dict[str, str] | None = None,
    on_gone: Callable[[], None] | None = None,
) -> Response:
    events = response_events(
        stream, tools, after=after, idle_seconds=parts.heartbeat_seconds, is_visible=is_visible
    )
    return sse.EventStream(
        events,
        encoded,
        reader_seconds=parts.reader_timeout,
        headers=headers or {},
        on_gone=on_gone,
    )


def encoded(events: list[ResponseEvent] | str) -> bytes:
    """Events of a response as they are streamed; none are OpenAI's own end of a stream."""
    if isinstance(events, str):
        return sse.comment(events)
    if not events:
        return b"data: [DONE]\n\n"
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), sse.one_line(orjson.dumps(event)))
        for event in events
    )


async def _read_stream(turns: TurnsOf, who: Caller, response_id: str) -> TurnStream:
    return await turns.find_stream(who, turn_id_of(response_id))


async def stored_tools(store: StoreOf, who: Caller, stream: TurnStream) -> tuple[Block, ...]:
    """The tools that a turn offers."""
    return await store.read(turn_records.tools, tenant=who.tenant, turn_id=stream.turn.turn_id)


@router.get(PATH + "/{response_id}", summary="Read a response, as OpenAI does", response_model=None)
async def read_response(
    request: Request,
    who: CallerOf,
    turns: TurnsOf,
    store: StoreOf,
    response_id: str,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=-1)] = None,
) -> Response:
    """Tell what has become of a response, or stream its events from any number, at any time."""
    log = await _read_stream(turns, who, response_id)
    tools = await stored_tools(store, who, log)
    is_visible = who.scope is not Scope.USER
    if stream:
        after = -1 if starting_after is None else starting_after
        parts = services(request)
        return _event_response(parts, log, tools, is_visible=is_visible, after=after)
    return Response(orjson.dumps(response_of(log, tools, is_visible=is_visible)), media_type=JSON)


@router.post(
    PATH + "/{response_id}/cancel", summary="Stop a response, as OpenAI does", response_model=None
)
async def cancel_response(
    request: Request, who: CallerOf, turns: TurnsOf, store: StoreOf, response_id: str
) -> Response:
    """Stop a response that is in progress or queued. Safe to repeat."""
    await turns.cancel_turn(who, turn_id_of(response_id))
    return await read_response(request, who, turns, store, response_id)


@router.delete(
    PATH + "/{response_id}", summary="Delete a response, as OpenAI does", response_model=None
)
async def delete_response(who: CallerOf, sessions: SessionsOf, response_id: str) -> Response:
    """Delete a response that no other one continues, and its conversation if that is all of it."""
    try:
        removed = await sessions.remove_turn(who, turn_id_of(response_id))
    except MessageNotLast:
        raise Refused(
            "Another response continues this one.",
            openai_code="response_in_use",
            param="response_id",
        ) from None
    if removed.is_last and removed.session.archived:
        await sessions.delete(who, removed.session.session_id)
    body = {"id": response_id, "object": "response", "deleted": True}
    return Response(orjson.dumps(body), media_type=JSON)


@router.get(
    PATH + "/{response_id}/input_items",
    summary="List what a response took in, as OpenAI does",
    response_model=None,
)
async def list_input_items(
    who: CallerOf,
    turns: TurnsOf,
    response_id: str,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
) -> Response:
    """List the items that a response was asked with."""
    record = await turns.read_turn(who, turn_id_of(response_id))
    ids = [message.id for message in record.messages]
    taken = record.messages[: ids.index(record.user_message_id) + 1]
    files = f"/files/{record.session_id}"
    items = [item for message in taken for item in message_items(message, files)]
    return item_page(items, after=after, limit=limit, order=order)
