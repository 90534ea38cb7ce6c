"""A conversation as Markdown for people: texts below headings, steps as quotations between them."""

import re

import orjson

from chatkeep.domain.blocks import (
    FILE_TYPES,
    Block,
    ToolCall,
    is_step,
    text_of,
    tool_calls,
    tool_result,
)
from chatkeep.domain.model import Message, Role, Status

MAX_STEP_CHARS = 2_000
"""Of the arguments of a call, or of a result. The rest is counted."""

_HEADINGS = {
    Role.USER: "User",
    Role.ASSISTANT: "Assistant",
    Role.SYSTEM: "System",
    Role.TOOL: "Tool",
}
_BACKTICKS = re.compile("`{3,}")


class Transcript:
    """Writes the messages of one conversation, oldest first."""

    def __init__(self) -> None:
        """Begin a conversation."""
        # A result need not say the name of its tool, which its call has.
        self._names: dict[str, str] = {}

    def write(self, message: Message) -> str:
        """A message with the blank line before it. Reasoning is left out."""
        blocks = message.blocks or ()
        if (result := tool_result(blocks)) is not None:
            name = result.name or self._names.get(result.call_id)
            label = "Error" if result.is_error else "Result"
            title = f"**{label}**" if name is None else f"**{label}** of {_code(name)}"
            return _quotation(title, message.status, message.content, language="")
        calls = tool_calls(blocks)
        self._names |= {call.id: call.name for call in calls}
        parts = [text_of(message.content, message.blocks), *_notes(blocks)]
        text = "\n\n".join(filter(None, parts))
        if not text and not is_step(blocks):
            text = message.content
        section = _section(message, text) if text or not calls else ""
        return section + "".join(_call(call, message.status) for call in calls)


def _section(message: Message, text: str) -> str:
    at = message.created_at[:16].replace("T", " ")
    return f"\n## {_HEADINGS[message.role]} ({at} UTC{_ending(message.status)})\n\n{text}\n"


def _ending(status: Status) -> str:
    return "" if status == Status.COMPLETED else f", {status}"


def _call(call: ToolCall, status: Status) -> str:
    arguments = orjson.dumps(call.args, option=orjson.OPT_INDENT_2).decode()
    return _quotation(f"**Call** of {_code(call.name)}", status, arguments, language="json")


def _quotation(title: str, status: Status, text: str, *, language: str) -> str:
    """A step: its title, and what it has as code in a fence that is longer than any in it."""
    text = text.rstrip("\n")
    left = len(text) - MAX_STEP_CHARS
    if left > 0:
        text = f"{text[:MAX_STEP_CHARS]}\n… ({left:,} more characters)"
    longest = max(map(len, _BACKTICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    lines = [title + _ending(status), "", f"{fence}{language}", *text.split("\n"), fence]
    return "\n" + "".join(f"> {line}".rstrip(" ") + "\n" for line in lines)


def _code(name: str) -> str:
    return "`" + " ".join(name.replace("`", "'").split()) + "`"


def _notes(blocks: tuple[Block, ...]) -> list[str]:
    """What a text cannot show: pictures and documents, by their names, types or addresses."""
    return [
        f"*[{block['type']}: {_name(block)}]*" for block in blocks if block["type"] in FILE_TYPES
    ]


def _name(block: Block) -> str:
    known = (block.get("filename"), block.get("mime_type"), block.get("url"))
    # A picture in an address would be as long as the picture.
    names = [name for name in known if name and not name.startswith("data:")]
    return " ".join(", ".join(names).split()) or "unnamed"
