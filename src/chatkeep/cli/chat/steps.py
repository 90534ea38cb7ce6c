"""An agent's steps in a terminal: each call of a tool and each result is one line."""

import json

from rich.text import Text

from chatkeep.cli.output import one_line
from chatkeep.cli.responses import MessageBlocks
from chatkeep.domain.blocks import FILE_TYPES, Blocks, ToolCall, tool_calls, tool_result

MAX_CHARS = 500
"""Of a line. The terminal's width shortens it further."""

EMPTY = "(nothing)"


class StepLines:
    """Makes the lines of a conversation's steps, which come oldest first."""

    def __init__(self) -> None:
        """Begin a conversation, or a turn."""
        self._names: dict[str, str] = {}

    def make(self, message: MessageBlocks) -> list[Text]:
        """The lines of a message's calls, or of its result; none if it is no step."""
        blocks = message_blocks(message)
        result = tool_result(blocks)
        if result is not None:
            # With several calls in one message, the order alone does not show whose it is.
            name = self._names.get(result.call_id) if len(self._names) > 1 else None
            text = message["content"].strip() or EMPTY
            mark, style = ("✗", "dim red") if result.is_error else ("→", "dim")
            return [_line(f"  {mark} ", text if name is None else f"{name}: {text}", style)]
        calls = tool_calls(blocks)
        if calls:
            self._names = {call.id: call.name for call in calls}
        return [_line("⚙ ", as_call(call), "dim") for call in calls]


def message_blocks(message: MessageBlocks) -> Blocks | None:
    """The blocks of a message; `None` for a plain text, and from a server that has no blocks."""
    blocks = message.get("blocks")
    return None if blocks is None else tuple(blocks)


def as_call(call: ToolCall) -> str:
    """A call as a line of code, such as `get_weather(city="Oslo")`."""
    arguments = (
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.args.items()
    )
    return f"{call.name}({', '.join(arguments)})"


def file_notes(blocks: Blocks | None) -> list[str]:
    """What stands for the pictures and documents of a message."""
    return [
        f"[{block['type']}: {block.get('filename') or block.get('url') or block.get('mime_type')}]"
        for block in blocks or ()
        if block["type"] in FILE_TYPES
    ]


def _line(mark: str, text: str, style: str) -> Text:
    line = one_line(text)
    shown = line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1] + "…"
    return Text(mark + shown, style, no_wrap=True, overflow="ellipsis")
