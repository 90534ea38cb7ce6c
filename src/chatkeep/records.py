"""The lines of an export: one JSON object each, lossless. These models are its documentation.

A file begins with `Beginning`. Each session is a `SessionLine`, then its system prompts, its turns,
its messages and its calls, each oldest first, and an `EndLine`, without which it was cut off.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from chatkeep.domain import CallKind, Role, Status, TitleSource, rfc3339

VERSION: Literal[1] = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = 2**62


def microseconds(value: str) -> int:
    """A time of an export in microseconds since 1970. Raises `ValueError`."""
    since = datetime.fromisoformat(value) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _is_time(value: str) -> str:
    """Only what we write ourselves, so that it comes back byte for byte."""
    if rfc3339(max(0, microseconds(value))) != value:
        raise ValueError("must be a time such as 2026-01-31T12:00:00.000000Z")
    return value


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain U+0000")
    return value


Time = Annotated[str, AfterValidator(_is_time)]
Text = Annotated[str, AfterValidator(_storable)]
Id = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_storable)]
Seq = Annotated[int, Field(ge=1, le=_NEVER)]
Count = Annotated[int, Field(ge=0, le=_NEVER)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Beginning(_Line):
    """The first line."""

    type: Literal["chatkeep"] = "chatkeep"
    version: Literal[1] = VERSION


class SessionLine(_Line):
    """A session. `head_seq` is the last message of its active branch."""

    type: Literal["session"] = "session"
    session_id: Id
    title: Annotated[Text, Field(min_length=1, max_length=1_000)]
    title_source: TitleSource
    title_pending: bool = False
    pinned: bool
    archived: bool
    model: Id | None
    system_prompt: Text | None
    context_messages: Annotated[int, Field(ge=0, le=1_000)] | None
    metadata: dict[str, Any]
    head_seq: Seq | None
    created_at: Time
    updated_at: Time

    @model_validator(mode="after")
    def _has_order(self) -> "SessionLine":
        if self.updated_at < self.created_at:
            raise ValueError("updated_at must not be before created_at")
        return self


class SystemPromptLine(_Line):
    """A system prompt that turns of the session were sent; they name it by its digest."""

    type: Literal["system_prompt"] = "system_prompt"
    digest: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    content: Text


class Options(_Line):
    """What a turn asked for itself."""

    model: Text | None = None
    system_prompt: Text | None = None
    temperature: float | None = None
    max_tokens: int | None = None


class TurnLine(_Line):
    """A turn. `user_seq` is the message that it answers, `input` the message if it still waits.

    `branch_seq` is where that goes if not to the end, 0 the beginning; `regenerates` the turn that
    was answered again; `context_messages` how many messages the model might read, and
    `context_seq` the newest that was there.
    """

    type: Literal["turn"] = "turn"
    id: Id
    seq: Seq
    status: Status
    attempt: Annotated[int, Field(ge=0, le=1_000)]
    model: Id
    options: Options
    input: Text | None
    branch_seq: Count | None
    regenerates: Id | None
    context_messages: Annotated[int, Field(ge=0, le=1_000)] | None
    context_seq: Count | None
    system_prompt_digest: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None
    user_message_id: Id
    message_id: Id
    user_seq: Seq | None
    input_tokens: Count | None
    output_tokens: Count | None
    finish_reason: Text | None
    error_code: Text | None
    error_detail: Text | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


class MessageLine(_Line):
    """A message. `seq` counts them within the session, `parent_seq` is the one before."""

    type: Literal["message"] = "message"
    seq: Seq
    id: Id
    parent_seq: Seq | None
    role: Role
    content: Text
    status: Status
    turn_id: Id | None
    created_at: Time

    @model_validator(mode="after")
    def _can_be_kept(self) -> "MessageLine":
        if self.parent_seq is not None and self.parent_seq >= self.seq:
            raise ValueError("parent_seq must be before seq")
        if self.role is Role.ASSISTANT and not self.content:
            raise ValueError("an assistant's message must not be empty")
        return self


class CallLine(_Line):
    """A call of a model, for the count of tokens."""

    type: Literal["call"] = "call"
    turn_id: Id | None
    kind: CallKind
    model: Id
    status: Status
    is_retry: bool
    input_tokens: Count
    output_tokens: Count
    is_estimated: bool
    created_at: Time


class EndLine(_Line):
    """The last line of a session: it is whole."""

    type: Literal["end"] = "end"
    session_id: Id


Line = SessionLine | SystemPromptLine | TurnLine | MessageLine | CallLine | EndLine

LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])
"""Reads any line but the first."""

__all__ = [
    "LINES", "VERSION", "Beginning", "CallLine", "EndLine", "Line", "MessageLine", "Options",
    "SessionLine", "SystemPromptLine", "TurnLine", "microseconds",
]  # fmt: skip
