"""Records of Chatkeep's own export, made of a foreign tree: order, numbers, times, what is missing.

Nothing of the tree is believed: parents may be missing or go in circles, lists of children may lie.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from chatkeep.domain.model import Role, Status, TitleSource
from chatkeep.domain.times import rfc3339
from chatkeep.transfer.importers import values

MAX_NAMES = 20
"""Models or tags of a conversation that are named."""

LEFT_OUT = {
    "image": "images",
    "audio recording": "audio recordings",
    "file": "files",
    "part of an unknown kind": "parts of an unknown kind",
    "reasoning message": "reasoning messages",
    "tool call": "tool calls",
    "hidden message": "hidden messages",
    "failed answer": "failed answers",
    "merged answer": "merged answers",
    "message of an unknown role": "messages of an unknown role",
}
"""What can be left out: one of it, and several."""

# What both products show where nobody has named a conversation.
_NO_TITLES = {"", "new chat"}


class Unreadable(Exception):
    """This is no conversation of a known export."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One session and its messages as Chatkeep exports them, and what was left out, in words."""

    session: dict[str, Any]
    messages: list[dict[str, Any]]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """A message to keep. `at` is in microseconds since 1970; `None` where nothing is known."""

    role: Role
    content: str
    at: int | None
    model: str = ""
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a foreign tree, with the ids around it; what is said there, if it is kept."""

    parent: str | None
    children: list[str]
    said: Said | None


@dataclass(frozen=True, slots=True)
class Source:
    """A foreign conversation, read and not yet in order. Times are in microseconds since 1970."""

    product: str
    session_id: str
    title: str
    nodes: dict[str, Node]
    current: object
    left_out: Counter[str]
    created_at: int | None = None
    updated_at: int | None = None
    pinned: bool = False
    archived: bool = False
    models: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    system_prompt: str | None = None


def conversation(source: Source) -> Conversation:
    """Put a foreign conversation in order. Raises `Unreadable` without an id or a message."""
    if not source.session_id:
        raise Unreadable("it has no id")
    messages, times, head = _messages(source)
    if not messages:
        raise Unreadable("it has no messages")
    begin, end = min(times), max(times)
    named = source.title.casefold() not in _NO_TITLES
    session = {
        "session_id": source.session_id,
        "title": source.title if named else "",
        "title_source": (TitleSource.USER if named else TitleSource.PROVISIONAL).value,
        "pinned": source.pinned,
        "archived": source.archived,
        "model": None,
        "system_prompt": source.system_prompt,
        "context_messages": None,
        "metadata": _metadata(source),
        "head_seq": head,
        "created_at": rfc3339(min(begin, source.created_at or begin)),
        "updated_at": rfc3339(max(end, source.updated_at or end)),
    }
    return Conversation(session, messages, _notes(source.left_out))


def _messages(source: Source) -> tuple[list[dict[str, Any]], list[int], int]:
    """The kept messages, their times, and the number of the one that is shown last."""
    parents = _parents(source.nodes)
    kept: list[dict[str, Any]] = []
    times: list[int] = []
    above: dict[str | None, int | None] = {None: None}
    begin = _begin(source)
    for name in _ordered(source.nodes, parents):
        parent_seq, said = above[parents[name]], source.nodes[name].said
        above[name] = parent_seq
        if said is None:
            continue
        earliest = begin if parent_seq is None else times[parent_seq - 1]
        times.append(max(earliest, said.at or earliest))
        above[name] = len(times)
        kept.append(
            {
                "seq": len(times),
                "id": _message_id(source.session_id, name),
                "parent_seq": parent_seq,
                "role": said.role.value,
                "content": said.content,
                "status": (Status.CANCELLED if said.is_stopped else Status.COMPLETED).value,
                "turn_id": None,
                "created_at": rfc3339(times[-1]),
            }
        )
    current = source.current if isinstance(source.current, str) else None
    return kept, times, above.get(current) or len(kept)


def _parents(nodes: dict[str, Node]) -> dict[str, str | None]:
    """Each node's parent, if that one is there; every circle is cut at one place."""
    parents: dict[str, str | None] = {}
    walks: dict[str, str] = {}
    for start in nodes:
        here = start
        while here not in walks:
            walks[here] = start
            parent = nodes[here].parent
            # Met on this very walk, it closes a circle.
            if parent is None or parent not in nodes or walks.get(parent) == start:
                parents[here] = None
                break
            parents[here] = parent
            here = parent
    return parents


def _ordered(nodes: dict[str, Node], parents: dict[str, str | None]) -> Iterator[str]:
    """Every node, depth first: a parent before its children, siblings as the export lists them."""
    children: defaultdict[str | None, list[str]] = defaultdict(list)
    listed: set[str] = set()
    for name, node in nodes.items():
        for child in node.children:
            if child not in listed and parents.get(child) == name:
                listed.add(child)
                children[name].append(child)
    for name in nodes:
        if name not in listed:
            children[parents[name]].append(name)
    waiting = children[None][::-1]
    while waiting:
        name = waiting.pop()
        yield name
        waiting.extend(reversed(children.pop(name, [])))


def _begin(source: Source) -> int:
    """The time of a first message that has none; 1970 if the export knows no time at all."""
    said = (node.said.at for node in source.nodes.values() if node.said)
    known = [at for at in (source.created_at, *said) if at is not None]
    return min(known, default=source.updated_at or 0)


def _message_id(session_id: str, name: str) -> str:
    # A session's id has no control characters, so that the two cannot run together.
    both = f"{session_id}\0{name}".encode("utf-8", "surrogatepass")
    return "msg_" + blake2b(both, digest_size=16).hexdigest()


def _metadata(source: Source) -> dict[str, Any]:
    used = (node.said.model for node in source.nodes.values() if node.said)
    models = values.distinct(used, limit=MAX_NAMES)
    found = {
        "imported_from": source.product,
        "models": models or values.distinct(source.models, limit=MAX_NAMES),
        "tags": values.distinct(source.tags, limit=MAX_NAMES),
    }
    return {name: value for name, value in found.items() if value}


def _notes(left_out: Counter[str]) -> tuple[str, ...]:
    counts = ((left_out[one], one, several) for one, several in LEFT_OUT.items())
    return tuple(f"{n:,} {one if n == 1 else several}" for n, one, several in counts if n)
