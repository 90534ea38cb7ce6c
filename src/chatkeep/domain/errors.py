"""Every error that Chatkeep has a name for. `api/problems.py` has their HTTP statuses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NotRequired, Self, TypedDict


@dataclass(frozen=True, slots=True)
class TurnRef:
    """Which turn an error is about; the session only where the caller may not know it."""

    turn_id: str
    session_id: str | None = None


class InvalidValue(TypedDict):
    """A value of a request that is not allowed: where it is, and why (RFC 9457, section 3)."""

    detail: str
    pointer: NotRequired[str]
    parameter: NotRequired[str]


class ChatError(Exception):
    """Base of every error that Chatkeep raises on purpose.

    `code` is the stable name of the kind of error: clients, the database and exports know it.
    `title` is the sentence for people, the same for every error of the kind (RFC 9457, 3.1.4).
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong."

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after: int | None = None,
        turn: TurnRef | None = None,
        forbids_retry: bool = False,
        errors: Sequence[InvalidValue] = (),
    ) -> None:
        """Make an error.

        Args:
            detail: What is wrong this time, for people; the kind's `title` by default.
            retry_after: Seconds after which the same request may succeed.
            turn: The turn that the error is about.
            forbids_retry: True where clients that retry by themselves must not: the turn is
                stored, or retrying cannot help (`X-Should-Retry`, as OpenAI's clients read it).
            errors: Each value that is wrong, with its reason.

        """
        self.detail = detail or self.title
        self.retry_after = retry_after
        self.turn = turn
        self.forbids_retry = forbids_retry
        self.errors = errors
        super().__init__(self.detail)

    def as_outcome_of(self, turn: TurnRef) -> Self:
        """Make this the outcome of a stored turn: whoever sends its message again doubles it."""
        self.turn, self.forbids_retry = turn, True
        return self

    @classmethod
    def kind(cls) -> "type[ChatError]":
        """The kind of error, which a dialect may have words of its own for."""
        return cls if ChatError in cls.__bases__ else cls.__bases__[0]

    @property
    def uri(self) -> str:
        """The problem type (RFC 9457, 3.1.1)."""
        return f"/problems/{self.code}"


class MalformedRequest(ChatError):
    """Raised where the bytes of a request are not HTTP/1.1 as RFC 9112 defines it."""

    code = "malformed-request"
    title = "The request is not well-formed HTTP."


class MalformedBody(ChatError):
    """Raised for a body that no JSON reader accepts (RFC 8259)."""

    code = "malformed-body"
    title = "The body is not well-formed JSON in UTF-8."


class UnsupportedMediaType(ChatError):
    """Raised for a body with any other `Content-Type`."""

    code = "unsupported-media-type"
    title = "The body must be application/json."


class BodyTooSlow(ChatError):
    """Raised when a client takes longer than the setting `body_timeout` to send its body."""

    code = "body-too-slow"
    title = "The body did not arrive in time."


class InvalidRequest(ChatError):
    """Raised for well-formed requests; `errors` may list each value with its reason."""

    code = "invalid-request"
    title = "The request has a value that is not allowed."


class UnsupportedContent(ChatError):
    """Raised for tools, pictures or other demands that a turn's model cannot meet."""

    code = "unsupported-content"
    title = "The model cannot do what the request demands."


class TooLarge(ChatError):
    """Raised for a body, a message or an import line beyond its limit."""

    code = "too-large"
    title = "The request is larger than this server accepts."


class ForeignHost(ChatError):
    """Raised for a `Host` that is not allowed: a defence against DNS rebinding."""

    code = "foreign-host"
    title = "This server does not answer to that host name."


class ForeignOrigin(ChatError):
    """Raised for an `Origin` that is not allowed to change anything."""

    code = "foreign-origin"
    title = "That web page may not call this server."


class AddressNotFound(ChatError):
    """Raised for an address at which there is nothing, whoever calls."""

    code = "not-found"
    title = "Not Found"


class WrongMethod(ChatError):
    """Raised for a method that an address does not have; `allowed` are those that it has."""

    code = "method-not-allowed"
    title = "Method Not Allowed"

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        """Make an error."""
        super().__init__("Method Not Allowed.")
        self.allowed = allowed


class UnsafeAddress(ChatError):
    """Raised at the start of a server that others can reach, and that requires no key."""

    code = "unsafe-address"
    title = (
        "Others can reach this address, and the server does not require a key. Make one with "
        "`chatkeep keys create`, or set CHATKEEP_REQUIRE_KEY=true and make it later; or listen on "
        "127.0.0.1 alone; or set CHATKEEP_LISTEN_WITHOUT_KEY=true."
    )


class KeyMissing(ChatError):
    """Raised for a request without a key, where one is needed."""

    code = "key-missing"
    title = "This server requires a key."


class KeyInvalid(ChatError):
    """Raised for a key, a token or a cookie that this server does not know."""

    code = "key-invalid"
    title = "The key is not valid."


class KeyExpired(ChatError):
    """Raised for a key or a token whose time is over. Only whoever has the secret learns that."""

    code = "key-expired"
    title = "The key has expired."


class KeyRevoked(ChatError):
    """Raised for a key that was revoked. Only whoever has the secret learns that."""

    code = "key-revoked"
    title = "The key was revoked."


class NotAllowed(ChatError):
    """Raised for what the caller's scope does not allow; `needs` are the scopes that do."""

    code = "not-allowed"
    title = "The key does not allow that."

    def __init__(
        self, detail: str | None = None, *, needs: str = "", pointer: str | None = None
    ) -> None:
        """Make an error.

        Args:
            detail: What is not allowed, for people.
            needs: The scopes that would do, separated by spaces (RFC 6750, section 3).
            pointer: The member of the body that is not allowed (RFC 6901); the request itself
                without.

        """
        super().__init__(detail)
        self.needs, self.pointer = needs, pointer


class KeyNotFound(ChatError):
    """Raised for the id of a key that does not exist."""

    code = "key-not-found"
    title = "There is no such key."


class KeyEnded(ChatError):
    """Raised for a revoked key that is to get another secret."""

    code = "key-ended"
    title = "The key was revoked. Make another one."


class TenantNotFound(ChatError):
    """Raised for a tenant, or a user of the caller's tenant, that does not exist."""

    code = "tenant-not-found"
    title = "There is no such tenant or user."


class TenantNeeded(ChatError):
    """Raised for the deletion of the server's own tenant."""

    code = "tenant-needed"
    title = "This tenant is the server's own."


class TenantErased(ChatError):
    """Raised for a new tenant with the name of one whose last traces still go."""

    code = "tenant-erased"
    title = "A tenant with that name is being erased."


class NotAcceptable(ChatError):
    """Raised when `Accept` excludes all that a route can send (RFC 9110, 12.5.1)."""

    code = "not-acceptable"
    title = "None of the media types that the request accepts is available."


class SessionNotFound(ChatError):
    """Raised also for sessions of other tenants."""

    code = "session-not-found"
    title = "There is no such session."


class MessageNotFound(ChatError):
    """Raised also for messages of other sessions and tenants."""

    code = "message-not-found"
    title = "There is no such message."


class MessageNotLast(ChatError):
    """Raised for the removal of a message that others follow, or that is on another branch."""

    code = "message-not-last"
    title = "This message is not the last one of the conversation."


class FileNotFound(ChatError):
    """Raised for a picture or a document that the session does not have."""

    code = "file-not-found"
    title = "There is no such file."


class TurnNotFound(ChatError):
    """Raised also for turns of other sessions and tenants."""

    code = "turn-not-found"
    title = "There is no such turn."


class PageMissing(ChatError):
    """Raised where the built files of the web page are not installed."""

    code = "page-missing"
    title = "This server was installed without its page."


class TurnNotStarted(ChatError):
    """Raised for what is known only once a turn runs, such as its receipt."""

    code = "turn-not-started"
    title = "This turn is still waiting for the one before it."


class TurnNotEnded(ChatError):
    """Raised for what follows a turn that has not ended, and is not the newest of its session."""

    code = "turn-not-ended"
    title = "This turn has not ended, and others of its session wait behind it."


class ModelNotFound(ChatError):
    """Raised for the name of a model that is not on offer, where the model is the resource."""

    code = "model-not-found"
    title = "There is no such model on this server."


class SessionChanged(ChatError):
    """Raised when no tag in `If-Match` is the current one (RFC 9110, 13.1.1)."""

    code = "session-changed"
    title = "The session has changed since it was read."


class SessionBusy(ChatError):
    """Raised while a turn runs: for one with `on_busy: "reject"`, or a change of the messages."""

    code = "session-busy"
    title = "This session is still answering."


class IdempotencyKeyReused(ChatError):
    """Raised for the same `Idempotency-Key` with another body."""

    code = "idempotency-key-reused"
    title = "This idempotency key was already used with a different request."


class QueueFull(ChatError):
    """Raised beyond `max_queued_turns`; `retry_after` is in seconds."""

    code = "queue-full"
    title = "Too many turns of this session are already waiting."


class Overloaded(ChatError):
    """Raised beyond a limit of the process: turns, imports, requests or queued writes."""

    code = "overloaded"
    title = "The server is already running as many turns as it allows."


class Draining(ChatError):
    """Raised from the first signal to stop until the process ends."""

    code = "draining"
    title = "The server is shutting down."


class StoreUnavailable(ChatError):
    """Raised when the database is locked, full, damaged or gone."""

    code = "store-unavailable"
    title = "The database cannot be used right now."


class ModelFailed(ChatError):
    """Raised for failures at a provider that have no more precise name."""

    code = "model-failed"
    title = "The model did not give a complete answer."


class AnswerUnreadable(ChatError):
    """Raised when the provider's answer does not follow its own protocol."""

    code = "model-answer-unreadable"
    title = "The model's answer could not be read."


class AnswerWithheld(ChatError):
    """Raised for answers that a content filter stopped, or that are a refusal."""

    code = "model-answer-withheld"
    title = "The model's provider withheld the answer."


class AnswerWithoutText(ChatError):
    """Raised for answers of tool calls, reasoning or white space alone."""

    code = "model-answer-without-text"
    title = "The model's answer has no text."


class ModelOutOfTokens(ChatError):
    """Raised when reasoning used up the limit of output tokens."""

    code = "model-out-of-tokens"
    title = "The model used all its tokens before it wrote an answer."


class ModelQuotaExhausted(ChatError):
    """Raised for a spent account; waiting does not help, so it is not retried."""

    code = "model-quota-exhausted"
    title = "The account at the model's provider has no credit left."


class ModelMisconfigured(ChatError):
    """Raised for wrong keys, addresses and model names; the operator must act."""

    code = "model-misconfigured"
    title = "The model is not set up correctly on the server."


class ContextTooLong(ChatError):
    """Raised when the prompt is longer than the model's context window."""

    code = "context-too-long"
    title = "This conversation is too long for the model."


class ModelTimedOut(ChatError):
    """Raised when no token arrived for too long, or the turn took too long."""

    code = "model-timed-out"
    title = "The model did not answer in time."


class ModelBusy(ChatError):
    """Raised for a provider's rate limit or overload once retries are used up."""

    code = "model-busy"
    title = "The model is not accepting requests right now."


class TurnCancelled(ChatError):
    """The outcome of a turn that a client, a newer message or a deletion stopped."""

    code = "turn-cancelled"
    title = "The turn was cancelled."


class TurnInterrupted(ChatError):
    """The outcome of a turn whose process died during each attempt."""

    code = "turn-interrupted"
    title = "The server stopped too many times during this turn."


class InternalError(ChatError):
    """The outcome of what nobody foresaw; the log has the traceback."""

    code = "internal-error"
    title = "Something unexpected went wrong on the server."


_ERRORS = {error.code: error for error in ChatError.__subclasses__()}


def error_from_code(code: str, detail: str | None) -> ChatError:
    """Make an error again from what is stored of it.

    Args:
        code: As `ChatError.code`; one that this version does not know becomes `InternalError`.
        detail: The stored sentence, or `None` for the default of its kind.

    """
    return _ERRORS.get(code, InternalError)(detail)
