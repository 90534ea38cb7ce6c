"""`/sessions` and `/history/{session_id}`: the sessions, what is set of them, their messages."""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Annotated, Self, cast

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chatkeep.api import access, bodies, etags, paging, problems
from chatkeep.api.bodies import Storable
from chatkeep.api.dependencies import CallerOf, Limit, SessionsOf, StoreOf
from chatkeep.api.parameters import session_name
from chatkeep.api.routing import StrictRoute
from chatkeep.api.times import Moment, microseconds
from chatkeep.domain.errors import InvalidRequest
from chatkeep.domain.model import (
    Message,
    MessageRecord,
    Session,
    SessionFilter,
    SessionRecord,
)
from chatkeep.domain.records import ReplyTokens, Temperature
from chatkeep.domain.validation import is_blank, validate_metadata, validate_title
from chatkeep.store import details, messages, sessions
from chatkeep.store.database import Store
from chatkeep.store.session_changes import SessionChanges

MAX_TITLE_CHARS = 255
MAX_ID_CHARS = 255

router = APIRouter(tags=["sessions"], route_class=StrictRoute)

_LINKED = {"headers": {"Link": {"schema": {"type": "string"}, "description": "RFC 8288"}}}
_TAGGED = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "RFC 9110, 8.8.3"}}}

After = Annotated[
    str | None, Query(max_length=2_000, description="From the `Link` of a page before.")
]
IsArchived = Annotated[bool | None, Query(description="Only archived ones, or only others.")]
IsPinned = Annotated[bool | None, Query(description="Only pinned ones, or only others.")]
InTitle = Annotated[
    str | None,
    Query(min_length=1, max_length=MAX_TITLE_CHARS, description="Only with this in the title."),
]
UpdatedSince = Annotated[Moment | None, Query(description="Only with activity then or later.")]
Before = Annotated[
    str | None, Query(max_length=MAX_ID_CHARS, description="Only messages before this one's id.")
]
Head = Annotated[
    str | None,
    Query(
        max_length=MAX_ID_CHARS,
        description="A message's id: the branch through it is read, to the newest message "
        "below it, and the active one stays as it is.",
    ),
]
WithDetails = Annotated[
    bool, Query(alias="details", description="Whether to tell each message's siblings and turn.")
]
IfNoneMatch = Annotated[
    str | None, Header(description="Tags that you have: the answer is 304 if it is still one.")
]
IfMatch = Annotated[
    str | None,
    Header(description="The `ETag` that you read: 412 if the session has changed since."),
]


@router.get(
    "/sessions",
    summary="List the sessions, newest activity first",
    response_model=list[Session],
    responses={200: _LINKED, **problems.documented(422)},
)
async def list_sessions(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    limit: Limit = None,
    after: After = None,
    archived: IsArchived = None,
    pinned: IsPinned = None,
    title: InTitle = None,
    updated_since: UpdatedSince = None,
) -> Response:
    """List all sessions, or with `limit` a page whose `Link` (`rel="next"`) leads to the next."""
    only = SessionFilter(archived, pinned, title, microseconds(updated_since))
    if limit is None and after is None:
        return await paging.whole(_all_sessions(store, caller.tenant, only))
    size = limit or paging.MAX_LIMIT
    page = await store.read(
        sessions.page,
        tenant=caller.tenant,
        limit=size,
        after=_cursor(after) if after else None,
        only=only,
    )
    link = None
    if page.next_cursor is not None:
        cursor = paging.encode_cursor(page.next_cursor.updated_at, page.next_cursor.session_id)
        link = paging.link(request, "next", limit=size, after=cursor)
    return paging.page(page.items, link)


async def _all_sessions(
    store: Store, tenant: str, only: SessionFilter
) -> AsyncIterator[Sequence[Session]]:
    keys = await store.read(sessions.keys, tenant=tenant, only=only)
    for start in range(0, len(keys), paging.SESSIONS_CHUNK):
        pks = keys[start : start + paging.SESSIONS_CHUNK]
        yield await store.read(sessions.by_keys, tenant=tenant, pks=pks)


def _cursor(text: str) -> sessions.SessionCursor:
    match paging.decode_cursor(text):
        case [int(updated_at), str(session_id)] if 0 <= updated_at < 2**63:
            return sessions.SessionCursor(updated_at, session_id)
        case _:
            raise InvalidRequest("after: is not a position in this list.")


class SessionChange(BaseModel):
    """What to change about a session: only what is there is changed."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"minProperties": 1})

    title: Storable = Field(
        "",
        max_length=MAX_TITLE_CHARS,
        json_schema_extra={"minLength": 1, "pattern": r"\S"},
        description="One line. A title that is set here is never overwritten by a model's.",
    )
    pinned: bool = Field(False, description="Whether it is to be kept at hand.")
    archived: bool = Field(False, description="Whether it is out of the way.")
    model: Storable | None = Field(
        None, description="A model on offer for its turns; null is the server's."
    )
    system_prompt: Storable | None = Field(
        None,
        max_length=bodies.MAX_SYSTEM_PROMPT_CHARS,
        description="For its turns; null is the server's, empty is none.",
    )
    context_messages: int | None = Field(
        None, ge=0, le=1_000, description="Prior messages that are read; null is the server's."
    )
    temperature: Temperature | None = Field(
        None, description="For its turns; null is the model's own."
    )
    max_tokens: ReplyTokens | None = Field(
        None, description="Tokens of each reply at most; null is the model's own limit."
    )
    metadata: dict[str, object] = Field(
        default={}, description="Your own, at most 16 KiB as JSON; replaces what was there."
    )
    head: Storable = Field(
        "",
        min_length=1,
        max_length=MAX_ID_CHARS,
        description="A message of the session: its branch becomes the active one, to the newest "
        "message below it.",
    )

    @field_validator("title")
    @classmethod
    def _check_title(cls, value: str) -> str:
        if is_blank(value):
            raise ValueError("must not be blank")
        return validate_title(value.strip())

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, value: dict[str, object]) -> dict[str, object]:
        return validate_metadata(value)

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must contain at least one field to change")
        return self


@router.get(
    # A session id may contain a slash.
    "/sessions/{session_id:path}",
    summary="Read a session",
    response_model=SessionRecord,
    responses={200: _TAGGED, **problems.documented(404)},
)
async def read_session(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    session_id: str,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Tell all that is set of a session. The `ETag` is another one whenever any of it is."""
    record = await store.read(
        sessions.record, tenant=caller.tenant, session_id=session_name(request, session_id)
    )
    record = access.visible(caller, record)
    if etags.is_known(record.revision, if_none_match):
        return Response(status_code=304, headers=etags.header(record.revision))
    return _record(record)


@router.patch(
    "/sessions/{session_id:path}",
    summary="Change a session",
    response_model=SessionRecord,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/SessionChange"}}
            },
        }
    },
    responses={200: _TAGGED, **problems.documented(400, 404, 409, 412, 413, 415, 422)},
)
async def change_session(
    request: Request,
    caller: CallerOf,
    sessions: SessionsOf,
    session_id: str,
    if_match: IfMatch = None,
) -> Response:
    """Set the title, the settings of its turns, the branch: what is given, all or nothing."""
    change = await bodies.read(request, SessionChange)
    members = change.model_dump(exclude_unset=True)
    access.check_members(caller, members)
    changed = await sessions.change(
        caller,
        session_name(request, session_id),
        cast("SessionChanges", members),
        expected=etags.expected(if_match),
        seen=partial(access.visible, caller),
    )
    return _record(access.visible(caller, changed))


@router.delete(
    "/sessions/{session_id:path}",
    summary="Delete a session for good",
    status_code=204,
    response_class=Response,
    responses={
        202: {
            "description": "It is deleted, and nobody sees it any more. Its last traces on disk "
            "go later: when another program has stopped reading the file, or, with PostgreSQL, "
            "when that reuses their space."
        },
        **problems.documented(404),
    },
)
async def delete_session(
    request: Request, caller: CallerOf, sessions: SessionsOf, session_id: str
) -> Response:
    """Delete a session with all that belongs to it, from every file, and cancel its turns."""
    is_gone = await sessions.delete(caller, session_name(request, session_id))
    return Response(status_code=204 if is_gone else 202)


def _record(record: SessionRecord) -> Response:
    """A session as its caller sees it: a tag of more would tell what is hidden to who guesses."""
    headers = etags.header(record.revision)
    return Response(orjson.dumps(record), headers=headers, media_type="application/json")


# One of two functions of the store, whose parameters `Callable` cannot name.
_ReadPath = Callable[..., Sequence[Message]]


@router.get(
    "/history/{session_id:path}",
    summary="Read a session's messages, oldest first",
    response_model=list[Message] | list[MessageRecord],
    responses={200: _LINKED, **problems.documented(404, 422)},
)
async def history(
    request: Request,
    caller: CallerOf,
    store: StoreOf,
    session_id: str,
    limit: Limit = None,
    before: Before = None,
    head: Head = None,
    with_details: WithDetails = False,
) -> Response:
    """List the messages of the active branch or of another, or with `limit` the newest of them.

    The `Link` (`rel="prev"`) of a page leads to older messages.
    """
    path = await store.read(
        messages.path,
        tenant=caller.tenant,
        session_id=session_name(request, session_id),
        limit=None if limit is None else limit + 1,
        before=before,
        head=head,
    )
    of_path: _ReadPath = details.of_path if with_details else messages.of_path
    if limit is None:
        return await paging.whole(_all_messages(store, of_path, path))
    listed = await store.read(of_path, session_pk=path.session_pk, seqs=path.seqs[:limit][::-1])
    link = None
    if len(path.seqs) > limit and listed:
        link = paging.link(request, "prev", limit=limit, before=listed[0].id)
    return paging.page(listed, link)


async def _all_messages(
    store: Store, of_path: _ReadPath, path: messages.Path
) -> AsyncIterator[Sequence[Message]]:
    seqs = path.seqs[::-1]
    for start in range(0, len(seqs), paging.MESSAGES_CHUNK):
        chunk = seqs[start : start + paging.MESSAGES_CHUNK]
        yield await store.read(of_path, session_pk=path.session_pk, seqs=chunk)
