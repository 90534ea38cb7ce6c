"""`POST /chat`: sends a message, and returns the model's answer as JSON, as text or as events."""

from hashlib import blake2b
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from chatkeep import examples
from chatkeep.api import accept, access, bodies, problems, sse
from chatkeep.api.bodies import MAX_SYSTEM_PROMPT_CHARS, Storable
from chatkeep.api.dependencies import caller, event_stream, services
from chatkeep.api.routing import PlainRoute
from chatkeep.domain.errors import InvalidRequest, InvalidValue
from chatkeep.domain.model import Branch, OnBusy, Reply, TurnOptions, TurnRequest
from chatkeep.domain.records import ReplyTokens, Temperature
from chatkeep.domain.validation import is_blank, validate_session_id

router = APIRouter(tags=["chat"], route_class=PlainRoute)

JSON, TEXT = "application/json", "text/plain"
MAX_ID_CHARS = 255
NAME_PATTERN = r"^[^\s\x00-\x1f\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
"""What of `validate_session_id` a pattern of OpenAPI can express."""

REPLAYED = {"Idempotent-Replayed": "true"}
"""Header of a response to a request that is a repetition."""


class ChatRequest(BaseModel):
    """A message for a session, which is created if it does not exist; or a reply once more."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"session_id": "trip-to-lisbon", "message": "What should I pack?"}]
        },
    )

    session_id: Annotated[str, AfterValidator(validate_session_id)] = Field(
        description="Your own name for the session: 1 to 255 characters.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": NAME_PATTERN},
    )
    regenerate: Storable | None = Field(
        None,
        max_length=MAX_ID_CHARS,
        description="A turn of the session: its message is answered once more, as it was asked.",
    )
    message: Storable | None = Field(
        None,
        validate_default=True,
        json_schema_extra={"pattern": r"\S"},
        description="The user's message. Kept exactly as sent. Needed unless `regenerate` is set.",
    )
    parent_id: Storable | None = Field(
        None,
        max_length=MAX_ID_CHARS,
        description="The message to continue from, which makes a branch; null is the very "
        "beginning. Without it the message follows the newest of the active branch.",
    )
    on_busy: Literal["queue", "reject", "interrupt"] = Field(
        "queue",
        description="What to do while the session answers another message: wait in line, "
        "be refused (409), or cancel the running turn first.",
    )
    model: Storable | None = Field(None, description="A model on offer, for this turn.")
    system_prompt: Storable | None = Field(
        None, max_length=MAX_SYSTEM_PROMPT_CHARS, description="The system prompt, for this turn."
    )
    temperature: Temperature | None = Field(None, description="For this turn.")
    max_tokens: ReplyTokens | None = Field(
        None, description="Tokens of the reply at most, for this turn."
    )

    @field_validator("message")
    @classmethod
    def _check_message(cls, value: str | None, info: ValidationInfo) -> str | None:
        regenerates = info.data.get("regenerate") is not None
        if value is None and not regenerates and "regenerate" in info.data:
            raise ValueError("is required unless regenerate is set")
        if value is not None and regenerates:
            raise ValueError("must not be combined with regenerate, which selects the message")
        if value is not None and is_blank(value):
            raise ValueError("must not be blank")
        return value

    @field_validator("parent_id")
    @classmethod
    def _check_parent(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("regenerate") is not None:
            raise ValueError("must not be combined with regenerate, which selects the parent")
        return value

    def to_turn_request(self, *, key: str | None, is_client_retry: bool) -> TurnRequest:
        """The request as `TurnService` takes it.

        Args:
            key: The idempotency key.
            is_client_retry: True if a header marks the request as a repetition.

        """
        members = self.model_dump(exclude_unset=True)
        canonical = orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
        return TurnRequest(
            session_id=self.session_id,
            digest=blake2b(canonical, digest_size=16).digest(),
            message=self.message,
            regenerate=self.regenerate,
            branch=Branch(self.parent_id) if "parent_id" in members else None,
            options=TurnOptions(
                model=self.model,
                system_prompt=self.system_prompt,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            ),
            on_busy=OnBusy(self.on_busy),
            idempotency_key=key,
            is_client_retry=is_client_retry,
        )


def _header(name: str, description: str, **schema: object) -> dict[str, object]:
    """The OpenAPI entry of an optional header; `schema` is more of its schema."""
    entry = {"name": name, "in": "header", "required": False}
    return {**entry, "schema": {"type": "string", **schema}, "description": description}


@router.post(
    "/chat",
    summary="Send a message and get the answer",
    openapi_extra={
        "parameters": [
            _header(
                "Idempotency-Key",
                "1 to 255 visible ASCII characters. The same key with the same body, "
                "within 24 hours, gives the same turn.",
                minLength=1,
                maxLength=MAX_ID_CHARS,
                pattern="^[!-~]+$",
            ),
            _header(
                "X-Stainless-Retry-Count",
                "Sent by stock clients that repeat a request: a repeat joins its turn.",
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/ChatRequest"}}},
        },
    },
    responses={
        200: {
            "model": Reply,
            "headers": {
                "Idempotent-Replayed": {
                    "schema": {"type": "string"},
                    "description": "`true` when this is the turn of an earlier request.",
                },
                "Content-Location": {
                    "schema": {"type": "string"},
                    "description": "`/turns/{turn_id}/events`: where a stream can be read again.",
                },
            },
            "content": {
                TEXT: {"schema": {"type": "string"}},
                **sse.CONTENT,
                JSON: {
                    "example": {
                        "response": "Light layers, and shoes for steep streets.",
                        "session_id": "trip-to-lisbon",
                        "title": "What to Pack for Lisbon",
                        "turn_id": "turn_01a2058719d1766ebad13f34039a02d3",
                        "user_message_id": "msg_01a2058d321777799d99f4a2f92f6a97",
                        "message_id": "msg_01a2058d321b75598013149ac14bb6fc",
                        "model": examples.OPENAI,
                        "usage": {"input_tokens": 42, "output_tokens": 9},
                        "finish_reason": "stop",
                    }
                },
            },
        },
        **problems.documented(400, 404, 406, 408, 409, 413, 415, 422, 429, 502, 503, 504),
    },
)
async def chat(request: Request) -> Response:
    """Store the message, ask the model with the newest messages before it, store its answer.

    Once the message is accepted the turn goes on, even when you go away.
    """
    accepted = ", ".join(request.headers.getlist("accept"))
    media_type = accept.choose(accepted, (JSON, TEXT, sse.MEDIA_TYPE))
    key = _key(request.headers.getlist("idempotency-key"))
    count = request.headers.get("x-stainless-retry-count", "").strip()
    is_client_retry = count.isdecimal() and count.strip("0") != ""
    body = await bodies.read(request, ChatRequest)
    turn_request = body.to_turn_request(key=key, is_client_retry=is_client_retry)
    who = caller(request)
    access.check_members(who, body.model_dump(exclude_none=True))
    turn = await services(request).turns.submit_turn(who, turn_request)
    stream = turn.stream
    headers = request.state.headers = REPLAYED if turn.is_replay else {}
    if media_type == sse.MEDIA_TYPE:
        # With the headers, so that the turn is known before its first event (RFC 9110, 8.7).
        location = {"Content-Location": f"/turns/{stream.turn.turn_id}/events"}
        return event_stream(request, stream, None, headers | location)
    reply = await stream.result(title=media_type == JSON)
    if media_type == TEXT:
        return Response(reply.response, headers=headers, media_type="text/plain; charset=utf-8")
    return Response(orjson.dumps(reply), headers=headers, media_type=JSON)


def _key(headers: list[str]) -> str | None:
    """The idempotency key of a request's headers of that name. Raises `InvalidRequest`."""
    if not headers:
        return None
    header = headers[0]
    is_valid = 1 <= len(header) <= MAX_ID_CHARS and all("!" <= ch <= "~" for ch in header)
    if len(headers) > 1 or not is_valid:
        detail = "must appear once, with 1 to 255 visible ASCII characters"
        listed: list[InvalidValue] = [{"parameter": "Idempotency-Key", "detail": detail}]
        raise InvalidRequest(f"Idempotency-Key: {detail}", errors=listed)
    return header
