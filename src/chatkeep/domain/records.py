"""The lines of an export: one JSON object each, lossless. These models are its documentation.

A file begins with `Beginning`. Each session is a `SessionLine`, then its system prompts, its files,
its turns, its messages and its calls, each oldest first, and an `EndLine`, without which it was cut
off. Members that are not in version 1 are left out where they are null.
"""

from base64 import b64decode
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from chatkeep.domain import file_types
from chatkeep.domain.blocks import MAX_BYTES, validate_blocks
from chatkeep.domain.model import CallKind, FileContent, Role, Status, TitleSource
from chatkeep.domain.times import microseconds, rfc3339
from chatkeep.domain.validation import (
    reject_unstorable,
    validate_json,
    validate_metadata,
    validate_session_id,
    validate_title,
)

VERSION: Literal[2] = 2
_MAX_SEQ, _MAX_TOKENS = 2**53, 2**40
MAX_STOPS = 16


def _check_time(value: str) -> str:
    """Check that a time is one that `rfc3339` has made, so that it is exported byte for byte."""
    try:
        is_ours = rfc3339(max(0, microseconds(value))) == value
    except (TypeError, OverflowError, ValueError):
        is_ours = False
    if not is_ours:
        raise ValueError("must be a time such as 2026-01-31T12:00:00.000000Z")
    return value


def _check_json(value: dict[str, object]) -> dict[str, object]:
    if validate_json(value) > MAX_BYTES:
        raise ValueError(f"must not be longer than {MAX_BYTES} bytes as JSON")
    return value


Time = Annotated[str, AfterValidator(_check_time)]
Text = Annotated[str, AfterValidator(reject_unstorable)]
JSON = Annotated[dict[str, object], AfterValidator(_check_json)]
StoredBlocks = Annotated[tuple[dict[str, object], ...], AfterValidator(validate_blocks)]
Id = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(reject_unstorable)]
Seq = Annotated[int, Field(ge=1, le=_MAX_SEQ)]
TreePosition = Annotated[int, Field(ge=0, le=_MAX_SEQ)]
Tokens = Annotated[int, Field(ge=0, le=_MAX_TOKENS)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
ReplyTokens = Annotated[int, Field(ge=1, le=1_000_000)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Beginning(_Line):
    """The first line."""

    type: Literal["chatkeep"]
    version: Literal[1, 2]


class SessionLine(_Line):
    """A session. `head_seq` is the last message of its active branch."""

    type: Literal["session"] = "session"
    session_id: Annotated[str, AfterValidator(validate_session_id)]
    title: Annotated[str, Field(max_length=1_000), AfterValidator(validate_title)]
    title_source: TitleSource
    title_pending: bool = False
    pinned: bool
    archived: bool
    model: Id | None
    system_prompt: Text | None
    context_messages: Annotated[int, Field(ge=0, le=1_000)] | None
    temperature: Temperature | None = None
    max_tokens: ReplyTokens | None = None
    metadata: Annotated[dict[str, object], AfterValidator(validate_metadata)]
    head_seq: Seq | None
    created_at: Time
    updated_at: Time

    @model_validator(mode="after")
    def _check_order(self) -> "SessionLine":
        if self.updated_at < self.created_at:
            raise ValueError("updated_at must not be before created_at")
        if self.title_pending and self.title_source is not TitleSource.PROVISIONAL:
            raise ValueError("title_pending is for provisional titles")
        return self


class SystemPromptLine(_Line):
    """A system prompt that turns of the session were sent, or the tools that were on offer.

    They name it by its digest.
    """

    type: Literal["system_prompt"] = "system_prompt"
    digest: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    content: Text


class FileLine(_Line):
    """A picture or a document of the session; `data` is in base64, `file_id` its SHA-256."""

    type: Literal["file"] = "file"
    file_id: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    mime_type: Annotated[str, Field(max_length=100)]
    data: str

    @property
    def content(self) -> FileContent:
        """The file."""
        return FileContent(self.file_id, self.mime_type, b64decode(self.data))

    @model_validator(mode="after")
    def _check_consistency(self) -> "FileLine":
        try:
            data = b64decode(self.data, validate=True)
        except ValueError:
            raise ValueError("data must be base64") from None
        if sha256(data).hexdigest() != self.file_id:
            raise ValueError("file_id must be the SHA-256 of the data")
        if file_types.media_type(data) != self.mime_type:
            raise ValueError("mime_type must be what the data are")
        return self


class InputMessage(_Line):
    """A message that a turn will take in."""

    id: Id
    role: Role
    text: Text
    blocks: StoredBlocks | None


InputMessages = Annotated[tuple[InputMessage, ...], Field(min_length=1, max_length=1_000)]


class Options(_Line):
    """What a turn asked for itself, or what its session had set when it was asked."""

    model: Text | None = None
    system_prompt: Text | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tool_choice: str | JSON | None = None
    response_format: JSON | None = None
    reasoning_effort: Text | None = None
    top_p: float | None = None
    stop: Annotated[list[Text], Field(max_length=MAX_STOPS)] | None = None
    parallel_tool_calls: bool | None = None
    context_messages: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    omits_default_prompt: bool | None = None
    client: JSON | None = None


_WAITING = {Status.QUEUED, Status.CANCELLED}
_WHOLE = {Status.COMPLETED, Status.RUNNING}
_BROKEN = {Status.FAILED, Status.CANCELLED, Status.INTERRUPTED}


class TurnLine(_Line):
    """A turn. `user_seq` is the message that it answers, `input` the message if it still waits.

    `branch_seq` is where that goes if not to the end, 0 the beginning; `regenerates` the turn that
    was answered again; `context_messages` how many messages the model might read, and
    `context_seq` the newest that was there. A turn that takes in more than one plain text has all
    of it in `input_messages` while it waits, and then the number of the first in `first_seq`.
    """

    type: Literal["turn"] = "turn"
    id: Id
    seq: Seq
    status: Status
    attempt: Annotated[int, Field(ge=0, le=1_000)]
    model: Id
    options: Options
    input: Text | None
    branch_seq: TreePosition | None
    regenerates: Id | None
    context_messages: Annotated[int, Field(ge=0, le=1_000_000)] | None
    context_seq: TreePosition | None
    system_prompt_digest: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None
    user_message_id: Id
    message_id: Id
    user_seq: Seq | None
    input_messages: (
        Annotated[tuple[InputMessage, ...], Field(min_length=1, max_length=1_000)] | None
    ) = None
    first_seq: Seq | None = None
    tools_digest: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    input_tokens: Tokens | None
    output_tokens: Tokens | None
    finish_reason: Text | None
    error_code: Text | None
    error_detail: Text | None
    created_at: Time
    started_at: Time | None
    ended_at: Time | None

    @model_validator(mode="after")
    def _check_consistency(self) -> "TurnLine":
        waits = self.input is not None
        if waits and (self.user_seq is not None or self.status not in _WAITING):
            raise ValueError("input is for turns that wait, or were cancelled while they did")
        if self.input_messages is not None and not waits:
            raise ValueError("input_messages is for turns that wait, as input is")
        if self.first_seq is not None and not self.first_seq < (self.user_seq or 0):
            raise ValueError("first_seq must be before user_seq")
        if not waits and self.user_seq is None and self.regenerates is None:
            raise ValueError("user_seq must say which message the turn answers")
        if self.status in _WHOLE and self.user_seq is None:
            raise ValueError("user_seq must be there")
        if self.status in _BROKEN and self.error_code is None:
            raise ValueError("error_code must say why the turn has no whole reply")
        return self


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
    blocks: StoredBlocks | None = None

    @model_validator(mode="after")
    def _check_consistency(self) -> "MessageLine":
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
    input_tokens: Tokens
    output_tokens: Tokens
    is_estimated: bool
    created_at: Time


class EndLine(_Line):
    """The last line of a session: it is whole."""

    type: Literal["end"] = "end"
    session_id: Id


Line = SessionLine | SystemPromptLine | FileLine | TurnLine | MessageLine | CallLine | EndLine

LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])
"""Validates any line but the first."""
