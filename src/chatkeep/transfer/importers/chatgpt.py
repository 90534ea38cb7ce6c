"""ChatGPT's data export: one item of `conversations.json`. OpenAI does not document the format.

A conversation is a tree of nodes by id. Newer exports have no lists of children, older ones have
hidden nodes at the top. Code that a model runs, and its reasoning, are messages too.
"""

import json
import re
from collections import Counter

from chatkeep.domain.model import Role
from chatkeep.transfer.importers import values
from chatkeep.transfer.importers.tree import ImportedConversation, ImportedMessage, MessageNode

_HIDDEN = "hidden message"
_ROLES = {role.value: role for role in Role}
_REASONING = {"thoughts", "reasoning_recap"}
_INSTRUCTIONS = {"user_editable_context", "model_editable_context"}

# U+E200 kind U+E202 field … U+E201, which may be missing where an answer was cut off.
_MARK = re.compile(
    "(?<![ \t])([ \t]*)\ue200(?:([^\ue200\ue201]*)\ue201"
    "|(\\w*(?:\ue202[^\\s\ue200-\ue202]*)+|\\w*\\Z))"
)
_STRAY_MARK = re.compile("[\ue200-\ue206]")
_ENTITY = re.compile(r'\[\s*"(?:[^"\\]|\\.)*"\s*,\s*("(?:[^"\\]|\\.)*")')
_BACKTICKS = re.compile("`+")


def read(item: dict[str, object]) -> ImportedConversation:
    """Read a conversation whose `mapping` is an object."""
    left_out: Counter[str] = Counter()
    return ImportedConversation(
        product="chatgpt",
        session_id=values.identifier(item.get("conversation_id"), item.get("id")),
        title=values.one_line(item.get("title")),
        nodes={
            name: _node(values.as_object(node), left_out)
            for name, node in values.as_object(item.get("mapping")).items()
        },
        current=item.get("current_node"),
        left_out=left_out,
        created_at=values.microseconds(item.get("create_time")),
        updated_at=values.microseconds(item.get("update_time")),
        pinned=item.get("is_starred") is True
        or values.microseconds(item.get("pinned_time")) is not None,
        archived=item.get("is_archived") is True,
        models=[values.one_line(item.get("default_model_slug"))],
    )


def _node(node: dict[str, object], left_out: Counter[str]) -> MessageNode:
    parent = node.get("parent")
    return MessageNode(
        parent=parent if isinstance(parent, str) else None,
        children=values.strings(node.get("children")),
        message=_message(values.as_object(node.get("message")), left_out),
    )


def _message(message: dict[str, object], left_out: Counter[str]) -> ImportedMessage | None:
    """The message; `None` if a person did not see it, which is counted in `left_out`."""
    if not message:
        return None
    role = _ROLES.get(values.one_line(values.as_object(message.get("author")).get("role")))
    if role is None:
        left_out["message of an unknown role"] += 1
        return None
    if reason := _invisible(role, message):
        # Every conversation begins with hidden messages that are empty.
        if reason != _HIDDEN or _has_content(role, message):
            left_out[reason] += 1
        return None
    content = _content(role, message, left_out)
    if not content.strip():
        return None
    metadata = values.as_object(message.get("metadata"))
    is_reply = role is Role.ASSISTANT
    return ImportedMessage(
        role=role,
        content=content,
        at=values.microseconds(message.get("create_time")),
        model=values.one_line(metadata.get("model_slug")) if is_reply else "",
        is_stopped=is_reply and _is_stopped(message, metadata),
    )


def _invisible(role: Role, message: dict[str, object]) -> str | None:
    """The key of `LEFT_OUT` for a message that a person did not see; `None` if they saw it."""
    kind = _kind(message)
    recipient = values.one_line(message.get("recipient"))
    if kind in _REASONING or (role is Role.ASSISTANT and message.get("channel") == "analysis"):
        return "reasoning message" if recipient in {"", "all"} else "tool call"
    if role is not Role.TOOL and recipient not in {"", "all"}:
        return "tool call"
    hidden = values.as_object(message.get("metadata")).get("is_visually_hidden_from_conversation")
    return _HIDDEN if hidden is True or kind in _INSTRUCTIONS else None


def _has_content(role: Role, message: dict[str, object]) -> bool:
    return _kind(message) in _INSTRUCTIONS or bool(_content(role, message, Counter()).strip())


def _is_stopped(message: dict[str, object], metadata: dict[str, object]) -> bool:
    ending = values.as_object(metadata.get("finish_details")).get("type")
    return ending == "interrupted" or message.get("status") == "in_progress"


def _kind(message: dict[str, object]) -> str:
    return values.one_line(values.as_object(message.get("content")).get("content_type"))


def _content(role: Role, message: dict[str, object], left_out: Counter[str]) -> str:
    content = values.as_object(message.get("content"))
    kind = _kind(message)
    lines = [_part(part, left_out) for part in values.as_array(content.get("parts"))]
    if not any(lines):
        lines = [values.string(content.get("text")) or values.string(content.get("result"))]
    if kind in {"code", "execution_output"}:
        lines = [_fenced("\n".join(filter(None, lines)), content.get("language"))]
    if kind == "tether_quote":
        lines = [values.string(content.get("title")), values.string(content.get("url")), *lines]
    lines += _attachments(message, left_out)
    joined = "\n".join(filter(None, lines))
    # A person's text may have such characters from a font of icons: they stay.
    return values.text(joined if role is Role.USER else _without_marks(joined))


def _part(part: object, left_out: Counter[str]) -> str:
    """A part of a message as text, or its placeholder."""
    if isinstance(part, str):
        return part
    fields = values.as_object(part)
    kind = values.one_line(fields.get("content_type"))
    text = values.string(fields.get("text")) or values.string(fields.get("result"))
    if text or not fields or kind == "audio_transcription":
        return text
    if kind.endswith("_asset_pointer"):
        name = fields.get("name") or ("video" if "video" in kind else None)
        return values.placeholder(kind, name, left_out)
    left_out["part of an unknown kind"] += 1
    return ""


def _attachments(message: dict[str, object], left_out: Counter[str]) -> list[str]:
    """Placeholders of the attached files that are not among the message's parts."""
    parts = values.as_array(values.as_object(message.get("content")).get("parts"))
    pointers = (values.string(values.as_object(part).get("asset_pointer")) for part in parts)
    shown = {pointer.rpartition("/")[2] for pointer in pointers} - {""}
    attached = values.as_array(values.as_object(message.get("metadata")).get("attachments"))
    return [
        values.placeholder(values.one_line(file.get("mime_type")), file.get("name"), left_out)
        for file in map(values.as_object, attached)
        if file and values.string(file.get("id")) not in shown
    ]


def _fenced(code: str, language: object) -> str:
    """Code in a Markdown fence that is longer than any in it; empty if there is no code."""
    if not code.strip():
        return ""
    longest = max(map(len, _BACKTICKS.findall(code)), default=0)
    fence = "`" * max(3, longest + 1)
    tag = values.one_line(language).removeprefix("unknown")
    return f"{fence}{tag}\n{code}\n{fence}"


def _without_marks(text: str) -> str:
    """The text with the labels that a reader saw for ChatGPT's marks; citations are removed."""
    if "\ue200" in text:
        text = _MARK.sub(_label, text)
    return _STRAY_MARK.sub("", text)


def _label(mark: re.Match[str]) -> str:
    space = mark[1]
    kind, *fields = (mark[2] or mark[3] or "").split("\ue202")
    label = ""
    if kind == "url" and fields:
        target = fields[1] if len(fields) > 1 else ""
        is_address = target.startswith(("http://", "https://"))
        label = f"[{fields[0]}]({target})" if is_address else fields[0]
    elif kind == "entity" and fields and (entity := _ENTITY.match(fields[0])):
        label = _unquoted(entity[1])
    return space + label if label else ""


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return quoted[1:-1]
