"""`POST /chat`: sends a message, and returns the model's answer as JSON, as text or as events."""

import asyncio
from functools import partial
from hashlib import blake2b
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from chatkeep import examples
from chatkeep.api import accept, access, bodies, problems, sse
from chatkeep.api.bodies import MAX_SYSTEM_PROMPT_CHARS, Storable
from chatkeep.api.dependencies import caller, event_stream, services
from chatkeep.api.retries import MAX_KEY_CHARS, idempotency_key, is_client_retry
from chatkeep.api.routing import PlainRoute
from chatkeep.api.turn_inputs import (
    MAX_FILES,
    MAX_TOOLS,
    FileInput,
    NamedTool,
    ResponseFormat,
    Tool,
    ToolResultInput,
    attachments,
    dumped,
    tools_json,
)
from chatkeep.domain.blocks import Block
from chatkeep.domain.model import (
    NO_OPTIONS,
    Branch,
    FileContent,
    MessageContent,
    OnBusy,
    Reply,
    ReplyWithBlocks,
    Role,
    TurnOptions,
    TurnRequest,
)
from chatkeep.domain.records import ReplyTokens, Temperature
from chatkeep.domain.validation import is_blank, validate_session_id

T = TypeVar("T")

router = APIRouter(tags=["chat"], route_class=PlainRoute)

JSON, TEXT = "application/json", "text/plain"
MAX_ID_CHARS = 255
NAME_PATTERN = r"^[^\s\x00-\x1f\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
"""What of `validate_session_id` a pattern of OpenAPI can express."""

NO_FILES: tuple[list[Block], list[FileContent]] = ([], [])

OPTIONS = TurnOptions.__dataclass_fields__.keys()
"""The members of a request that are options of its turn."""

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
    tool_results: list[ToolResultInput] | None = Field(
        None,
        min_length=1,
        max_length=MAX_TOOLS,
        description="What came of the calls that the conversation ends with. A message may follow.",
    )
    message: Storable | None = Field(
        None,
        validate_default=True,
        json_schema_extra={"pattern": r"\S"},
        description="The user's message. Kept exactly as sent. Needed unless `regenerate` or "
        "`tool_results` is set.",
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
    tools: list[Tool] | None = Field(
        None, min_length=1, max_length=MAX_TOOLS, description="What the model may call."
    )
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = Field(
        None, description="Whether it may, may not or must call a tool, or which one."
    )
    response_format: ResponseFormat | None = Field(None, description="What form the reply has.")
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description="How much the model thinks before it writes."
    )
    images: list[Storable] | None = Field(
        None,
        min_length=1,
        max_length=MAX_FILES,
        description="Pictures of the message: data URLs in base64 (PNG, JPEG, GIF, WebP), or "
        "addresses on the web, which the model's provider fetches, and this server never does.",
    )
    files: list[FileInput] | None = Field(
        None, min_length=1, max_length=MAX_FILES, description="Documents of the message (PDF)."
    )

    @field_validator("message")
    @classmethod
    def _check_message(cls, value: str | None, info: ValidationInfo) -> str | None:
        regenerates = info.data.get("regenerate") is not None
        has_results = info.data.get("tool_results") is not None
        is_valid = "regenerate" in info.data and "tool_results" in info.data
        if value is None and not regenerates and not has_results and is_valid:
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

    @field_validator("tool_results")
    @classmethod
    def _check_results(
        cls, value: list[ToolResultInput] | None, info: ValidationInfo
    ) -> list[ToolResultInput] | None:
        if value is not None and info.data.get("regenerate") is not None:
            raise ValueError("must not be combined with regenerate, which selects the message")
        return value

    @field_validator("images", "files")
    @classmethod
    def _check_files(cls, value: list[T] | None, info: ValidationInfo) -> list[T] | None:
        if value is not None and info.data.get("message") is None and "message" in info.data:
            raise ValueError("needs a message")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _check_choice(cls, value: T | None, info: ValidationInfo) -> T | None:
        if value is not None and info.data.get("tools") is None and "tools" in info.data:
            raise ValueError("needs tools")
        return value

    @property
    def has_files(self) -> bool:
        """Whether there is more than text."""
        return self.images is not None or self.files is not None

    def to_turn_request(
        self, *, key: str | None, is_client_retry: bool, max_file_bytes: int
    ) -> TurnRequest:
        """The request as `TurnService` takes it.

        Args:
            key: The idempotency key.
            is_client_retry: True if a header marks the request as a repetition.
            max_file_bytes: Bytes that a picture or a document may have.

        Raises:
            InvalidRequest: A picture or a document is not what it should be.
            TooLarge: One of them, or all tools together, are too large.

        """
        members = self.model_dump(exclude_unset=True)
        canonical = orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
        messages = [result.to_content() for result in self.tool_results or ()]
        blocks, contents = NO_FILES
        if self.has_files:
            blocks, contents = attachments(
                self.images or [], self.files or [], max_bytes=max_file_bytes
            )
        if self.message is not None:
            own = ({"type": "text"}, *blocks) if blocks else None
            messages.append(MessageContent(Role.USER, self.message, own))
        return TurnRequest(
            session_id=self.session_id,
            digest=blake2b(canonical, digest_size=16).digest(),
            messages=tuple(messages),
            files=tuple(contents),
            tools=None if self.tools is None else tools_json(self.tools),
            regenerate=self.regenerate,
            branch=Branch(self.parent_id) if "parent_id" in members else None,
            options=NO_OPTIONS if members.keys().isdisjoint(OPTIONS) else self._options(),
            on_busy=OnBusy(self.on_busy),
            idempotency_key=key,
            is_client_retry=is_client_retry,
        )

    def _options(self) -> TurnOptions:
        choice, form = self.tool_choice, self.response_format
        return TurnOptions(
            model=self.model,
            system_prompt=self.system_prompt,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            tool_choice=dumped(choice) if isinstance(choice, NamedTool) else choice,
            response_format=None if form is None else dumped(form),
            reasoning_effort=self.reasoning_effort,
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
                maxLength=MAX_KEY_CHARS,
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
            "model": Reply | ReplyWithBlocks,
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
    key = idempotency_key(request)
    parts = services(request)
    body = await bodies.read(
        request, ChatRequest, max_bytes=parts.max_body_bytes, larger_with=("images", "files")
    )
    to_turn_request = partial(
        body.to_turn_request,
        key=key,
        is_client_retry=is_client_retry(request),
        max_file_bytes=parts.max_file_bytes,
    )
    # Pictures take long to decode.
    turn_request = await asyncio.to_thread(to_turn_request) if body.has_files else to_turn_request()
    who = caller(request)
    access.check_members(who, body.model_dump(exclude_none=True))
    turn = await parts.turns.submit_turn(who, turn_request)
    stream = turn.stream
    headers = request.state.headers = REPLAYED if turn.is_replay else {}
    if media_type == sse.MEDIA_TYPE:
        # With the headers, so that the turn is known before its first event (RFC 9110, 8.7).
        root = quote(request.scope.get("mount_path", ""))
        location = {"Content-Location": f"{root}/turns/{stream.turn.turn_id}/events"}
        return event_stream(request, stream, None, headers | location)
    reply = await stream.result(title=media_type == JSON)
    if media_type == TEXT:
        return Response(reply.response, headers=headers, media_type="text/plain; charset=utf-8")
    return Response(orjson.dumps(reply), headers=headers, media_type=JSON)
