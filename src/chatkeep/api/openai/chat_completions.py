"""`POST /v1/chat/completions`: an answer to a whole conversation, as OpenAI's clients send it.

Nothing is stored unless the request names a session. Then the conversation is looked for in that
session's tree, so that what a client has edited or had answered again becomes a branch of it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request, Response

from chatkeep.api import bodies, sse
from chatkeep.api.dependencies import Services, caller, services
from chatkeep.api.openai.chat_chunks import Chunk, completion, completion_chunks
from chatkeep.api.openai.chat_requests import ChatCompletionRequest, check_members
from chatkeep.api.openai.errors import Refused, wrong_result
from chatkeep.api.openai.inputs import Input
from chatkeep.api.openai.models import chosen_model, resolve_model
from chatkeep.api.openai.requests import digest, tools_json
from chatkeep.api.retries import counts_retries, idempotency_key, is_client_retry
from chatkeep.api.routing import LenientRoute
from chatkeep.domain.blocks import file_ids
from chatkeep.domain.errors import ChatError
from chatkeep.domain.model import (
    Branch,
    Caller,
    MessageContent,
    Prompt,
    Role,
    Scope,
    TurnOptions,
    TurnRequest,
)
from chatkeep.domain.validation import validate_session_id
from chatkeep.store import reconciliation
from chatkeep.store.reconciliation import MatchedBranch
from chatkeep.turns.service import SubmittedTurn
from chatkeep.turns.stream import TurnStream
from chatkeep.turns.unstored import UnstoredRequest

T = TypeVar("T")

router = APIRouter(tags=["openai"], route_class=LenientRoute)

PATH = "/v1/chat/completions"

SESSION_HEADER = "X-Chatkeep-Session"
OPEN_WEBUI_CHAT, OPEN_WEBUI_TASK = "X-OpenWebUI-Chat-Id", "X-OpenWebUI-Task"
"""https://docs.openwebui.com/reference/env-configuration/#enable_forward_user_info_headers"""

OPEN_WEBUI_TEMPORARY = "local:"
"""What the ids of Open WebUI's temporary chats begin with, which it does not store itself."""

DONE = b"data: [DONE]\n\n"

CLIENT_GONE = 499
"""The status of a response that nobody gets, as nginx has it in its log."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that was read and checked; `body` is as it came."""

    body: dict[str, Any]
    request: ChatCompletionRequest
    parsed: Input
    tools: str | None
    options: TurnOptions

    @property
    def prompt(self) -> Prompt:
        """What the model is sent, as far as its tokens depend on it."""
        return Prompt(self.parsed.instructions, tuple(self.parsed.messages))

    def unstored(self) -> UnstoredRequest:
        """The turn, if nothing of it is to be stored."""
        parsed = self.parsed
        return UnstoredRequest(tuple(parsed.messages), parsed.files, self.tools, self.options)


@router.post(
    PATH,
    summary="Create a chat completion, as OpenAI does",
)
async def create_chat_completion(request: Request) -> Response:
    """Answer a conversation. It is stored only as the session that the request names.

    A session is named by the header `X-Chatkeep-Session`, by `session_id` in the `metadata`, or by
    Open WebUI's `X-OpenWebUI-Chat-Id`.
    """
    parts, who = services(request), caller(request)
    key, is_retry = idempotency_key(request), is_client_retry(request)
    body = await bodies.read_object(request)
    prepared = await _prepare(parts, who, body)
    request.state.headers = {}
    session_id = _session_id(request, prepared.request)
    if session_id is None:
        context = parts.turns.unstored(who, prepared.unstored())
    else:
        context = _stored(request, prepared, session_id, key=key, is_retry=is_retry)
    if prepared.request.stream:
        return await _streamed(request, prepared, context)
    answer = await _unless_gone(request, _whole(prepared, context))
    if answer is None:
        return Response(status_code=CLIENT_GONE)
    return Response(answer, headers=request.state.headers, media_type="application/json")


async def _prepare(parts: Services, who: Caller, body: dict[str, Any]) -> Prepared:
    """Read a request. Raises `ChatError` if it is not what it must be."""
    request = bodies.validated(body, ChatCompletionRequest)
    request.check()
    model = resolve_model(parts.providers, request.model or "")
    check_members(who, request)
    chosen = chosen_model(who, model, parts.providers.default)
    limit = parts.max_file_bytes
    if any(isinstance(message.content, list) for message in request.messages or ()):
        # Pictures take long to decode.
        parsed = await asyncio.to_thread(request.parse, max_file_bytes=limit)
    else:
        parsed = request.parse(max_file_bytes=limit)
    tools = request.offered_tools()
    options = request.to_options(
        parsed,
        model=chosen,
        tools=tools,
        reasons_by_effort=parts.providers.capabilities(model).reasons_by_effort,
        keeps_default_prompt=who.scope is Scope.USER,
    )
    return Prepared(body, request, parsed, tools_json(tools), options)


def _session_id(request: Request, body: ChatCompletionRequest) -> str | None:
    """The session that a request names; `None` if it is not to be stored."""
    headers = request.headers
    if headers.get(OPEN_WEBUI_TASK):
        # A title or tags, which the program asks for by itself.
        return None
    named: dict[str, object] = {
        SESSION_HEADER: _decoded(headers.get(SESSION_HEADER)),
        "metadata/session_id": (body.metadata or {}).get("session_id"),
        OPEN_WEBUI_CHAT: _decoded(headers.get(OPEN_WEBUI_CHAT)),
    }
    for member, value in named.items():
        if value is None or value == "":
            continue
        if member == OPEN_WEBUI_CHAT and str(value).startswith(OPEN_WEBUI_TEMPORARY):
            continue
        if not isinstance(value, str):
            raise Refused("Must be a text.", param=member)
        try:
            return validate_session_id(value)
        except ValueError as error:
            raise Refused(f"The name of a session {error}.", param=member) from None
    return None


def _decoded(header: str | None) -> str | None:
    """A header's value, in which clients write other characters as UTF-8."""
    if header is None:
        return None
    with contextlib.suppress(UnicodeDecodeError):
        return header.encode("latin-1").decode()
    return header


async def _whole(prepared: Prepared, context: AbstractAsyncContextManager[TurnStream]) -> bytes:
    async with context as stream:
        reply = await stream.result(title=False)
        return orjson.dumps(completion(stream, reply, prepared.prompt))


async def _streamed(
    request: Request, prepared: Prepared, context: AbstractAsyncContextManager[TurnStream]
) -> Response:
    """The response with the chunks, once there is one: what fails before has its own status."""
    parts = services(request)
    chunks = _encoded_chunks(prepared, context, parts.heartbeat_seconds)

    async def first_chunk() -> bytes:
        return await anext(chunks)

    first = await _unless_gone(request, first_chunk())
    if first is None:
        return Response(status_code=CLIENT_GONE)
    return sse.EventStream(
        _joined(first, chunks),
        bytes,
        reader_seconds=parts.reader_timeout,
        headers=request.state.headers,
    )


async def _joined(first: bytes, others: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(others):
        yield first
        async for chunk in others:
            yield chunk


async def _encoded_chunks(
    prepared: Prepared, context: AbstractAsyncContextManager[TurnStream], idle_seconds: float
) -> AsyncGenerator[bytes, None]:
    async with context as stream:
        chunks = completion_chunks(
            stream,
            prepared.prompt,
            includes_usage=prepared.request.includes_usage,
            idle_seconds=idle_seconds,
        )
        chunk: Chunk | str = ""
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield _encoded(chunk)
        if "error" not in chunk:
            yield DONE


def _encoded(chunk: Chunk | str) -> bytes:
    if isinstance(chunk, str):
        return sse.comment(chunk)
    return b"data: %b\n\n" % sse.one_line(orjson.dumps(chunk))


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Do something as long as the client waits for it; `None` if it has gone away."""
    task = asyncio.create_task(work)
    leaving = asyncio.create_task(sse.gone(request.receive))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _stored(
    request: Request, prepared: Prepared, session_id: str, *, key: str | None, is_retry: bool
) -> AsyncIterator[TurnStream]:
    """A turn of a session, which goes on when its reader goes away. Raises as `submit_turn`."""
    parts, who = services(request), caller(request)
    counts = counts_retries(request)
    turn = await _submit(
        parts, who, prepared, session_id, key=key, is_retry=is_retry, counts=counts
    )
    stream = turn.stream
    request.state.headers = {"Idempotent-Replayed": "true"} if turn.is_replay else {}
    try:
        yield stream
    except (asyncio.CancelledError, GeneratorExit):
        # Its reader has gone, whether or not the turn has ended: the same request comes again most
        # likely, and not every client says so.
        parts.lost_answers.add(who.tenant, _digest(prepared, session_id), stream.turn.turn_id)
        raise


async def _submit(
    parts: Services,
    who: Caller,
    prepared: Prepared,
    session_id: str,
    *,
    key: str | None,
    is_retry: bool,
    counts: bool,
) -> SubmittedTurn:
    if key is None and not counts:
        own = _digest(prepared, session_id)
        joined = await parts.lost_answers.join(parts.turns, who, own)
        if joined is not None:
            return joined
    messages = prepared.parsed.messages
    if messages[-1].role not in {Role.USER, Role.TOOL}:
        detail = "The last message must be of the user or a tool where they are stored."
        raise Refused(detail, param=f"messages/{prepared.parsed.indexes[-1]}/role")
    matched = await parts.store.read(
        reconciliation.find_branch, tenant=who.tenant, session_id=session_id, wanted=messages
    )
    turn = _turn_request(prepared, session_id, matched, key=key, is_retry=is_retry)
    try:
        return await parts.turns.submit_turn(who, turn)
    except ChatError as error:
        first = len(messages) - len(turn.messages)
        raise _in_their_words(error, prepared.parsed.indexes[first:]) from error


def _turn_request(
    prepared: Prepared,
    session_id: str,
    matched: MatchedBranch,
    *,
    key: str | None,
    is_retry: bool,
) -> TurnRequest:
    """The turn that takes in what of a conversation is not in its session yet.

    Where all of it is, the last message is answered once more.
    """
    parsed = prepared.parsed
    regenerate: str | None = None
    messages: list[MessageContent] = parsed.messages[matched.count :]
    branch: Branch | None = Branch(matched.message_id)
    if not messages and matched.turn_id is not None:
        regenerate, branch = matched.turn_id, None
    elif not messages:
        # No turn has taken it in as its last message: it was imported.
        messages, branch = parsed.messages[-1:], Branch(matched.parent_id)
    shown = {file_id for message in messages for file_id in file_ids(message.blocks)}
    return TurnRequest(
        session_id=session_id,
        digest=_digest(prepared, session_id),
        messages=tuple(messages),
        files=tuple(file for file in parsed.files if file.file_id in shown),
        tools=prepared.tools,
        regenerate=regenerate,
        branch=branch,
        options=prepared.options,
        idempotency_key=key,
        is_client_retry=is_retry,
        # The request says everything, each time.
        inherits_options=False,
    )


def _digest(prepared: Prepared, session_id: str) -> bytes:
    return digest(PATH, [session_id, prepared.body])


def _in_their_words(error: ChatError, indexes: list[int]) -> ChatError:
    """An error that names a message of the turn, as one that names it in the request."""
    number = wrong_result(error)
    if number is None:
        return error
    detail = "There is no call with that tool_call_id that has no result yet."
    return Refused(detail, param=f"messages/{indexes[number]}/tool_call_id")
