"""`/sessions` and `/history/{session_id}`: what is kept, and which branch of it is active."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Self, cast
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chatkeep.api import bodies, etags, paging, problems
from chatkeep.api.bodies import Storable
from chatkeep.api.dependencies import CallerOf, Limit, SessionsOf, StoreOf
from chatkeep.api.routing import StrictRoute
from chatkeep.api.times import Moment, microseconds
from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.model import Message, MessageRecord, Session, SessionFilter, SessionRecord
from chatkeep.domain.records import ReplyTokens, Temperature
from chatkeep.domain.validation import is_blank, validate_metadata, validate_title
from chatkeep.store import details, messages, sessions
from chatkeep.store.session_changes import SessionChanges

MAX_TITLE_CHARS = 255
MAX_ID_CHARS = 255

router = APIRouter(tags=["sessions"], route_class=StrictRoute)

_LINKED = {"headers": {"Link": {"schema": {"type": "string"}, "description": "RFC 8288"}}}
_TAGGED = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "RFC 9110, 8.8.3"}}}


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
    after: Annotated[
        str | None, Query(max_length=2_000, description="From the `Link` of a page before.")
    ] = None,
    archived: Annotated[
        bool | None, Query(description="Only archived ones, or only others.")
    ] = None,
    pinned: Annotated[bool | None, Query(description="Only pinned ones, or only others.")] = None,
    title: Annotated[
        str | None,
        Query(min_length=1, max_length=MAX_TITLE_CHARS, description="Only with this in the title."),
    ] = None,
    updated_since: Annotated[
        Moment | None, Query(description="Only with activity then or later.")
    ] = None,
) -> Response:
    """List all sessions, or with `limit` a page whose `Link` (`rel="next"`) leads to the next."""
    only = SessionFilter(archived, pinned, title, microseconds(updated_since))
    if limit is None and after is None:
        keys = await store.read(sessions.keys, tenant=caller.tenant, only=only)

        async def chunks() -> AsyncIterator[Sequence[Session]]:
            for start in range(0, len(keys), paging.SESSIONS_CHUNK):
                pks = keys[start : start + paging.SESSIONS_CHUNK]
                yield await store.read(sessions.by_keys, tenant=caller.tenant, pks=pks)

        return await paging.whole(chunks())
    cursor = sessions.SessionCursor(*paging.read_cursor(after)) if after else None
    size = limit or paging.MAX_LIMIT
    page = await store.read(
        sessions.page, tenant=caller.tenant, limit=size, after=cursor, only=only
    )
    link = None
    if page.next_cursor is not None:
        following = paging.cursor(page.next_cursor.updated_at, page.next_cursor.session_id)
        link = paging.link(request, "next", limit=size, after=following)
    return paging.page(page.items, link)


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
    metadata: dict[str, Any] = Field(
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
    def _is_title(cls, value: str) -> str:
        if is_blank(value):
            raise ValueError("must not be blank")
        return validate_title(value.strip())

    @field_validator("metadata")
    @classmethod
    def _is_metadata(cls, value: dict[str, Any]) -> dict[str, Any]:
        return validate_metadata(value)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must say what to change")
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
    if_none_match: Annotated[
        str | None, Header(description="Tags that you have: the answer is 304 if it is still one.")
    ] = None,
) -> Response:
    """Tell all that is set of a session. The `ETag` is another one whenever any of it is."""
    record = await store.read(
        sessions.record, tenant=caller.tenant, session_id=_name(request, session_id)
    )
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
    if_match: Annotated[
        str | None,
        Header(description="The `ETag` that you read: 412 if the session has changed since."),
    ] = None,
) -> Response:
    """Set the title, the settings of its turns, the branch: what is given, all or nothing."""
    change = await bodies.read(request, SessionChange)
    changed = await sessions.change(
        caller,
        _name(request, session_id),
        cast("SessionChanges", change.model_dump(exclude_unset=True)),
        expected=etags.expected(if_match),
    )
    return _record(changed)


@router.delete(
    "/sessions/{session_id:path}",
    summary="Delete a session for good",
    status_code=204,
    response_class=Response,
    responses={
        202: {
            "description": "It is deleted, and nobody sees it any more. Another program reads "
            "the database file, though, and its last traces go when that has ended."
        },
        **problems.documented(404),
    },
)
async def delete_session(
    request: Request, caller: CallerOf, sessions: SessionsOf, session_id: str
) -> Response:
    """Delete a session with all that belongs to it, from every file, and cancel its turns."""
    is_gone = await sessions.delete(caller, _name(request, session_id))
    return Response(status_code=204 if is_gone else 202)


def _record(record: SessionRecord) -> Response:
    headers = etags.header(record.revision)
    return Response(orjson.dumps(record), headers=headers, media_type="application/json")


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
    before: Annotated[
        str | None,
        Query(max_length=MAX_ID_CHARS, description="Only messages before this one's id."),
    ] = None,
    head: Annotated[
        str | None,
        Query(
            max_length=MAX_ID_CHARS,
            description="A message's id: the branch through it is read, to the newest message "
            "below it, and the active one stays as it is.",
        ),
    ] = None,
    with_details: Annotated[
        bool,
        Query(alias="details", description="Whether to tell each message's siblings and turn."),
    ] = False,
) -> Response:
    """List the messages of the active branch or of another, or with `limit` the newest of them.

    The `Link` (`rel="prev"`) of a page leads to older messages.
    """
    path = await store.read(
        messages.path,
        tenant=caller.tenant,
        session_id=_name(request, session_id),
        limit=None if limit is None else limit + 1,
        before=before,
        head=head,
    )
    read: Callable[..., Sequence[Message]] = details.of_path if with_details else messages.of_path
    if limit is None:
        seqs = path.seqs[::-1]

        async def chunks() -> AsyncIterator[Sequence[Message]]:
            for start in range(0, len(seqs), paging.MESSAGES_CHUNK):
                yield await store.read(
                    read,
                    session_pk=path.session_pk,
                    seqs=seqs[start : start + paging.MESSAGES_CHUNK],
                )

        return await paging.whole(chunks())
    seqs = path.seqs[:limit][::-1]
    found = await store.read(read, session_pk=path.session_pk, seqs=seqs)
    link = None
    if len(path.seqs) > limit and found:
        link = paging.link(request, "prev", limit=limit, before=found[0].id)
    return paging.page(found, link)


def _name(request: Request, session_id: str) -> str:
    """A session's name from the path. Raises `SessionNotFound` where it cannot be one."""
    try:
        unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError:
        # The framework has put U+FFFD for what is not UTF-8; that would be another's name.
        raise SessionNotFound from None
    return session_id
