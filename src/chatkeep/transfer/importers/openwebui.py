"""Open WebUI's export of chats: a row of its table `chat`, as its own interface downloads it.

The messages are a tree in `chat.history`; the first versions had only the list `chat.messages`, and
the very first no `chat` around it. Rows and messages have times in seconds, a chat in milliseconds.
"""

import re
from collections import Counter

from chatkeep.domain.model import Role
from chatkeep.transfer.importers import values
from chatkeep.transfer.importers.tree import ImportedConversation, ImportedMessage, MessageNode

MAX_SYSTEM_PROMPT_CHARS = 100_000

_ROLES = {role.value: role for role in Role}
_UNITS = (1, 10**3, 10**6, 10**9)
_EMBEDDED_IMAGE = re.compile(r"!\[[^\[\]\n]*\]\(data:image/[^()\s]*\)")


def is_chat(item: dict[str, object]) -> bool:
    """True if this is a chat of Open WebUI, of whatever version."""
    chat = _chat(item)
    return isinstance(chat.get("history"), dict) or isinstance(chat.get("messages"), list)


def read(item: dict[str, object]) -> ImportedConversation:
    """Read a chat."""
    left_out: Counter[str] = Counter()
    chat = _chat(item)
    history, meta = values.as_object(chat.get("history")), values.as_object(item.get("meta"))
    return ImportedConversation(
        product="open-webui",
        session_id=values.identifier(item.get("id"), chat.get("id")),
        title=values.one_line(item.get("title"), chat.get("title")),
        nodes=_tree(values.as_object(history.get("messages")), left_out)
        or _chain(values.as_array(chat.get("messages")), left_out),
        current=history.get("currentId") or item.get("current_message_id"),
        left_out=left_out,
        created_at=_first_time(item, chat, "created_at", "timestamp"),
        updated_at=_first_time(item, chat, "updated_at"),
        pinned=item.get("pinned") is True,
        archived=item.get("archived") is True,
        models=[values.one_line(name) for name in values.as_array(chat.get("models"))],
        tags=[values.one_line(tag) for tag in values.as_array(meta.get("tags"))],
        system_prompt=_system_prompt(chat),
    )


def _chat(item: dict[str, object]) -> dict[str, object]:
    return values.as_object(item.get("chat")) or item


def _first_time(item: dict[str, object], chat: dict[str, object], *names: str) -> int | None:
    times = (_time(fields.get(name)) for name in names for fields in (item, chat))
    return next((at for at in times if at is not None), None)


def _time(value: object) -> int | None:
    return values.microseconds(value, units=_UNITS)


def _system_prompt(chat: dict[str, object]) -> str | None:
    """The chat's own prompt; else that of the person's settings when the chat began."""
    for fields in (values.as_object(chat.get("params")), chat):
        prompt = values.text(fields.get("system"))
        if prompt.strip():
            return prompt[:MAX_SYSTEM_PROMPT_CHARS]
    return None


def _tree(messages: dict[str, object], left_out: Counter[str]) -> dict[str, MessageNode]:
    nodes = {}
    for name, value in messages.items():
        message = values.as_object(value)
        parent = message.get("parentId")
        nodes[name] = MessageNode(
            parent=parent if isinstance(parent, str) else None,
            children=values.strings(message.get("childrenIds")),
            message=_message(message, left_out),
        )
    return nodes


def _chain(messages: list[object], left_out: Counter[str]) -> dict[str, MessageNode]:
    """An old chat's messages, each the child of the one before it."""
    chain = [values.as_object(message) for message in messages]
    names = values.strings([message.get("id") for message in chain])
    if len(set(names)) < len(chain):
        names = [str(index) for index in range(len(chain))]
    parents = [None, *names]
    return {
        name: MessageNode(parent, [], _message(message, left_out))
        for name, parent, message in zip(names, parents, chain, strict=False)
    }


def _message(message: dict[str, object], left_out: Counter[str]) -> ImportedMessage | None:
    if not message:
        return None
    role = _ROLES.get(values.one_line(message.get("role")))
    if role is None:
        left_out["message of an unknown role"] += 1
        return None
    is_reply = role is Role.ASSISTANT
    if values.text(values.as_object(message.get("merged")).get("content")).strip():
        left_out["merged answer"] += 1
    content = _content(message, left_out)
    if not content.strip():
        left_out["failed answer"] += bool(is_reply and message.get("error"))
        return None
    return ImportedMessage(
        role=role,
        content=content,
        at=_time(message.get("timestamp")),
        model=values.one_line(message.get("model")) if is_reply else "",
        # Most versions have neither for a message that is complete.
        is_stopped=is_reply and (message.get("done") is False or message.get("stopped") is True),
    )


def _content(message: dict[str, object], left_out: Counter[str]) -> str:
    """The message's text, with a placeholder for each image and file."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    lines = [_part(part, left_out) for part in parts if part]
    if not any(map(str.strip, lines)):
        lines = _output(message, left_out)
    text = _EMBEDDED_IMAGE.sub(
        lambda _: values.placeholder("image", None, left_out), "\n".join(filter(None, lines))
    )
    files = map(values.as_object, values.as_array(message.get("files")))
    placeholders = [_file(file, left_out) for file in files]
    return values.text("\n".join(filter(None, [text, *placeholders])))


def _part(part: object, left_out: Counter[str]) -> str:
    if isinstance(part, str):
        return part
    fields = values.as_object(part)
    kind, text = values.one_line(fields.get("type")), fields.get("text")
    if isinstance(text, str):
        return text
    if re.search("image|audio|file", kind):
        return values.placeholder(kind, fields.get("name") or fields.get("filename"), left_out)
    left_out["part of an unknown kind"] += 1
    return ""


def _output(message: dict[str, object], left_out: Counter[str]) -> list[str]:
    """The text of newer versions, which store items of a response instead."""
    lines = []
    for item in map(values.as_object, values.as_array(message.get("output"))):
        kind = item.get("type")
        if kind == "message":
            lines += [_part(part, left_out) for part in values.as_array(item.get("content"))]
        left_out["reasoning message"] += kind == "reasoning"
        left_out["tool call"] += kind == "function_call"
    return lines


def _file(file: dict[str, object], left_out: Counter[str]) -> str:
    """A file's placeholder; empty for the results of a web search."""
    kind, inner = values.one_line(file.get("type")), values.as_object(file.get("file"))
    if not file or kind.startswith("web_search"):
        return ""
    mime = file.get("content_type") or values.as_object(inner.get("meta")).get("content_type")
    name = values.one_line(file.get("name"), inner.get("filename"), file.get("title"))
    return values.placeholder(f"{kind} {values.one_line(mime)}", name, left_out)
