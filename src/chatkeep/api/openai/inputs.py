"""The input of a request as messages: what OpenAI's items and parts of content become here.

https://platform.openai.com/docs/api-reference/responses/create. `Any` is JSON of the caller's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from chatkeep.api.openai import compaction
from chatkeep.api.openai.errors import Refused
from chatkeep.api.turn_inputs import MAX_FILES, FileInput, attachments
from chatkeep.domain.blocks import (
    MAX_BLOCKS,
    Block,
    ToolCall,
    ToolResult,
    call_block,
    rendition,
    result_block,
    tool_calls,
    tool_result,
    validate_blocks,
)
from chatkeep.domain.model import FileContent, MessageContent, Role
from chatkeep.domain.validation import is_blank, reject_unstorable

MAX_ITEMS = 1_000
"""Of a request, as of the messages that a waiting turn may have."""

MAX_ID_CHARS = 255

_ROLES = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_SKIPPED = {"additional_tools"}
"""Items that add nothing to the conversation: tools that run nowhere here."""

_WRITTEN = {"reasoning", "function_call"}
"""Items that belong to a message of the assistant."""


@dataclass(slots=True)
class Input:
    """What a request takes in.

    Attributes:
        instructions: The system's messages before all others, as one text; `None` if there are
            none.
        messages: The others, in their order.
        files: What the messages show.
        indexes: Of each message, the number of its last item in the request.

    """

    instructions: str | None = None
    messages: list[MessageContent] = field(default_factory=list)
    files: list[FileContent] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    system_at: str | None = None
    """Where the first message of the system is."""


def invalid(pointer: str, detail: str) -> Refused:
    """A value that is not allowed."""
    return Refused(detail, param=pointer)


def parse_input(
    value: object, *, max_file_bytes: int, member: str = "input", has_instructions: bool = True
) -> Input:
    """Read the `input` of a request: a text, or a list of items without references.

    Args:
        value: As it came.
        max_file_bytes: Of a picture or a document.
        member: Where it is in the request.
        has_instructions: Whether the system's messages at the beginning are instructions, and none
            of the conversation.

    Raises:
        InvalidRequest: Something in it is not what it must be.
        TooLarge: A file is too large.

    """
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise invalid(member, "Must be a text or a list of items.")
    if len(value) > MAX_ITEMS:
        raise invalid(member, f"Must not have more than {MAX_ITEMS} items.")
    reader = _Reader(max_file_bytes, member, has_instructions=has_instructions)
    for number, item in enumerate(value):
        reader.read(item, number)
    return reader.end()


class _Reader:
    """Reads items one after the other; those of one message of the assistant are put together."""

    def __init__(self, max_file_bytes: int, member: str, *, has_instructions: bool) -> None:
        self._max_file_bytes = max_file_bytes
        self._member = member
        self._has_instructions = has_instructions
        self._input = Input()
        self._systems: list[str] = []
        self._blocks: list[Block] = []
        self._texts: list[str] = []
        self._last = 0

    def read(self, item: object, number: int) -> None:
        at = f"{self._member}/{number}"
        if not isinstance(item, dict):
            raise invalid(at, "Must be an object.")
        kind = item.get("type") or "message"
        if not isinstance(kind, str):
            raise invalid(f"{at}/type", "Must be a text.")
        is_assistant = kind == "message" and item.get("role") == "assistant"
        if kind in _WRITTEN or is_assistant:
            self._read_written(item, kind, at)
            self._last = number
            return
        self._flush()
        if kind in _SKIPPED:
            return
        if kind == "message":
            self._read_message(item, number, at)
        elif kind == "function_call_output":
            self._add(self._output(item, at), number)
        elif kind == "compaction":
            self._add(MessageContent(Role.USER, compaction.summary_of(item, at)), number)
        else:
            raise invalid(f"{at}/type", f"Items of the type {kind[:50]!r} are not supported.")

    def end(self) -> Input:
        self._flush()
        self._put_results_behind_calls()
        if self._systems:
            self._input.instructions = "\n\n".join(self._systems)
        return self._input

    def _read_written(self, item: dict[str, Any], kind: str, at: str) -> None:
        has_calls = any(block["type"] == "tool_call" for block in self._blocks)
        if (has_calls and kind != "function_call") or (self._texts and kind == "reasoning"):
            self._flush()
        if kind == "reasoning":
            self._blocks.append(_reasoning(item, at))
        elif kind == "function_call":
            self._blocks.append(_call(item, at))
        else:
            text = self._text(item, at)
            if self._texts:
                self._flush()
            self._texts.append(text)
            self._blocks.append({"type": "text"})

    def _flush(self) -> None:
        """End the message of the assistant that was begun, if there is one."""
        blocks, texts = self._blocks, self._texts
        self._blocks, self._texts = [], []
        if not blocks:
            return
        text = "".join(texts)
        if not text:
            blocks = [block for block in blocks if block["type"] != "text"]
        # Reasoning that led to nothing is nothing that a model could go on from.
        if all(block["type"] == "reasoning" for block in blocks):
            return
        if len(blocks) == 1 and blocks[0]["type"] == "text":
            self._add(MessageContent(Role.ASSISTANT, text), self._last)
            return
        checked = _validated(blocks, f"{self._member}/{self._last}")
        self._add(MessageContent(Role.ASSISTANT, text or rendition(checked), checked), self._last)

    def _read_message(self, item: dict[str, Any], number: int, at: str) -> None:
        role = _ROLES.get(str(item.get("role")))
        if role is None:
            raise invalid(f"{at}/role", f"Must be one of {', '.join(_ROLES)}.")
        if role is Role.SYSTEM:
            self._input.system_at = self._input.system_at or f"{at}/role"
            text = self._text(item, at)
            if self._has_instructions and not self._input.messages:
                self._systems.append(text)
                return
            self._add(MessageContent(role, text), number)
            return
        content = item.get("content")
        if isinstance(content, str):
            # Some clients send an empty one where they have nothing to say.
            if content or not self._input.messages:
                self._add(MessageContent(role, _storable(content, f"{at}/content")), number)
            return
        self._add(self._parts(content, role, f"{at}/content"), number)

    def _parts(self, content: object, role: Role, at: str) -> MessageContent:
        """A content with pictures or documents. Raises as `parse_input`."""
        texts, images, files = [], [], []
        for number, part in enumerate(_listed(content, at)):
            kind = part.get("type")
            if not isinstance(kind, str):
                raise invalid(f"{at}/{number}/type", "Must be a text.")
            if kind in _TEXTS:
                texts.append(_string(part, _TEXTS[kind], f"{at}/{number}"))
            elif kind in {"input_image", "image_url"}:
                images.append(_image_url(part, f"{at}/{number}"))
            elif kind in {"input_file", "file"}:
                files.append(_file(part, f"{at}/{number}"))
            else:
                raise invalid(f"{at}/{number}/type", "Parts of that type are not supported.")
        if len(images) + len(files) > MAX_FILES:
            raise invalid(at, f"Must not have more than {MAX_FILES} pictures and documents.")
        text = "\n".join(texts)
        if not images and not files:
            return MessageContent(role, text)
        shown, contents = attachments(images, files, max_bytes=self._max_file_bytes)
        self._input.files += contents
        return MessageContent(role, text, ({"type": "text"}, *shown))

    def _output(self, item: dict[str, Any], at: str) -> MessageContent:
        call_id = _string(item, "call_id", at)
        if not 1 <= len(call_id) <= MAX_ID_CHARS:
            raise invalid(f"{at}/call_id", f"Must have 1 to {MAX_ID_CHARS} characters.")
        output = item.get("output")
        if not isinstance(output, str):
            # Pictures that a tool has made are not shown to the model: not every provider can.
            parts = _listed(output, f"{at}/output")
            texts = [part.get("text") for part in parts]
            output = "\n".join(text for text in texts if isinstance(text, str))
        block = result_block(ToolResult(call_id, None, is_error=False))
        return MessageContent(Role.TOOL, _storable(output, f"{at}/output"), (block,))

    def _text(self, item: dict[str, Any], at: str) -> str:
        """The text of a message of the assistant or the system."""
        content = item.get("content")
        if isinstance(content, str):
            return _storable(content, f"{at}/content")
        texts = []
        for number, part in enumerate(_listed(content, f"{at}/content")):
            kind = part.get("type")
            if not isinstance(kind, str) or kind not in _TEXTS:
                raise invalid(f"{at}/content/{number}/type", "Must be a text.")
            texts.append(_string(part, _TEXTS[kind], f"{at}/content/{number}"))
        return "".join(texts)

    def _put_results_behind_calls(self) -> None:
        """Move each result to the call that it answers: some clients put a message between them."""
        messages, indexes = self._input.messages, self._input.indexes
        position: dict[str, int] = {}
        for number in range(len(messages)):
            message = messages[number]
            result = tool_result(message.blocks)
            if result is None:
                position |= dict.fromkeys((c.id for c in tool_calls(message.blocks)), number)
                continue
            target = position.pop(result.call_id, number - 1) + 1
            while target < number and tool_result(messages[target].blocks) is not None:
                target += 1
            if target < number:
                messages.insert(target, messages.pop(number))
                indexes.insert(target, indexes.pop(number))
                position = {k: n + 1 if n >= target else n for k, n in position.items()}

    def _add(self, message: MessageContent, number: int) -> None:
        self._input.messages.append(message)
        self._input.indexes.append(number)


def check_answerable(parsed: Input) -> None:
    """Raise `InvalidRequest` if there is nothing that a model could answer."""
    if not parsed.messages:
        raise invalid("input", "Must have a message of the user, or the output of a function.")
    last = parsed.messages[-1]
    if last.role is Role.USER and last.blocks is None and is_blank(last.text):
        raise invalid(f"input/{parsed.indexes[-1]}/content", "Must not be blank.")


def check_results(parsed: Input, before: Iterable[MessageContent]) -> None:
    """Check that each output of a function has its call, where no session is there that does.

    Args:
        parsed: The input.
        before: What it goes on from, oldest first.

    Raises:
        Refused: There is no such call, or it has an output already.

    """
    open_calls: set[str] = set()
    for message in before:
        _pair(message, open_calls)
    for message, index in zip(parsed.messages, parsed.indexes, strict=True):
        if not _pair(message, open_calls):
            raise unknown_call(index)


def _pair(message: MessageContent, open_calls: set[str]) -> bool:
    """Add a message's calls, or take away the one of which it is the output, if it is there."""
    open_calls.update(call.id for call in tool_calls(message.blocks))
    result = tool_result(message.blocks)
    if result is None:
        return True
    is_known = result.call_id in open_calls
    open_calls.discard(result.call_id)
    return is_known


def unknown_call(index: int) -> Refused:
    """The error for an output whose call is not there; it is the so-many-th item."""
    detail = "No tool call found for function call output with that call_id."
    return invalid(f"input/{index}/call_id", detail)


def _validated(blocks: Iterable[Block], at: str) -> tuple[Block, ...]:
    try:
        return validate_blocks(blocks)
    except ValueError as error:
        raise invalid(at, f"The message {error}.") from None


def _reasoning(item: Mapping[str, Any], at: str) -> Block:
    """What the model has thought, which comes back for those that want to read it again."""
    summary, content = item.get("summary"), item.get("content")
    parts = [
        *(summary if isinstance(summary, list) else ()),
        *(content if isinstance(content, list) else ()),
    ]
    text = "\n\n".join(
        part["text"]
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
    block: Block = {"type": "reasoning", "reasoning": _storable(text, at)}
    if isinstance(encrypted := item.get("encrypted_content"), str) and encrypted:
        block["extras"] = {"encrypted_content": _storable(encrypted, at)}
    return block


def _call(item: Mapping[str, Any], at: str) -> Block:
    call_id, name = _string(item, "call_id", at), _string(item, "name", at)
    for value, member in ((call_id, "call_id"), (name, "name")):
        if not 1 <= len(value) <= MAX_ID_CHARS:
            raise invalid(f"{at}/{member}", f"Must have 1 to {MAX_ID_CHARS} characters.")
    try:
        args = orjson.loads(_string(item, "arguments", at) or "{}")
    except orjson.JSONDecodeError:
        args = None
    if not isinstance(args, dict):
        raise invalid(f"{at}/arguments", "Must be a JSON object, as a text.")
    return call_block(ToolCall(call_id, name, args))


def _image_url(part: Mapping[str, Any], at: str) -> str:
    """The address of a picture, as the Responses API or chat completions have it."""
    url = part.get("image_url")
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str):
        raise invalid(at, "Must have an image_url: files are not stored apart from messages.")
    return _storable(url, at)


def _file(part: Mapping[str, Any], at: str) -> FileInput:
    inner = part.get("file")
    part = inner if isinstance(inner, dict) else part
    data, name = part.get("file_data"), part.get("filename")
    if not isinstance(data, str):
        raise invalid(at, "Must have file_data: files are not stored apart from messages.")
    name = _storable(name, at) if isinstance(name, str) and name else "document.pdf"
    return FileInput(name=name[:MAX_ID_CHARS], data=_storable(data, at))


def _listed(value: object, at: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise invalid(at, "Must be a text or a list of parts.")
    if len(value) > MAX_BLOCKS:
        raise invalid(at, f"Must not have more than {MAX_BLOCKS} parts.")
    return value


def _string(value: Mapping[str, Any], member: str, at: str) -> str:
    text = value.get(member)
    if not isinstance(text, str):
        raise invalid(f"{at}/{member}", "Must be a text.")
    return _storable(text, f"{at}/{member}")


def _storable(text: str, at: str) -> str:
    try:
        return reject_unstorable(text)
    except ValueError as error:
        raise invalid(at, f"{error}.") from None
