"""ChatGPT's data export: one item of `conversations.json`. OpenAI does not document the format.

A conversation is a tree of nodes by id. Newer exports leave out the lists of children, older ones
have hidden nodes at the top. Code that a model runs, and what it thinks, are messages too.
"""

import json
import re
from collections import Counter
from typing import Any

from chatkeep.domain.model import Role
from chatkeep.transfer.importers import values
from chatkeep.transfer.importers.records import Node, Said, Source

_HIDDEN = "hidden message"
_ROLES = {role.value: role for role in Role}
_REASONING = {"thoughts", "reasoning_recap"}
_INSTRUCTIONS = {"user_editable_context", "model_editable_context"}

# U+E200 kind U+E202 field … U+E201. Cut off at an answer's end, the last sign may be missing.
_MARK = re.compile(
    "(?<![ \t])([ \t]*)\ue200(?:([^\ue200\ue201]*)\ue201"
    "|(\\w*(?:\ue202[^\\s\ue200-\ue202]*)+|\\w*\\Z))"
)
_LOOSE_SIGN = re.compile("[\ue200-\ue206]")
_ENTITY = re.compile(r'\[\s*"(?:[^"\\]|\\.)*"\s*,\s*("(?:[^"\\]|\\.)*")')
_BACKTICKS = re.compile("`+")


def read(item: dict[str, Any]) -> Source:
    """Read a conversation; its `mapping` is an object."""
    left_out: Counter[str] = Counter()
    return Source(
        product="chatgpt",
        session_id=values.identifier(item.get("conversation_id"), item.get("id")),
        title=values.line(item.get("title")),
        nodes={
            name: _node(values.table(node), left_out)
            for name, node in values.table(item.get("mapping")).items()
        },
        current=item.get("current_node"),
        left_out=left_out,
        created_at=values.microseconds(item.get("create_time")),
        updated_at=values.microseconds(item.get("update_time")),
        pinned=item.get("is_starred") is True
        or values.microseconds(item.get("pinned_time")) is not None,
        archived=item.get("is_archived") is True,
        models=[values.line(item.get("default_model_slug"))],
    )


def _node(node: dict[str, Any], left_out: Counter[str]) -> Node:
    parent = node.get("parent")
    return Node(
        parent=parent if isinstance(parent, str) else None,
        children=values.names(node.get("children")),
        said=_said(values.table(node.get("message")), left_out),
    )


def _said(message: dict[str, Any], left_out: Counter[str]) -> Said | None:
    """The message, if a person saw it."""
    if not message:
        return None
    role = _ROLES.get(values.line(values.table(message.get("author")).get("role")))
    if role is None:
        left_out["message of an unknown role"] += 1
        return None
    if reason := _unseen(role, message):
        # Every conversation begins with hidden messages that say nothing.
        if reason != _HIDDEN or _says_something(role, message):
            left_out[reason] += 1
        return None
    content = _content(role, message, left_out)
    if not content.strip():
        return None
    metadata = values.table(message.get("metadata"))
    is_reply = role is Role.ASSISTANT
    return Said(
        role=role,
        content=content,
        at=values.microseconds(message.get("create_time")),
        model=values.line(metadata.get("model_slug")) if is_reply else "",
        is_stopped=is_reply and _is_stopped(message, metadata),
    )


def _unseen(role: Role, message: dict[str, Any]) -> str | None:
    """Why a person did not see the message in the conversation, if so."""
    kind = _kind(message)
    recipient = values.line(message.get("recipient"))
    if kind in _REASONING or (role is Role.ASSISTANT and message.get("channel") == "analysis"):
        return "reasoning message" if recipient in {"", "all"} else "tool call"
    if role is not Role.TOOL and recipient not in {"", "all"}:
        return "tool call"
    hidden = values.table(message.get("metadata")).get("is_visually_hidden_from_conversation")
    return _HIDDEN if hidden is True or kind in _INSTRUCTIONS else None


def _says_something(role: Role, message: dict[str, Any]) -> bool:
    return _kind(message) in _INSTRUCTIONS or bool(_content(role, message, Counter()).strip())


def _is_stopped(message: dict[str, Any], metadata: dict[str, Any]) -> bool:
    ending = values.table(metadata.get("finish_details")).get("type")
    return ending == "interrupted" or message.get("status") == "in_progress"


def _kind(message: dict[str, Any]) -> str:
    return values.line(values.table(message.get("content")).get("content_type"))


def _content(role: Role, message: dict[str, Any], left_out: Counter[str]) -> str:
    content = values.table(message.get("content"))
    kind = _kind(message)
    lines = [_part(part, left_out) for part in values.items(content.get("parts"))]
    if not any(lines):
        lines = [_string(content.get("text")) or _string(content.get("result"))]
    if kind in {"code", "execution_output"}:
        lines = [_fenced("\n".join(filter(None, lines)), content.get("language"))]
    if kind == "tether_quote":
        lines = [_string(content.get("title")), _string(content.get("url")), *lines]
    lines += _attachments(message, left_out)
    joined = "\n".join(filter(None, lines))
    # A person may have such signs from a font of icons: theirs stay.
    return values.text(joined if role is Role.USER else _without_marks(joined))


def _part(part: object, left_out: Counter[str]) -> str:
    """A part of a message as text, or the line that stands for it."""
    if isinstance(part, str):
        return part
    found = values.table(part)
    kind = values.line(found.get("content_type"))
    said = _string(found.get("text")) or _string(found.get("result"))
    if said or not found or kind == "audio_transcription":
        return said
    if kind.endswith("_asset_pointer"):
        name = found.get("name") or ("video" if "video" in kind else None)
        return values.stand_in(kind, name, left_out)
    left_out["part of an unknown kind"] += 1
    return ""


def _attachments(message: dict[str, Any], left_out: Counter[str]) -> list[str]:
    """Lines for the attached files that are not among the message's parts."""
    parts = values.items(values.table(message.get("content")).get("parts"))
    pointers = (_string(values.table(part).get("asset_pointer")) for part in parts)
    shown = {pointer.rpartition("/")[2] for pointer in pointers} - {""}
    attached = values.items(values.table(message.get("metadata")).get("attachments"))
    return [
        values.stand_in(values.line(file.get("mime_type")), file.get("name"), left_out)
        for file in map(values.table, attached)
        if file and _string(file.get("id")) not in shown
    ]


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _fenced(code: str, language: object) -> str:
    """Code in a fence that is longer than any in it; nothing, if there is no code."""
    if not code.strip():
        return ""
    longest = max(map(len, _BACKTICKS.findall(code)), default=0)
    fence = "`" * max(3, longest + 1)
    named = values.line(language).removeprefix("unknown")
    return f"{fence}{named}\n{code}\n{fence}"


def _without_marks(text: str) -> str:
    """The text with what a reader saw in place of ChatGPT's marks: citations are gone."""
    if "\ue200" in text:
        text = _MARK.sub(_shown, text)
    return _LOOSE_SIGN.sub("", text)


def _shown(mark: re.Match[str]) -> str:
    space = mark[1]
    kind, *fields = (mark[2] or mark[3] or "").split("\ue202")
    seen = ""
    if kind == "url" and fields:
        target = fields[1] if len(fields) > 1 else ""
        is_address = target.startswith(("http://", "https://"))
        seen = f"[{fields[0]}]({target})" if is_address else fields[0]
    elif kind == "entity" and fields and (found := _ENTITY.match(fields[0])):
        seen = _unquoted(found[1])
    return space + seen if seen else ""


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return quoted[1:-1]
