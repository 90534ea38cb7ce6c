"""Open WebUI's export of chats: a row of its table `chat`, as its own interface downloads it.

The messages are a tree in `chat.history`; the first versions had only the list `chat.messages`, and
the very first no `chat` around it. Rows and messages have times in seconds, a chat in milliseconds.
"""

import re
from collections import Counter
from typing import Any

from chatkeep.domain.model import Role
from chatkeep.transfer.importers import values
from chatkeep.transfer.importers.records import Node, Said, Source

MAX_SYSTEM_PROMPT_CHARS = 100_000

_ROLES = {role.value: role for role in Role}
_UNITS = (1, 10**3, 10**6, 10**9)
_EMBEDDED_IMAGE = re.compile(r"!\[[^\[\]\n]*\]\(data:image/[^()\s]*\)")


def is_chat(item: dict[str, Any]) -> bool:
    """Whether this is a chat of Open WebUI, of whatever version."""
    chat = _chat(item)
    return isinstance(chat.get("history"), dict) or isinstance(chat.get("messages"), list)


def read(item: dict[str, Any]) -> Source:
    """Read a chat."""
    left_out: Counter[str] = Counter()
    chat = _chat(item)
    history = values.table(chat.get("history"))
    return Source(
        product="open-webui",
        session_id=values.identifier(item.get("id"), chat.get("id")),
        title=values.first_line(item.get("title"), chat.get("title")),
        nodes=_tree(values.table(history.get("messages")), left_out)
        or _line(values.items(chat.get("messages")), left_out),
        current=history.get("currentId") or item.get("current_message_id"),
        left_out=left_out,
        created_at=_first_time(item, chat, "created_at", "timestamp"),
        updated_at=_first_time(item, chat, "updated_at"),
        pinned=item.get("pinned") is True,
        archived=item.get("archived") is True,
        models=[values.line(name) for name in values.items(chat.get("models"))],
        tags=[values.line(tag) for tag in values.items(values.table(item.get("meta")).get("tags"))],
        system_prompt=_system_prompt(chat),
    )


def _chat(item: dict[str, Any]) -> dict[str, Any]:
    return values.table(item.get("chat")) or item


def _first_time(item: dict[str, Any], chat: dict[str, Any], *names: str) -> int | None:
    found = (_time(place.get(name)) for name in names for place in (item, chat))
    return next((at for at in found if at is not None), None)


def _time(value: object) -> int | None:
    return values.microseconds(value, units=_UNITS)


def _system_prompt(chat: dict[str, Any]) -> str | None:
    """The chat's own prompt; else the one of the person's settings when the chat began."""
    for place in (values.table(chat.get("params")), chat):
        prompt = values.text(place.get("system"))
        if prompt.strip():
            return prompt[:MAX_SYSTEM_PROMPT_CHARS]
    return None


def _tree(messages: dict[str, Any], left_out: Counter[str]) -> dict[str, Node]:
    nodes = {}
    for name, value in messages.items():
        message = values.table(value)
        parent = message.get("parentId")
        nodes[name] = Node(
            parent=parent if isinstance(parent, str) else None,
            children=values.names(message.get("childrenIds")),
            said=_said(message, left_out),
        )
    return nodes


def _line(messages: list[Any], left_out: Counter[str]) -> dict[str, Node]:
    """An old chat's messages, each below the one before it."""
    found = [values.table(message) for message in messages]
    names = values.names([message.get("id") for message in found])
    if len(set(names)) < len(found):
        names = [str(place) for place in range(len(found))]
    above = [None, *names]
    return {
        name: Node(parent, [], _said(message, left_out))
        for name, parent, message in zip(names, above, found, strict=False)
    }


def _said(message: dict[str, Any], left_out: Counter[str]) -> Said | None:
    if not message:
        return None
    role = _ROLES.get(values.line(message.get("role")))
    if role is None:
        left_out["message of an unknown role"] += 1
        return None
    is_reply = role is Role.ASSISTANT
    if values.text(values.table(message.get("merged")).get("content")).strip():
        left_out["merged answer"] += 1
    content = _content(message, left_out)
    if not content.strip():
        left_out["failed answer"] += bool(is_reply and message.get("error"))
        return None
    return Said(
        role=role,
        content=content,
        at=_time(message.get("timestamp")),
        model=values.line(message.get("model")) if is_reply else "",
        # Most versions say nothing about a message that is whole.
        is_stopped=is_reply and (message.get("done") is False or message.get("stopped") is True),
    )


def _content(message: dict[str, Any], left_out: Counter[str]) -> str:
    """The message's text, with a line for each image and file."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    lines = [_part(part, left_out) for part in parts if part]
    if not any(map(str.strip, lines)):
        lines = _output(message, left_out)
    text = _EMBEDDED_IMAGE.sub(
        lambda _: values.stand_in("image", None, left_out), "\n".join(filter(None, lines))
    )
    files = [
        _file(file, left_out) for file in map(values.table, values.items(message.get("files")))
    ]
    return values.text("\n".join(filter(None, [text, *files])))


def _part(part: object, left_out: Counter[str]) -> str:
    if isinstance(part, str):
        return part
    found = values.table(part)
    kind, said = values.line(found.get("type")), found.get("text")
    if isinstance(said, str):
        return said
    if re.search("image|audio|file", kind):
        return values.stand_in(kind, found.get("name") or found.get("filename"), left_out)
    left_out["part of an unknown kind"] += 1
    return ""


def _output(message: dict[str, Any], left_out: Counter[str]) -> list[str]:
    """What a newer version keeps as items of a response instead of as text."""
    lines = []
    for item in map(values.table, values.items(message.get("output"))):
        kind = item.get("type")
        if kind == "message":
            lines += [_part(part, left_out) for part in values.items(item.get("content"))]
        left_out["reasoning message"] += kind == "reasoning"
        left_out["tool call"] += kind == "function_call"
    return lines


def _file(file: dict[str, Any], left_out: Counter[str]) -> str:
    """The line that stands for a file; nothing for the results of a search."""
    kind, inner = values.line(file.get("type")), values.table(file.get("file"))
    if not file or kind.startswith("web_search"):
        return ""
    mime = file.get("content_type") or values.table(inner.get("meta")).get("content_type")
    name = values.first_line(file.get("name"), inner.get("filename"), file.get("title"))
    return values.stand_in(f"{kind} {values.line(mime)}", name, left_out)
