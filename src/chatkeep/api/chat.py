"""`POST /chat`: a message in, the model's answer out."""

import unicodedata
from typing import Annotated

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chatkeep.api import accept, bodies, problems
from chatkeep.api.dependencies import CallerOf, EngineOf
from chatkeep.domain import Reply, TurnOptions

router = APIRouter(tags=["chat"])

JSON, TEXT = "application/json", "text/plain"
MAX_SYSTEM_PROMPT_CHARS = 100_000


def _is_session_id(value: str) -> str:
    if not 1 <= len(value) <= 255:
        raise ValueError("must have 1 to 255 characters")
    if any(unicodedata.category(ch) == "Cc" for ch in value):
        raise ValueError("must not contain control characters")
    if value != value.strip():
        raise ValueError("must not begin or end with white space")
    if value in {".", ".."}:
        raise ValueError("must not be . or ..")
    return _is_storable(value)


def _is_storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain U+0000")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates") from None
    return value


def _is_message(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return _is_storable(value)


class ChatRequest(BaseModel):
    """A message for a session, which is created if it does not exist."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"session_id": "trip-to-lisbon", "message": "What should I pack?"}]
        },
    )

    session_id: Annotated[str, AfterValidator(_is_session_id)] = Field(
        description="Your own name for the session: 1 to 255 characters.",
    )
    message: Annotated[str, AfterValidator(_is_message)] = Field(
        description="The user's message. Kept exactly as sent."
    )
    model: str | None = Field(None, description="A model on offer, for this turn.")
    system_prompt: Annotated[str, AfterValidator(_is_storable)] | None = Field(
        None, max_length=MAX_SYSTEM_PROMPT_CHARS, description="The system prompt, for this turn."
    )
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="For this turn."
    )
    max_tokens: int | None = Field(
        None, ge=1, le=1_000_000, description="Tokens of the reply at most, for this turn."
    )


@router.post(
    "/chat",
    summary="Send a message and get the answer",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/ChatRequest"}}},
        }
    },
    responses={
        200: {
            "model": Reply,
            "content": {
                TEXT: {"schema": {"type": "string"}},
                JSON: {
                    "example": {
                        "response": "Light layers, and shoes for steep streets.",
                        "session_id": "trip-to-lisbon",
                        "title": "What to Pack for Lisbon",
                        "turn_id": "turn_01a2058719d1766ebad13f34039a02d3",
                        "user_message_id": "msg_01a2058d321777799d99f4a2f92f6a97",
                        "message_id": "msg_01a2058d321b75598013149ac14bb6fc",
                        "model": "openai:gpt-5-mini",
                        "usage": {"input_tokens": 42, "output_tokens": 9},
                        "finish_reason": "stop",
                    }
                },
            },
        },
        **problems.documented(400, 406, 408, 413, 415, 422, 429, 502, 503, 504),
    },
)
async def chat(request: Request, caller: CallerOf, engine: EngineOf) -> Response:
    """Store the message, ask the model with the newest messages before it, store its answer.

    Once the message is accepted the turn goes on, even when you go away.
    """
    media_type = accept.choose(request.headers.get("accept"), (JSON, TEXT))
    body = await bodies.read(request, ChatRequest)
    live = await engine.post(
        caller,
        session_id=body.session_id,
        message=body.message,
        options=TurnOptions(
            model=body.model,
            system_prompt=body.system_prompt,
            temperature=body.temperature,
            max_tokens=body.max_tokens,
        ),
    )
    if media_type == TEXT:
        reply = await engine.reply(live, wait_for_title=False)
        return Response(reply.response, media_type="text/plain; charset=utf-8")
    reply = await engine.reply(live, wait_for_title=True)
    return Response(orjson.dumps(reply), media_type=JSON)
