"""The forms of an export: lossless lines, Markdown for people, the message lists of OpenAI."""

import asyncio
from collections.abc import AsyncIterator, Callable

import orjson

from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.model import Message
from chatkeep.domain.records import VERSION, Beginning
from chatkeep.domain.times import rfc3339
from chatkeep.store import Store, exports, messages

MESSAGES_AT_ONCE = 50
"""Messages that are in memory at the same time; one may be long."""

PIECE_BYTES = 65_536

_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}

Writer = Callable[[Store, str, AsyncIterator[int]], AsyncIterator[bytes]]


async def jsonl(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """Everything, as `records.py` describes it."""
    first = Beginning(type="chatkeep", version=VERSION)
    yield orjson.dumps(first.model_dump(), option=orjson.OPT_APPEND_NEWLINE)
    async for pk in pks:
        lines = await store.read(exports.lines, tenant=tenant, pk=pk)
        if lines is None:
            continue
        with lines:
            while piece := await asyncio.to_thread(lines.read, PIECE_BYTES):
                yield piece


async def openai(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """A line for each session: `{"messages": [{"role", "content"}, …]}`, the active branch."""
    async for pk in pks:
        session = await store.read(exports.session, tenant=tenant, pk=pk)
        if session is None:
            continue
        opening = b'{"messages":['
        async for found in _branch(store, tenant, session.session_id):
            listed = [{"role": message.role, "content": message.content} for message in found]
            yield opening + orjson.dumps(listed)[1:-1]
            opening = b","
        yield b"]}\n" if opening == b"," else opening + b"]}\n"


async def markdown(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """The active branch of each session, with headings."""
    rule = ""
    async for pk in pks:
        session = await store.read(exports.session, tenant=tenant, pk=pk)
        if session is None:
            continue
        created = rfc3339(session.created_at)[:16].replace("T", " ")
        yield f"{rule}# {session.title}\n\n*{session.session_id}, {created} UTC*\n".encode()
        rule = "\n---\n\n"
        async for found in _branch(store, tenant, session.session_id):
            yield "".join(_as_markdown(message) for message in found).encode()


def _as_markdown(message: Message) -> str:
    at = message.created_at[:16].replace("T", " ")
    ended = "" if message.status == "completed" else f", {message.status}"
    return f"\n## {_SPEAKERS[message.role]} ({at} UTC{ended})\n\n{message.content}\n"


async def _branch(store: Store, tenant: str, session_id: str) -> AsyncIterator[list[Message]]:
    try:
        path = await store.read(messages.path, tenant=tenant, session_id=session_id, limit=None)
    except SessionNotFound:
        return  # deleted meanwhile
    seqs = path.seqs[::-1]
    for start in range(0, len(seqs), MESSAGES_AT_ONCE):
        some = seqs[start : start + MESSAGES_AT_ONCE]
        yield await store.read(messages.of_path, session_pk=path.session_pk, seqs=some)


WRITERS: dict[str, Writer] = {"jsonl": jsonl, "markdown": markdown, "openai": openai}
