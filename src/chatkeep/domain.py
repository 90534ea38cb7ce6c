"""The words of the product: session, message, turn, prompt, and every error. Nothing here waits."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any, ClassVar, Self

import uuid_utils

DEFAULT_TENANT = "default"
_POSITION = re.compile(r"([1-9]\d{0,8})-(0|[1-9]\d{0,11})(t?)(e?)")
_EPOCH = datetime(1970, 1, 1)  # in UTC, as every time here
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\u2800"
    # Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties.txt): soft hyphen, fillers,
    # marks of direction, joiners, variation selectors, tags. Then the marks of annotations.
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff\ufff9-\ufffb]"
)
"""A character that is seen: no white space, no control character, none that leaves no ink."""


def now() -> int:
    """The time in microseconds since 1970, UTC: the form in which the store keeps times."""
    return time.time_ns() // 1_000


def rfc3339(microseconds: int) -> str:
    """A time as the wire shows it: UTC, RFC 3339 with `Z`, always six digits of a second."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds") + "Z"


def turn_id() -> str:
    """A new turn's id: a time-ordered UUIDv7 (RFC 9562) behind its prefix."""
    return "turn_" + uuid_utils.uuid7().hex


def message_id() -> str:
    """A new message's id: a time-ordered UUIDv7 (RFC 9562) behind its prefix."""
    return "msg_" + uuid_utils.uuid7().hex


def is_blank(text: str) -> bool:
    """Whether a reader sees nothing: the text is empty, or of invisible characters alone."""
    return _VISIBLE.search(text) is None


class Role(StrEnum):
    """Who speaks in a message."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class Status(StrEnum):
    """Where a turn is. A message has the status of the turn that it belongs to."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_end(self) -> bool:
        """Whether a turn that is here stays here."""
        return self not in {Status.QUEUED, Status.RUNNING}


class OnBusy(StrEnum):
    """What a turn does whose session is still answering another."""

    QUEUE = "queue"
    REJECT = "reject"
    INTERRUPT = "interrupt"


class TitleSource(StrEnum):
    """Who made a session's title."""

    PROVISIONAL = "provisional"
    MODEL = "model"
    USER = "user"


class CallKind(StrEnum):
    """What a model was called for."""

    REPLY = "reply"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the tenant that every query names."""

    tenant: str = DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a provider counted; `None` where it did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation, as it is listed."""

    session_id: str
    title: str
    title_source: TitleSource
    created_at: str
    updated_at: str
    message_count: int
    pinned: bool
    archived: bool


@dataclass(frozen=True, slots=True)
class SessionRecord(Session):
    """A session with all that can be set of it; `None` where the server's setting holds.

    `head` is the last message of the active branch, `running_turn` the turn under way,
    `queued_turns` those that wait for it, in the order in which they will run.
    """

    model: str | None
    system_prompt: str | None
    context_messages: int | None
    temperature: float | None
    max_tokens: int | None
    metadata: dict[str, Any]
    head: str | None
    running_turn: str | None
    queued_turns: tuple[str, ...]

    @property
    def tag(self) -> str:
        """Another one whenever anything of the session is (an entity tag, RFC 9110, 8.8.3)."""
        return blake2b(repr(self).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to list; `None` does not ask. `updated_since` is in microseconds."""

    archived: bool | None = None
    pinned: bool | None = None
    title: str | None = None
    updated_since: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a session."""

    id: str
    role: Role
    content: str
    created_at: str
    status: Status
    turn_id: str | None
    parent_id: str | None


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """What a turn may ask for itself; `None` leaves it to the session, then to the settings."""

    model: str | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None

    def over(self, other: "TurnOptions") -> "TurnOptions":
        """These options, and where they leave one open, the other's."""
        chosen = {
            name: mine if (mine := getattr(self, name)) is not None else getattr(other, name)
            for name in self.__dataclass_fields__
        }
        return TurnOptions(**chosen)


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a turn's message goes: below this message, or with `None` at the very beginning."""

    parent_id: str | None


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a caller asks for: an answer to `message`, or another one to the turn `regenerate`.

    Without a `branch` the message follows the session's newest. `digest` is the same for the
    same body. `is_repeat`: the caller says that it has sent this before, but not as what.
    """

    session_id: str
    digest: bytes
    message: str | None = None
    regenerate: str | None = None
    branch: Branch | None = None
    options: TurnOptions = TurnOptions()
    on_busy: OnBusy = OnBusy.QUEUE
    idempotency_key: str | None = None
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One user message and the reply generated for it."""

    turn_id: str
    session_id: str
    status: Status
    attempt: int
    model: str
    user_message_id: str
    message_id: str
    options: TurnOptions

    def start(self) -> dict[str, str]:
        """What is told of a turn when it starts."""
        return {
            "turn_id": self.turn_id,
            "session_id": self.session_id,
            "user_message_id": self.user_message_id,
            "message_id": self.message_id,
            "model": self.model,
        }


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """The server's system prompt, and those of models that have a default of their own."""

    default: str
    by_model: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: str) -> str:
        """The system prompt of a turn with this model where nobody chose one."""
        return self.by_model.get(model, self.default)


@dataclass(frozen=True, slots=True)
class SessionDefaults:
    """What holds where a session has nothing set. No `system_prompt` is none at all.

    It is that of the default model; an embedded model may have one of its own.
    """

    system_prompt: str | None
    context_messages: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is sent. `grammar` (GBNF) is obeyed by the embedded model alone."""

    system: str | None
    messages: tuple[tuple[Role, str], ...]
    temperature: float | None = None
    max_tokens: int | None = None
    grammar: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """How a model's answer ended. `finish_reason` is the provider's own word."""

    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model: what it cost, and whether that is an estimate."""

    kind: CallKind
    model: str
    status: Status
    input_tokens: int
    output_tokens: int
    is_estimated: bool
    is_retry: bool = False


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What the calls of one kind cost, of a day, a model, a session or a turn; `None`: of all.

    The estimated tokens are contained in the others, as are the calls of each sort.
    """

    day: str | None
    model: str | None
    session_id: str | None
    turn_id: str | None
    kind: CallKind
    calls: int
    retries: int
    failed: int
    cancelled: int
    interrupted: int
    estimated: int
    input_tokens: int
    output_tokens: int
    estimated_input_tokens: int
    estimated_output_tokens: int


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message that was found, or without a `message_id` a session's title.

    `on_active_branch`: true if the session's history shows it now, and for every title. The snippet
    is plain text in pieces, each with whether it is what was looked for.
    """

    session_id: str
    title: str
    message_id: str | None
    role: Role | None
    created_at: str
    on_active_branch: bool
    snippet: tuple["SnippetPart", ...]


@dataclass(frozen=True, slots=True)
class SnippetPart:
    """A piece of a snippet, and whether it is what was looked for."""

    text: str
    match: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """What a finished turn answers: the shape of `POST /chat` as JSON."""

    response: str
    session_id: str
    title: str
    turn_id: str
    user_message_id: str
    message_id: str
    model: str
    usage: Usage
    finish_reason: str | None

    @classmethod
    def to(cls, turn: Turn, *, text: str, title: str, completion: Completion) -> Self:
        """The reply to a turn that is complete."""
        return cls(
            response=text,
            session_id=turn.session_id,
            title=title,
            turn_id=turn.turn_id,
            user_message_id=turn.user_message_id,
            message_id=turn.message_id,
            model=turn.model,
            usage=completion.usage,
            finish_reason=completion.finish_reason,
        )


@dataclass(frozen=True, slots=True)
class TurnError:
    """Why a turn has no whole reply, in the words of a problem (RFC 9457)."""

    type: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class TurnSummary:
    """Where a turn is, and how it ended."""

    turn_id: str
    status: Status
    attempt: int
    model: str
    usage: Usage
    finish_reason: str | None
    error: TurnError | None
    created_at: str
    started_at: str | None
    ended_at: str | None


@dataclass(frozen=True, slots=True)
class TurnRecord(TurnSummary):
    """A turn as it is kept, with its messages as far as there are any."""

    session_id: str
    user_message_id: str
    message_id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class MessageRecord(Message):
    """A message with its alternatives and its turn.

    `siblings` are the messages with the same parent, itself included, oldest first. The `turn` of
    a reply is the one that wrote it, that of a user's message the newest that answers it.
    """

    siblings: tuple[str, ...]
    turn: TurnSummary | None


@dataclass(frozen=True, slots=True)
class Failure:
    """How a turn ended that has no whole reply: why, and the text so far."""

    error: "ChatError"
    text: str


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a turn. A turn's stream can be read again from any `id`."""

    id: str
    name: str
    data: "dict[str, Any] | Session | Reply | Failure"


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message as a model was sent it; `None` for a line that is no message of the session."""

    message_id: str | None
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Messages of the branch that a model was not sent, and the rule that left them out.

    `message_ids` are the newest of them; `count` is how many there are.
    """

    rule: str
    count: int
    message_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Exactly what a turn's model was sent, and what it was not."""

    turn_id: str
    attempt: int
    model: str
    context_messages: int
    system_prompt: str | None
    messages: tuple[SentMessage, ...]
    left_out: tuple[LeftOut, ...]
    temperature: float | None
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a turn's log: the attempt, the characters of its text, what else was seen."""

    attempt: int
    offset: int = 0
    is_titled: bool = False
    is_end: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an event's id. Raises `InvalidRequest`."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise InvalidRequest("The position is not the id of a turn's event.")
        attempt, offset, titled, end = found.groups()
        return cls(int(attempt), int(offset), bool(titled), bool(end))

    def __str__(self) -> str:
        """The id of the event that leads here."""
        flags = "t" * self.is_titled + "e" * self.is_end
        return f"{self.attempt}-{self.offset}{flags}"


class ChatError(Exception):
    """Something went wrong that Chatkeep has a name for."""

    code: ClassVar[str] = "error"

    def __init__(
        self, detail: str | None = None, *, retry_after: int | None = None, **extra: Any
    ) -> None:
        """Take the sentence to show (else the class's own), seconds to wait, and helpful members.

        Members that are `None` are left out.
        """
        doc = type(self).__doc__ or ""
        self.detail = detail or doc.splitlines()[0]
        self.retry_after = retry_after
        self.extra = {name: value for name, value in extra.items() if value is not None}
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The same words for every error of this kind (RFC 9457, section 3.1.4)."""
        return (type(self).__doc__ or "").splitlines()[0]

    @property
    def uri(self) -> str:
        """What names this kind of error (RFC 9457, section 3.1.1)."""
        return f"/problems/{self.code}"


class MalformedRequest(ChatError):
    """The request is not well-formed HTTP."""

    code = "malformed-request"


class MalformedBody(ChatError):
    """The body is not well-formed JSON in UTF-8."""

    code = "malformed-body"


class UnsupportedMediaType(ChatError):
    """The body must be application/json."""

    code = "unsupported-media-type"


class BodyTooSlow(ChatError):
    """The body did not arrive in time."""

    code = "body-too-slow"


class InvalidRequest(ChatError):
    """The request has a value that is not allowed."""

    code = "invalid-request"


class TooLarge(ChatError):
    """The request is larger than this server accepts."""

    code = "too-large"


class ForeignHost(ChatError):
    """This server does not answer to that host name."""

    code = "foreign-host"


class ForeignOrigin(ChatError):
    """That web page may not call this server."""

    code = "foreign-origin"


class NotAcceptable(ChatError):
    """None of the media types that the request accepts is available."""

    code = "not-acceptable"


class SessionNotFound(ChatError):
    """There is no such session."""

    code = "session-not-found"


class MessageNotFound(ChatError):
    """There is no such message."""

    code = "message-not-found"


class TurnNotFound(ChatError):
    """There is no such turn."""

    code = "turn-not-found"


class PageMissing(ChatError):
    """This server was installed without its page."""

    code = "page-missing"


class TurnNotStarted(ChatError):
    """This turn is still waiting for the one before it."""

    code = "turn-not-started"


class SessionChanged(ChatError):
    """The session has changed since it was read."""

    code = "session-changed"


class SessionBusy(ChatError):
    """This session is still answering."""

    code = "session-busy"


class IdempotencyKeyReused(ChatError):
    """This idempotency key was already used with a different request."""

    code = "idempotency-key-reused"


class QueueFull(ChatError):
    """Too many turns of this session are waiting already."""

    code = "queue-full"


class Overloaded(ChatError):
    """The server is already running as many turns as it allows."""

    code = "overloaded"


class Draining(ChatError):
    """The server is shutting down."""

    code = "draining"


class StoreUnavailable(ChatError):
    """The database cannot be used right now."""

    code = "store-unavailable"


class ModelFailed(ChatError):
    """No complete answer from the model."""

    code = "model-failed"


class AnswerUnreadable(ChatError):
    """The model's answer could not be read."""

    code = "model-answer-unreadable"


class AnswerWithheld(ChatError):
    """The model's provider withheld the answer."""

    code = "model-answer-withheld"


class AnswerWithoutText(ChatError):
    """The model's answer has no text."""

    code = "model-answer-without-text"


class ModelOutOfTokens(ChatError):
    """The model used all its tokens before it wrote an answer."""

    code = "model-out-of-tokens"


class ModelQuotaExhausted(ChatError):
    """The account at the model's provider has no credit left."""

    code = "model-quota-exhausted"


class ModelMisconfigured(ChatError):
    """The model is not set up correctly on the server."""

    code = "model-misconfigured"


class ContextTooLong(ChatError):
    """This conversation is too long for the model."""

    code = "context-too-long"


class ModelTimedOut(ChatError):
    """The model did not answer in time."""

    code = "model-timed-out"


class ModelBusy(ChatError):
    """The model takes no more requests right now."""

    code = "model-busy"


class TurnCancelled(ChatError):
    """The turn was cancelled."""

    code = "turn-cancelled"


class TurnInterrupted(ChatError):
    """The server stopped too many times during this turn."""

    code = "turn-interrupted"


class InternalError(ChatError):
    """Something unexpected went wrong on the server."""

    code = "internal-error"


_ERRORS = {error.code: error for error in ChatError.__subclasses__()}


def error_named(
    code: str, detail: str | None, *, retry_after: int | None = None, **extra: Any
) -> ChatError:
    """Make the error again that a turn ended with; one that is unknown by now is internal."""
    return _ERRORS.get(code, InternalError)(detail, retry_after=retry_after, **extra)
