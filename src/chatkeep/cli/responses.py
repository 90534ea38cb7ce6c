"""The JSON of the server's responses, as far as commands read it. `openapi.json` has the rest."""

from typing import Any, NotRequired, TypedDict


class SessionRecord(TypedDict):
    """A session in a list, and alone, where it also has its settings."""

    session_id: str
    title: str
    message_count: int
    created_at: str
    updated_at: str
    model: NotRequired[str | None]
    system_prompt: NotRequired[str | None]


class MessageBlocks(TypedDict):
    """What a message has: its text, and its blocks if it is more than text.

    `Any`: what is in a block depends on its type.
    """

    content: str
    blocks: NotRequired[list[dict[str, Any]] | None]


class MessageRecord(MessageBlocks):
    """A message of the active branch."""

    role: str
    created_at: str
    status: str
    turn_id: str | None
    parent_id: str | None


class ModelRecord(TypedDict):
    """A model on offer."""

    id: str


class ModelList(TypedDict):
    """The models on offer, and what there is to know of the default one."""

    default: str
    models: list[ModelRecord]
    notice: NotRequired[str | None]


class SnippetPart(TypedDict):
    """A part of a search hit's text."""

    text: str
    match: bool


class SearchHit(TypedDict):
    """A message, or a title, that a search matches."""

    session_id: str
    title: str
    role: str | None
    created_at: str
    snippet: list[SnippetPart]


class UsageRow(TypedDict):
    """Calls and tokens of one group."""

    day: str | None
    model: str | None
    session_id: str | None
    turn_id: str | None
    kind: str
    calls: int
    input_tokens: int
    output_tokens: int
    estimated_input_tokens: int
    estimated_output_tokens: int


class SkippedRecord(TypedDict):
    """A record that was not imported."""

    session_id: str | None
    reason: str
    line: NotRequired[int]


class ImportNote(TypedDict):
    """What was left out of an imported session."""

    session_id: str
    left_out: list[str]


class ImportReport(TypedDict):
    """The outcome of an import. `skipped` may be shorter than `skipped_count`."""

    imported: int
    messages: int
    skipped_count: int
    skipped: list[SkippedRecord]
    notes: list[ImportNote]


class KeyRecord(TypedDict):
    """A key of `GET /keys`."""

    id: str
    name: str
    scope: str
    tenant: str | None
    user: str | None
    models: list[str] | None
    hints: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class NewKeyRecord(KeyRecord):
    """A key with its secret, of `POST /keys`."""

    key: str


class TenantRecord(TypedDict):
    """A tenant of `GET /tenants`."""

    tenant: str
    created_at: str
    session_count: int
    last_activity: str | None


class UserRecord(TypedDict):
    """A user of `GET /users`."""

    user: str
    created_at: str
    session_count: int
    last_activity: str | None


class AuditEntry(TypedDict):
    """An entry of `GET /audit`."""

    number: int
    at: str
    actor: str
    tenant: str | None
    action: str
    target: str | None
