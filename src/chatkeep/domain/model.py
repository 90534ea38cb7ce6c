"""The nouns of the product as values: session, message, turn, prompt, usage."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple

from chatkeep.domain.blocks import Block, Blocks

DEFAULT_TENANT = "default"


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
        """Whether a turn with this status has ended for good."""
        return self not in {Status.QUEUED, Status.RUNNING}


class OnBusy(StrEnum):
    """What to do with a new turn while its session runs another: wait, fail, or stop the other."""

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


class Scope(StrEnum):
    """What a caller may do. Which route needs which scope is in `api/access.py`."""

    CHAT = "chat"
    READ = "read"
    USER = "user"
    ADMIN = "admin"
    METRICS = "metrics"
    LOCAL = "local"
    """The command line of the server's own machine and account, which may do everything."""


KEY_SCOPES = (Scope.CHAT, Scope.READ, Scope.ADMIN, Scope.METRICS)
"""The scopes that a key may have. `user` is that of a token, `local` has no key."""

SERVER_SCOPES = (Scope.ADMIN, Scope.METRICS)
"""The scopes of keys that belong to no tenant, and read no conversation."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done; every query names the tenant.

    Attributes:
        tenant: Whose sessions they are: a tenant, or a user of one as `tenant/user`.
        scope: What the caller may do.
        actor: Who it is in the audit log: the id of a key, or how else it was recognised.
        digest: Of the secret that it has shown; `None` if it needed none.
        is_bound: True if the user is part of the credential: the caller cannot choose another.
        models: The models that it may ask for; `None` for all that are on offer.

    """

    tenant: str = DEFAULT_TENANT
    scope: Scope = Scope.CHAT
    actor: str = "keyless"
    digest: bytes | None = None
    is_bound: bool = False
    models: tuple[str, ...] | None = None

    @property
    def root(self) -> str:
        """The tenant, without the user."""
        return self.tenant.partition("/")[0]

    @property
    def user(self) -> str | None:
        """The user of the tenant, if it is one."""
        return self.tenant.partition("/")[2] or None


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
    def revision(self) -> str:
        """A digest of all fields: the same for equal records, and another after any change."""
        return blake2b(repr(self).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions to list; `None` for any.

    Attributes:
        archived: Only those that are archived, or that are not.
        pinned: Only those that are pinned, or that are not.
        title: Part of the title, in any case.
        updated_since: Microseconds since 1970.
    """

    archived: bool | None = None
    pinned: bool | None = None
    title: str | None = None
    updated_since: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of a session.

    `blocks` is `None` for a plain text. Of a message without a text, such as a mere call of a tool,
    `content` is a rendition of its blocks.
    """

    id: str
    role: Role
    content: str
    created_at: str
    status: Status
    turn_id: str | None
    parent_id: str | None
    blocks: Blocks | None


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How a turn's model is asked; `None` leaves it to the session, then to the settings.

    Attributes:
        model: As `provider:name`.
        system_prompt: The empty text is none at all.
        temperature: From 0 to 2.
        max_tokens: Of the reply.
        tool_choice: Whether the model may call its tools, as OpenAI's chat completions have it.
        response_format: What form the reply must have, as OpenAI's chat completions have it.
        reasoning_effort: How much the model is to think before it writes.
        top_p: The share of the probability among which tokens are drawn, from 0 to 1.
        stop: Texts at which the reply ends.
        parallel_tool_calls: Whether the model may call more than one tool at once.
        context_messages: Earlier messages that the model reads.
        omits_default_prompt: `True` to send no system prompt where only the server has one.
        client: What a client wants to have back with the turn, as it sent it.
    """

    model: str | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tool_choice: str | Block | None = None
    response_format: Block | None = None
    reasoning_effort: str | None = None
    top_p: float | None = None
    stop: list[str] | None = None
    parallel_tool_calls: bool | None = None
    context_messages: int | None = None
    omits_default_prompt: bool | None = None
    client: Block | None = None

    def over(self, other: "TurnOptions") -> "TurnOptions":
        """These options, and where one of them is `None`, the other's."""
        if self is NO_OPTIONS:
            return other
        own = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return replace(other, **own)

    def stored(self) -> dict[str, object]:
        """The options as a turn's row has them: those that are rarely set only where they are."""
        stored: dict[str, object] = {
            "model": self.model,
            "system_prompt": self.system_prompt,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if self is not NO_OPTIONS:
            rare = ((name, getattr(self, name)) for name in _NAMES[len(stored) :])
            stored |= {name: value for name, value in rare if value is not None}
        return stored


NO_OPTIONS = TurnOptions()
_NAMES = tuple(TurnOptions.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Branch:
    """Where in the tree a message goes: below this one, or with `None` at the beginning.

    With `after_turn` it is below the last message of that turn, which may not have ended yet: then
    it must be the last of its session.
    """

    parent_id: str | None
    after_turn: str | None = None


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A turn that a caller asks for.

    Attributes:
        session_id: Made by the application; the session is created with its first turn. It does not
            count where the branch follows a turn: then it is the session of that.
        digest: Of the request's body: equal bodies have equal digests.
        messages: What it takes in, the last one of the user or a tool; none if an earlier one is
            answered again.
        files: What the blocks of the messages refer to.
        tools: The tools on offer, as JSON; `None` for none.
        regenerate: Id of the turn to answer again; `None` for a new message.
        branch: Where the message goes; `None` for the end of the active branch.
        options: How the model is asked.
        on_busy: What to do while the session runs another turn.
        idempotency_key: The client's name for this request.
        is_client_retry: Whether the client says that it has sent this request before; which turn
            that made is found by the digest.
        inherits_options: Whether a turn that answers another once more has its model, options and
            tools where the request has none.
        is_detached: Whether nobody has named the session, so that a session which this turn creates
            begins archived, with a provisional title. The next turn, or messages that are added,
            bring it back.
        answers_failed: Whether the session's newest turn, if an equal request has just made it and
            it failed, is answered again instead of adding its messages once more.
        needs_session: Whether the session must exist.
    """

    session_id: str
    digest: bytes
    messages: tuple["MessageContent", ...] = ()
    files: tuple["FileContent", ...] = ()
    tools: str | None = None
    regenerate: str | None = None
    branch: Branch | None = None
    options: TurnOptions = NO_OPTIONS
    on_busy: OnBusy = OnBusy.QUEUE
    idempotency_key: str | None = None
    is_client_retry: bool = False
    inherits_options: bool = True
    is_detached: bool = False
    answers_failed: bool = False
    needs_session: bool = False

    @property
    def text(self) -> str:
        """The text that a new session's title is made from."""
        texts = (m.text for m in self.messages if m.role is Role.USER and m.text)
        return next(texts, "")


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


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """The server's default system prompt, and the defaults of single models."""

    default: str
    by_model: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: str) -> str:
        """The default system prompt of a model; empty for none."""
        return self.by_model.get(model, self.default)


@dataclass(frozen=True, slots=True)
class SessionDefaults:
    """What holds where a session has nothing set. No `system_prompt` is none at all.

    It is that of the default model; an embedded model may have one of its own.
    """

    system_prompt: str | None
    context_messages: int


class MessageContent(NamedTuple):
    """What a message says: its text and, where there is more, its blocks.

    Its `id` is `None` if it is no message of a session, or none yet.
    """

    role: Role
    text: str
    blocks: Blocks | None = None
    id: str | None = None


class FileContent(NamedTuple):
    """A picture or a document of a session, by the SHA-256 of its bytes."""

    file_id: str
    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class RunContext:
    """The turn that a prompt is for.

    `new_count` is how many of the last messages are its own, and `parent_turn_id` the turn that
    wrote the message before those; `None` at the beginning, or after an imported message.
    """

    tenant: str
    session_id: str
    turn_id: str
    attempt: int
    new_count: int
    parent_turn_id: str | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is sent.

    Attributes:
        system: The system prompt; `None` for none.
        messages: Those of the conversation, oldest first.
        temperature: From 0 to 2; `None` for the provider's default.
        max_tokens: Of the answer; `None` for the provider's default.
        grammar: In GBNF (llama.cpp); only models that a grammar can hold obey it.
        tools: Those on offer, as OpenAI's chat completions have them.
        tool_choice: See `TurnOptions`, as for what follows.
        files: What the blocks of the messages refer to, by `file_id`.
        run: For which turn it is; only agents need to know.
    """

    system: str | None
    messages: tuple[MessageContent, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    grammar: str | None = None
    tools: tuple[Block, ...] = ()
    tool_choice: str | Block | None = None
    response_format: Block | None = None
    reasoning_effort: str | None = None
    top_p: float | None = None
    stop: list[str] | None = None
    parallel_tool_calls: bool | None = None
    files: Mapping[str, FileContent] = field(default_factory=dict)
    run: RunContext | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """How a model's answer ended. `finish_reason` is the provider's own word for it.

    `blocks` are what the answer has beside its text and its reasoning, such as calls of tools;
    `reasoning_extras` what its provider wants to have back with the last pieces of reasoning.
    """

    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    blocks: Blocks = ()
    reasoning_extras: Blocks = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a model.

    Attributes:
        kind: What it was for.
        model: As `provider:name`.
        status: How it ended.
        input_tokens: Of the prompt.
        output_tokens: Of the answer.
        is_estimated: Whether the tokens are our estimate, because the provider sent no usage.
        is_retry: Whether an earlier call for the same purpose had failed.
    """

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

    @staticmethod
    def to(
        turn: Turn, *, text: str, blocks: Blocks | None, title: str, completion: Completion
    ) -> "Reply":
        """The reply to a turn that is complete."""
        values: dict[str, Any] = {
            "response": text,
            "session_id": turn.session_id,
            "title": title,
            "turn_id": turn.turn_id,
            "user_message_id": turn.user_message_id,
            "message_id": turn.message_id,
            "model": turn.model,
            "usage": completion.usage,
            "finish_reason": completion.finish_reason,
        }
        return Reply(**values) if blocks is None else ReplyWithBlocks(**values, blocks=blocks)


@dataclass(frozen=True, slots=True)
class ReplyWithBlocks(Reply):
    """A reply that is more than a text: it has called tools, or shown its reasoning."""

    blocks: Blocks


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
class SentMessage:
    """One message as a model was sent it; `None` for one that is no message of the session.

    Such are an opening that the provider demands, and the answer to a call of a tool that got none.
    """

    message_id: str | None
    role: Role
    content: str
    blocks: Blocks | None


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
    tools: tuple[Block, ...]
    tool_choice: str | Block | None
    response_format: Block | None
    reasoning_effort: str | None
    top_p: float | None
    stop: list[str] | None
    parallel_tool_calls: bool | None
