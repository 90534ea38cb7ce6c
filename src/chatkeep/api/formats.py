"""The forms of an export: lossless lines, Markdown for people, the message lists of OpenAI."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from chatkeep.domain import Message
from chatkeep.records import Beginning
from chatkeep.store import Store, exports, messages

LINES_AT_ONCE = 200
"""Lines that are in memory at the same time; a message may be long."""

_KINDS = ("prompts", "turns", "messages", "calls")
_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}

Writer = Callable[[Store, str, AsyncIterator[int]], AsyncIterator[bytes]]


async def jsonl(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """Everything, as `records.py` describes it."""
    yield _line(Beginning().model_dump())
    async for pk in pks:
        session = await store.read(exports.session, tenant=tenant, pk=pk)
        if session is None:
            continue
        yield _line(session)
        async for part in _parts(store, tenant, pk):
            # Deleted meanwhile: without its last line nobody takes it for whole.
            if part is None:
                break
            yield b"".join(_line(line) for line in part.lines)
        else:
            yield _line({"type": "end", "session_id": session["session_id"]})


async def _parts(store: Store, tenant: str, pk: int) -> AsyncIterator[exports.Part | None]:
    for kind in _KINDS:
        after: int | None = 0
        while after is not None:
            part = await store.read(
                exports.part, tenant=tenant, pk=pk, kind=kind, after=after, limit=LINES_AT_ONCE
            )
            yield part
            after = None if part is None else part.following


async def openai(store: Store, tenant: str, pks: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """A line for each session: `{"messages": [{"role", "content"}, …]}`, the active branch."""
    async for pk in pks:
        session = await store.read(exports.session, tenant=tenant, pk=pk)
        if session is None:
            continue
        opening = b'{"messages":['
        async for found in _branch(store, tenant, session):
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
        created = session["created_at"][:16].replace("T", " ")
        yield f"{rule}# {session['title']}\n\n*{session['session_id']}, {created} UTC*\n".encode()
        rule = "\n---\n\n"
        async for found in _branch(store, tenant, session):
            yield "".join(_as_markdown(message) for message in found).encode()


def _as_markdown(message: Message) -> str:
    at = message.created_at[:16].replace("T", " ")
    ended = "" if message.status == "completed" else f", {message.status}"
    return f"\n## {_SPEAKERS[message.role]} ({at} UTC{ended})\n\n{message.content}\n"


async def _branch(
    store: Store, tenant: str, session: dict[str, Any]
) -> AsyncIterator[list[Message]]:
    path = await store.read(
        messages.path, tenant=tenant, session_id=session["session_id"], limit=None
    )
    seqs = path.seqs[::-1]
    for start in range(0, len(seqs), LINES_AT_ONCE):
        some = seqs[start : start + LINES_AT_ONCE]
        yield await store.read(messages.of_path, session_pk=path.session_pk, seqs=some)


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


WRITERS: dict[str, Writer] = {"jsonl": jsonl, "markdown": markdown, "openai": openai}
