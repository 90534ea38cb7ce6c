"""What a message holds beside its text: LangChain's standard content blocks, as JSON.

https://docs.langchain.com/oss/python/langchain/messages#standard-content-blocks. A result of a tool
has a block of our own, `tool_result`, because LangChain has a message for it and no block. A `text`
block without `text` stands for the whole text of its message, so that no text is stored twice.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from chatkeep.domain.validation import validate_json

Block = dict[str, Any]
"""`Any`: what is in a block depends on its type, and providers add members of their own."""

Blocks = tuple[Block, ...]

MAX_BLOCKS = 256
"""Of a message."""

MAX_BYTES = 1_048_576
"""Of a message's blocks as JSON. Pictures and files are not in them: see `store/files.py`."""

RENDITION_CHARS = 2_000
"""Of a rendition: the arguments of a call may be long, and are whole in its block."""

FILE_ID = re.compile("[0-9a-f]{64}")
"""The id of a file: the SHA-256 of its bytes, in hexadecimal."""

FILE_TYPES = frozenset({"image", "file"})
"""The types of blocks that have their bytes in a file of the session, by `file_id`."""


class ToolCall(NamedTuple):
    """A tool that a model wants to be run; `args` are its arguments by name."""

    id: str
    name: str
    args: dict[str, Any]


class ToolResult(NamedTuple):
    """What became of a call; the text is that of its message."""

    call_id: str
    name: str | None
    is_error: bool


class Segment(NamedTuple):
    """A piece of what a model wrote: reasoning, or text of its message."""

    is_reasoning: bool
    text: str


def tool_calls(blocks: Blocks | None) -> tuple[ToolCall, ...]:
    """The calls in a message's blocks."""
    if not blocks:
        return ()
    return tuple(
        ToolCall(block["id"], block["name"], block["args"])
        for block in blocks
        if block["type"] == "tool_call"
    )


def tool_result(blocks: Blocks | None) -> ToolResult | None:
    """The result that a message is; `None` if it is none."""
    for block in blocks or ():
        if block["type"] == "tool_result":
            is_error = block.get("status") == "error"
            return ToolResult(block["tool_call_id"], block.get("name"), is_error)
    return None


def is_step(blocks: Blocks | None) -> bool:
    """Whether a message is a call or a result on the way to a reply."""
    return any(block["type"] in {"tool_call", "tool_result"} for block in blocks or ())


def file_ids(blocks: Blocks | None) -> tuple[str, ...]:
    """The files of the session that a message shows."""
    return tuple(
        block["file_id"]
        for block in blocks or ()
        if block["type"] in FILE_TYPES and "file_id" in block
    )


def call_block(call: ToolCall) -> Block:
    """The block of a call."""
    return {"type": "tool_call", "id": call.id, "name": call.name, "args": call.args}


def result_block(result: ToolResult) -> Block:
    """The block of a result."""
    name = {} if result.name is None else {"name": result.name}
    status = "error" if result.is_error else "success"
    return {"type": "tool_result", "tool_call_id": result.call_id, **name, "status": status}


def written_blocks(
    segments: Sequence[Segment], others: Blocks, extras: Blocks = ()
) -> Blocks | None:
    """The blocks of a message that a model wrote; `None` if it is nothing but a text.

    Args:
        segments: Its reasoning and its text, in the order in which they came.
        others: Its calls, and what else is no text.
        extras: What its provider wants to have back with the last pieces of its reasoning.

    """
    if not others and not any(segment.is_reasoning for segment in segments):
        return None
    texts = sum(not segment.is_reasoning for segment in segments)
    blocks: list[Block] = []
    for segment in segments:
        if segment.is_reasoning:
            blocks.append({"type": "reasoning", "reasoning": segment.text})
        else:
            text = {"text": segment.text} if texts > 1 else {}
            blocks.append({"type": "text", **text})
    reasoning = [block for block in blocks if block["type"] == "reasoning"]
    for block, extra in zip(reversed(reasoning), reversed(extras), strict=False):
        block["extras"] = extra
    return (*blocks, *others)


def segments(content: str, blocks: Blocks | None) -> Iterator[Segment]:
    """What a model wrote, piece by piece in its order, from a message as it is stored."""
    if blocks is None:
        if content:
            yield Segment(False, content)
        return
    for block in blocks:
        if block["type"] == "reasoning":
            yield Segment(True, block.get("reasoning") or "")
        elif block["type"] == "text":
            yield Segment(False, block.get("text", content))


def text_of(content: str, blocks: Blocks | None) -> str:
    """The text of a message, which may have none: its `content` is a rendition then."""
    if blocks is None or any(block["type"] == "text" for block in blocks):
        return content
    return content if tool_result(blocks) is not None else ""


def rendition(blocks: Blocks) -> str:
    """A text in place of blocks, for lists, the search, and clients that know texts only."""
    calls = (f"{call.name}({orjson.dumps(call.args).decode()})" for call in tool_calls(blocks))
    text = "\n".join(calls) or ", ".join(f"({block['type']})" for block in blocks)
    return text if len(text) <= RENDITION_CHARS else text[: RENDITION_CHARS - 1] + "…"


def expanded(content: str, blocks: Blocks | None) -> Blocks | None:
    """The blocks with the text of the message where it belongs, as clients read them."""
    if blocks is None:
        return None
    return tuple(
        {**block, "text": content} if block["type"] == "text" and "text" not in block else block
        for block in blocks
    )


def compacted(content: str, blocks: Blocks | None) -> Blocks | None:
    """The blocks without the text that their message has anyway: what `expanded` undoes."""
    texts = [block for block in blocks or () if block["type"] == "text"]
    if blocks is None or len(texts) != 1 or texts[0].get("text") != content:
        return blocks
    return tuple(
        {name: value for name, value in block.items() if name != "text"}
        if block["type"] == "text"
        else block
        for block in blocks
    )


def dump(blocks: Blocks | None) -> str | None:
    """The blocks as they are stored."""
    return None if blocks is None else orjson.dumps(blocks).decode()


def load(stored: str | None) -> Blocks | None:
    """The blocks of a row."""
    return None if stored is None else tuple(orjson.loads(stored))


def validate_blocks(blocks: Iterable[object]) -> Blocks:
    """Check blocks that come from outside: their number, size and depth, and what is read of them.

    What is not known here is stored as it is. Raises `ValueError`.
    """
    checked: list[Block] = []
    for block in blocks:
        if len(checked) == MAX_BLOCKS:
            raise ValueError(f"must not be more than {MAX_BLOCKS} blocks")
        if not isinstance(block, dict):
            raise ValueError("must be objects")  # noqa: TRY004  (what pydantic reports)
        validate_json(block)
        _check_members(block)
        checked.append(block)
    if len(orjson.dumps(checked)) > MAX_BYTES:
        raise ValueError(f"must not be longer than {MAX_BYTES} bytes as JSON")
    ids = [block["id"] for block in checked if block["type"] == "tool_call"]
    if len(set(ids)) < len(ids):
        raise ValueError("must not have two calls with the same id")
    return tuple(checked)


_MEMBERS: Mapping[str, Mapping[str, type]] = {
    "tool_call": {"id": str, "name": str, "args": dict},
    "tool_result": {"tool_call_id": str},
    "reasoning": {"reasoning": str},
}
"""What a block of a type must have."""

_OPTIONAL: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str},
    "tool_result": {"name": str, "status": str},
    "image": {"file_id": str, "url": str, "mime_type": str},
    "file": {"file_id": str, "url": str, "mime_type": str, "filename": str},
}
"""What a block of a type may have."""


def _check_members(block: Block) -> None:
    kind = block.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError("must each have a type")
    for name, expected in _MEMBERS.get(kind, {}).items():
        if not isinstance(block.get(name), expected):
            raise ValueError(f"a {kind} must have its {name}")  # noqa: TRY004  (the same)
    for name, expected in _OPTIONAL.get(kind, {}).items():
        if name in block and not isinstance(block[name], expected):
            raise ValueError(f"the {name} of a {kind} is not what it must be")
    if kind in FILE_TYPES and FILE_ID.fullmatch(block.get("file_id", "0" * 64)) is None:
        raise ValueError("a file_id must be the SHA-256 of a file")
    if not isinstance(block.get("extras", {}), dict):
        raise ValueError("extras must be an object")  # noqa: TRY004  (what pydantic reports)
    if "" in (block.get("id"), block.get("name"), block.get("tool_call_id")):
        raise ValueError("ids and names must not be empty")
