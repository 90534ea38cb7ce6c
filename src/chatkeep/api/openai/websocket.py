"""`WS /v1/responses`: responses one after the other over one connection, as OpenAI has them.

https://developers.openai.com/api/docs/guides/websocket-mode. `Any` is JSON of theirs.

A response that is not stored is remembered by its connection until another one is, so that the next
request may go on from it. Turns that are stored go on when their connection ends.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from chatkeep import telemetry
from chatkeep.api import bodies, problems
from chatkeep.api.dependencies import Services
from chatkeep.api.openai import errors as openai
from chatkeep.api.openai.contexts import Context, context_after
from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.events import response_events
from chatkeep.api.openai.ids import response_id
from chatkeep.api.openai.items import COMPLETED
from chatkeep.api.openai.requests import unsupported
from chatkeep.api.openai.response_routes import (
    PATH,
    Prepared,
    lost_answer,
    prepare,
    submit,
)
from chatkeep.api.openai.responses import response_object
from chatkeep.domain.errors import (
    ChatError,
    Draining,
    InternalError,
    InvalidRequest,
    QueueFull,
    TurnRef,
)
from chatkeep.domain.ids import message_id, turn_id
from chatkeep.domain.model import Caller, Scope, Status, Turn, Usage
from chatkeep.turns.service import SubmittedTurn
from chatkeep.turns.stream import TurnStream

logger = telemetry.logger("websocket")

router = APIRouter()

CONNECTION_SECONDS = 3_600.0
"""How long a connection may last, as OpenAI has it; a response that has begun is completed."""

IDLE_SECONDS = 900.0
"""How long a connection may be without a request."""

REMEMBERED_BYTES = 4 * 1_048_576
"""How much of a conversation a connection remembers: it costs its client nothing."""

MAX_WAITING = 16
"""Requests of a connection that wait for the one before them."""

NORMAL, TOO_LARGE = 1000, 1009
"""RFC 6455, 7.4.1."""

TRANSPORT = {"type", "stream", "background", "stream_id"}
"""Members of a message that are not part of its request."""

MAX_LANE_CHARS = 255

Message = dict[str, Any]


@router.websocket(PATH)
async def open_connection(websocket: WebSocket) -> None:
    """Answer the requests of a connection until one of the sides closes it."""
    await websocket.accept()
    parts: Services = websocket.app.state.services
    await _Connection(parts, websocket.scope["caller"], websocket).run()


@dataclass(frozen=True, slots=True)
class _Remembered:
    """The last response that was not stored, and the conversation up to it."""

    response_id: str
    context: Context


class _Connection:
    """One connection: what it has sent and waits, and what its next request may go on from."""

    def __init__(self, parts: Services, who: Caller, websocket: WebSocket) -> None:
        self._parts = parts
        self._who = who
        self._websocket = websocket
        self._waiting = asyncio.Queue[tuple[Message, int]](MAX_WAITING)
        self._waiting_bytes = 0
        self._remembered: _Remembered | None = None
        self._lane: Message = {}

    async def run(self) -> None:
        """Read and answer until the client has gone, or was sent away."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, WebSocketDisconnect):
                raise error

    async def _read(self) -> None:
        """Take messages in until the client has gone."""
        while (received := await self._websocket.receive())["type"] == "websocket.receive":
            text = received.get("text")
            data = text.encode() if text is not None else received.get("bytes") or b""
            if len(data) > self._parts.max_chat_bytes:
                await self._websocket.close(TOO_LARGE)
                return
            try:
                await self._take(await _parsed(data), len(data))
            except ChatError as error:
                await self._send(error_message(error))

    async def _take(self, message: Message, size: int) -> None:
        """Let a request wait until those before it are answered. Raises `ChatError`."""
        kind = message.get("type")
        if kind == "response.steer":
            await self._send(_steer_failed(message))
            return
        if kind != "response.create":
            raise Refused("Must be response.create.", param="type")
        is_too_much = self._waiting_bytes + size > self._parts.max_chat_bytes
        if self._waiting.full() or (is_too_much and self._waiting_bytes):
            raise QueueFull("Too many requests of this connection wait.")
        self._waiting_bytes += size
        self._waiting.put_nowait((message, size))

    async def _answer(self) -> None:
        """Answer one request after the other until the time of the connection is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + CONNECTION_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(min(end, loop.time() + IDLE_SECONDS)):
                    message, size = await self._waiting.get()
            except TimeoutError:
                break
            if loop.time() >= end:
                break
            self._waiting_bytes -= size
            await self._answer_one(message)
        if loop.time() >= end:
            await self._send(error_message(_limit_reached()))
        await self._websocket.close(NORMAL)

    async def _answer_one(self, message: Message) -> None:
        lane = message.get("stream_id")
        is_lane = isinstance(lane, str) and len(lane) <= MAX_LANE_CHARS and lane.isprintable()
        self._lane = {"stream_id": lane} if is_lane else {}
        try:
            await self._respond(message)
        except WebSocketDisconnect:
            raise
        except ChatError as error:
            self._forget(message)
            await self._send(error_message(error) | self._lane)
        except Exception:
            # The connection goes on: what is wrong may be wrong with this request alone.
            logger.exception("response_failed")
            self._forget(message)
            await self._send(error_message(InternalError()) | self._lane)

    async def _respond(self, message: Message) -> None:
        body = {name: value for name, value in message.items() if name not in TRANSPORT}
        if body.get("generate") is False:
            # Without an answer there is no turn that could be stored.
            body["store"] = False
        remembered, before = self._remembered, None
        if remembered is not None and remembered.response_id == body.get("previous_response_id"):
            before = remembered.context
        prepared = await prepare(self._parts, self._who, body, before=before)
        if prepared.request.generate is False:
            if prepared.is_stored:
                raise unsupported("generate", "A conversation only takes in what is answered.")
            await self._respond_empty(prepared)
        elif prepared.is_stored:
            await self._respond_stored(prepared, message)
        else:
            await self._respond_unstored(prepared, message)

    async def _respond_empty(self, prepared: Prepared) -> None:
        """Only read a request, which the next one goes on from: no model is called."""
        options = prepared.turn.options
        turn = Turn(
            turn_id=turn_id(),
            session_id="",
            status=Status.COMPLETED,
            attempt=1,
            model=options.model or self._parts.providers.default,
            user_message_id=message_id(),
            message_id=message_id(),
            options=options,
        )
        is_visible = self._who.scope is not Scope.USER
        begun = response_object(turn, prepared.tools, is_visible=is_visible)
        ended = response_object(
            turn,
            prepared.tools,
            status=COMPLETED,
            usage=Usage(0, 0),
            completed_at=begun["created_at"],
            is_visible=is_visible,
        )
        self._remember(turn, context_after(prepared.parsed, None))
        states = {"created": begun, "in_progress": begun, "completed": ended}
        for number, (name, response) in enumerate(states.items()):
            event = {"type": f"response.{name}", "sequence_number": number, "response": response}
            await self._send(event | self._lane)

    async def _respond_stored(self, prepared: Prepared, message: Message) -> None:
        """Answer with a turn that is stored, and goes on if the client leaves."""
        submitting = asyncio.ensure_future(submit(self._parts, self._who, prepared))
        stream: TurnStream | None = None
        try:
            stream = (await asyncio.shield(submitting)).stream
            await self._send_events(stream, prepared)
        except (asyncio.CancelledError, WebSocketDisconnect):
            # The client has gone; when the same request comes again, it gets this turn.
            submitting.add_done_callback(lambda done: self._add_lost(prepared, done))
            raise
        if stream.has_failed:
            self._forget(message)

    def _add_lost(self, prepared: Prepared, submitted: asyncio.Future[SubmittedTurn]) -> None:
        if not submitted.cancelled() and submitted.exception() is None:
            stream = submitted.result().stream
            lost_answer(self._parts, self._who, prepared, stream)()

    async def _respond_unstored(self, prepared: Prepared, message: Message) -> None:
        """Answer with a turn of which nothing is stored; it ends if the client leaves."""
        async with self._parts.turns.unstored(self._who, prepared.unstored()) as stream:
            await self._send_events(stream, prepared)
        if stream.has_failed:
            self._forget(message)
        else:
            self._remember(stream.turn, context_after(prepared.parsed, stream))

    async def _send_events(self, stream: TurnStream, prepared: Prepared) -> None:
        """Send the events of a response to its end. Raises `ChatError` if that does not come."""
        events = response_events(
            stream,
            prepared.tools,
            after=-1,
            idle_seconds=self._parts.heartbeat_seconds,
            is_visible=self._who.scope is not Scope.USER,
        )
        has_ended = False
        async with contextlib.aclosing(events):
            async for together in events:
                # A comment: the server's pings do what it is for.
                has_ended = together == []
                for event in () if isinstance(together, str) else together:
                    await self._send(event | self._lane)
        if not has_ended:
            ref = TurnRef(stream.turn.turn_id)
            raise Draining("The response goes on, but not here: read it by its id.", turn=ref)

    def _remember(self, turn: Turn, context: Context) -> None:
        """Let the next request go on from a response, unless it is larger than a request may be."""
        is_too_large = context.size > REMEMBERED_BYTES
        self._remembered = None if is_too_large else _Remembered(response_id(turn.turn_id), context)

    def _forget(self, message: Message) -> None:
        """Forget a response from which a request went on in vain, as OpenAI does."""
        remembered = self._remembered
        if remembered and remembered.response_id == message.get("previous_response_id"):
            self._remembered = None

    async def _send(self, message: Message) -> None:
        """Send a message. Raises `WebSocketDisconnect` if the client has gone, or reads nothing."""
        try:
            async with asyncio.timeout(self._parts.reader_timeout):
                await self._websocket.send_text(orjson.dumps(message).decode())
        except TimeoutError:
            raise WebSocketDisconnect from None


async def _parsed(data: bytes) -> Message:
    """A message of the client. Raises `MalformedBody` or `InvalidRequest`."""
    is_long = len(data) > bodies.LONG_BYTES
    value = await asyncio.to_thread(bodies.parse, data) if is_long else bodies.parse(data)
    if not isinstance(value, dict):
        raise InvalidRequest("A message must be a JSON object.")
    return value


def error_message(error: ChatError) -> Message:
    """An error as OpenAI sends it over a connection."""
    status = openai.status_of(error, problems.STATUS[error.kind()])
    return {"type": "error", "status": status, **openai.envelope(error, status)}


def _limit_reached() -> ChatError:
    minutes = int(CONNECTION_SECONDS // 60)
    return Refused(
        f"A connection lasts {minutes} minutes: open another one.",
        openai_code="websocket_connection_limit_reached",
    )


def _steer_failed(message: Message) -> Message:
    previous = message.get("previous_response_id")
    is_id = isinstance(previous, str) and previous.isascii() and len(previous) <= MAX_LANE_CHARS
    return {
        "type": "response.steer.failed",
        "sequence_number": 0,
        "error": {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "A response takes nothing in while it is made.",
        },
        "steer": {"previous_response_id": previous} if is_id else {},
    }
