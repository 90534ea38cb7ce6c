"""Sessions as a file: lossless lines, Markdown for people, the message lists of OpenAI."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import orjson

from chatkeep import telemetry
from chatkeep.domain.blocks import file_ids
from chatkeep.domain.errors import ChatError, SessionNotFound
from chatkeep.domain.model import Caller, Message, MessageContent
from chatkeep.domain.records import VERSION, Beginning
from chatkeep.domain.times import now, rfc3339
from chatkeep.store import exports as stored
from chatkeep.store import files, messages
from chatkeep.store.database import Store
from chatkeep.transfer import openai
from chatkeep.transfer.markdown import Transcript

logger = telemetry.logger("transfer")

SESSIONS_AT_ONCE = 100
"""Keys of sessions that one query reads."""

MESSAGES_AT_ONCE = 50
"""Messages that are in memory at the same time; one may be long."""

CHUNK_BYTES = 65_536

ExportFormat = Literal["jsonl", "markdown", "openai"]

_Writer = Callable[[Store, str, AsyncIterator[int]], AsyncIterator[bytes]]


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file that is made as it is read. Its name has no suffix."""

    name: str
    content: AsyncIterator[bytes]


async def note(store: Store, caller: Caller) -> None:
    """Write down that somebody exports sessions; one that cannot be noted is not held up."""
    try:
        await store.write(stored.note, tenant=caller.tenant, actor=caller.actor, at=now())
    except ChatError as error:
        logger.warning("export_not_noted", code=error.code)


async def export(
    store: Store, tenant: str, form: ExportFormat, session_ids: Sequence[str] | None
) -> ExportFile:
    """Export some sessions of a tenant, or all. A session that is deleted meanwhile is left out.

    Args:
        store: Where they are.
        tenant: Whose sessions.
        form: The format.
        session_ids: Which sessions, in this order, each once; `None` for all of them in the order
            of their creation. The export of a single one has its title for a name.

    Raises:
        SessionNotFound: The tenant has not all of these sessions.

    """
    name, pks = f"chatkeep-export-{datetime.now(UTC):%Y-%m-%d}", _all_pks(store, tenant)
    if session_ids is not None:
        named_sessions = await store.read(
            stored.sessions_by_id, tenant=tenant, session_ids=session_ids
        )
        name, pks = (
            named_sessions[0].title if len(named_sessions) == 1 else name,
            _pks(named_sessions),
        )
    return ExportFile(name, _WRITERS[form](store, tenant, pks))


async def _pks(sessions: Sequence[stored.NamedSession]) -> AsyncIterator[int]:
    for session in sessions:
        yield session.pk


async def _all_pks(store: Store, tenant: str) -> AsyncIterator[int]:
    after = 0
    while pks := await store.read(stored.pks, tenant=tenant, after=after, limit=SESSIONS_AT_ONCE):
        for pk in pks:
            yield pk
        after = pks[-1]


async def _jsonl(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """Everything, as `domain/records.py` describes it."""
    first = Beginning(type="chatkeep", version=VERSION)
    yield orjson.dumps(first.model_dump(), option=orjson.OPT_APPEND_NEWLINE)
    async for pk in pks:
        lines = await store.read(stored.lines, tenant=tenant, pk=pk)
        if lines is None:
            continue
        with lines:
            while chunk := await asyncio.to_thread(lines.read, CHUNK_BYTES):
                yield chunk


async def _openai(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """A line for each session: `{"messages": [{"role", "content"}, …]}`, the active branch."""
    async for pk in pks:
        session = await store.read(stored.session, tenant=tenant, pk=pk)
        if session is None:
            continue
        yield b'{"messages":['
        separator = b""
        exchanges = openai.Exchanges()
        async for branch in _branch(store, tenant, session.session_id):
            async for some in _openai_messages(store, pk, exchanges.add(branch)):
                yield separator + some
                separator = b","
        async for some in _openai_messages(store, pk, exchanges.end()):
            yield separator + some
        yield b"]}\n"


async def _openai_messages(
    store: Store, pk: int, contents: Iterable[MessageContent]
) -> AsyncIterator[bytes]:
    """The messages as JSON, separated by commas; the files of one message are in memory."""
    pieces: list[bytes] = []
    for content in contents:
        names = file_ids(content.blocks)
        contents_by_id = (
            await store.read(files.read, session_pk=pk, file_ids=names) if names else {}
        )
        pieces.append(orjson.dumps(openai.as_json(content, contents_by_id)))
        if names:
            yield b",".join(pieces)
            pieces = []
    if pieces:
        yield b",".join(pieces)


async def _markdown(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """The active branch of each session, with headings."""
    rule = ""
    async for pk in pks:
        session = await store.read(stored.session, tenant=tenant, pk=pk)
        if session is None:
            continue
        created = rfc3339(session.created_at)[:16].replace("T", " ")
        yield f"{rule}# {session.title}\n\n*{session.session_id}, {created} UTC*\n".encode()
        rule = "\n---\n\n"
        transcript = Transcript()
        async for branch in _branch(store, tenant, session.session_id):
            yield "".join(map(transcript.write, branch)).encode()


async def _branch(store: Store, tenant: str, session_id: str) -> AsyncIterator[list[Message]]:
    """The active branch's messages, oldest first; none if the session was deleted meanwhile."""
    try:
        path = await store.read(messages.path, tenant=tenant, session_id=session_id, limit=None)
    except SessionNotFound:
        return
    seqs = path.seqs[::-1]
    for start in range(0, len(seqs), MESSAGES_AT_ONCE):
        some = seqs[start : start + MESSAGES_AT_ONCE]
        yield await store.read(messages.of_path, session_pk=path.session_pk, seqs=some)


_WRITERS: dict[ExportFormat, _Writer] = {
    "jsonl": _jsonl,
    "markdown": _markdown,
    "openai": _openai,
}
