"""What a request goes on from whose turn is not stored, so that no session has it for the turn."""

import contextlib
from dataclasses import dataclass

import orjson

from chatkeep.api.dependencies import Services
from chatkeep.api.openai.inputs import Input
from chatkeep.domain.blocks import rendition
from chatkeep.domain.errors import ChatError
from chatkeep.domain.model import (
    Caller,
    FileContent,
    MessageContent,
    Reply,
    ReplyWithBlocks,
    Role,
)
from chatkeep.store import turn_records
from chatkeep.turns.stream import TurnStream


@dataclass(frozen=True, slots=True)
class Context:
    """A conversation up to a response.

    Attributes:
        messages: All of them, oldest first.
        files: What they show.
        instructions: What the messages of the system before them say; `None` without any.

    """

    messages: tuple[MessageContent, ...]
    files: tuple[FileContent, ...] = ()
    instructions: str | None = None

    @property
    def size(self) -> int:
        """Roughly the bytes that it takes in memory."""
        blocks = sum(len(orjson.dumps(m.blocks)) for m in self.messages if m.blocks is not None)
        texts = sum(len(message.text) for message in self.messages)
        return texts + blocks + sum(len(file.data) for file in self.files)

    def followed_by(self, parsed: Input) -> Input:
        """The input of a request that goes on from here, with all that is before it."""
        instructions = [text for text in (self.instructions, parsed.instructions) if text]
        return Input(
            instructions="\n\n".join(instructions) or None,
            messages=[*self.messages, *parsed.messages],
            files=[*self.files, *parsed.files],
            # Whatever is wrong with a message was wrong before, or is wrong with the first item.
            indexes=[0] * len(self.messages) + parsed.indexes,
        )


def context_after(parsed: Input, stream: TurnStream | None) -> Context:
    """The conversation after a turn of which nothing was stored.

    Args:
        parsed: All that its model has read.
        stream: The turn's, which has ended with a reply; `None` if it has written nothing.

    """
    written = () if stream is None else _written(stream)
    messages = (*parsed.messages, *written)
    return Context(messages, tuple(parsed.files), parsed.instructions)


def _written(stream: TurnStream) -> tuple[MessageContent, ...]:
    steps = [MessageContent(step.role, step.content, step.blocks) for step in stream.steps]
    reply = stream.ended
    if not isinstance(reply, Reply):
        return tuple(steps)
    blocks = reply.blocks if isinstance(reply, ReplyWithBlocks) else None
    text = reply.response or (rendition(blocks) if blocks else "")
    return (*steps, MessageContent(Role.ASSISTANT, text, blocks))


async def stored_context(parts: Services, who: Caller, turn_id: str) -> Context:
    """The conversation up to a turn that is stored; if that has not ended, its end is waited for.

    Raises `TurnNotFound`.
    """
    stream = await parts.turns.find_stream(who, turn_id)
    # However it ends: what it has written is there.
    with contextlib.suppress(ChatError):
        await stream.result(title=False)
    messages, files = await parts.store.read(
        turn_records.conversation, tenant=who.tenant, turn_id=turn_id
    )
    return Context(messages, files)
