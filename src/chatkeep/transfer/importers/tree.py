"""A conversation of another product as a tree of messages, and its conversion to lines of ours.

The tree may be damaged: parents may be missing or form a circle, lists of children may be wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypedDict

from chatkeep.domain.model import Role, Status, TitleSource
from chatkeep.domain.times import rfc3339
from chatkeep.transfer.importers import values

MAX_NAMES = 20
"""Models or tags of a conversation that its metadata names."""

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
"""What can be left out of a conversation: the singular and the plural, for the report."""

# What both products show where nobody has named a conversation.
_NO_TITLES = {"", "new chat"}


class Unreadable(Exception):
    """This is no conversation of a known export; the message is the reason."""


class SessionFields(TypedDict):
    """A session's members as `SessionLine` has them, not validated yet; the title may be empty."""

    session_id: str
    title: str
    title_source: str
    pinned: bool
    archived: bool
    model: None
    system_prompt: str | None
    context_messages: None
    metadata: dict[str, str | list[str]]
    head_seq: int
    created_at: str
    updated_at: str


class MessageFields(TypedDict):
    """A message's members as `MessageLine` has them, not validated yet."""

    seq: int
    id: str
    parent_seq: int | None
    role: str
    content: str
    status: str
    turn_id: None
    created_at: str


@dataclass(frozen=True, slots=True)
class ConvertedConversation:
    """A session and its messages, oldest first, and what was left out, in words."""

    session: SessionFields
    messages: list[MessageFields]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportedMessage:
    """A message of another product. `at` is in microseconds since 1970; `None` if unknown."""

    role: Role
    content: str
    at: int | None
    model: str = ""
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class MessageNode:
    """A node of the tree with the ids around it; `message` is `None` if it is left out."""

    parent: str | None
    children: list[str]
    message: ImportedMessage | None


@dataclass(frozen=True, slots=True)
class ImportedConversation:
    """A conversation of another product, whose nodes are in no order.

    Times are in microseconds since 1970. `current` is the id of the node that is shown last, if it
    is a string. `left_out` counts by the keys of `LEFT_OUT`.
    """

    product: str
    session_id: str
    title: str
    nodes: dict[str, MessageNode]
    current: object
    left_out: Counter[str]
    created_at: int | None = None
    updated_at: int | None = None
    pinned: bool = False
    archived: bool = False
    models: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    system_prompt: str | None = None


@dataclass(slots=True)
class _Branches:
    """The messages so far, with their times, and the number of each node's nearest message."""

    messages: list[MessageFields] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    nearest: dict[str | None, int | None] = field(default_factory=lambda: {None: None})

    def add(self, node: str, message_id: str, message: ImportedMessage, earliest: int) -> None:
        """Add a node's message, whose parent's number is in `nearest` for this node already."""
        parent_seq = self.nearest[node]
        if parent_seq is not None:
            earliest = self.times[parent_seq - 1]
        at = max(earliest, message.at or earliest)
        seq = len(self.messages) + 1
        self.times.append(at)
        self.nearest[node] = seq
        status = Status.CANCELLED if message.is_stopped else Status.COMPLETED
        self.messages.append(
            {
                "seq": seq,
                "id": message_id,
                "parent_seq": parent_seq,
                "role": message.role.value,
                "content": message.content,
                "status": status.value,
                "turn_id": None,
                "created_at": rfc3339(at),
            }
        )


def convert(imported: ImportedConversation) -> ConvertedConversation:
    """Convert a conversation to lines. Raises `Unreadable` without an id or a message."""
    if not imported.session_id:
        raise Unreadable("it has no id")
    branches = _branches(imported)
    if not branches.messages:
        raise Unreadable("it has no messages")
    begin, end = min(branches.times), max(branches.times)
    current = imported.current if isinstance(imported.current, str) else None
    has_title = imported.title.casefold() not in _NO_TITLES
    session: SessionFields = {
        "session_id": imported.session_id,
        "title": imported.title if has_title else "",
        "title_source": (TitleSource.USER if has_title else TitleSource.PROVISIONAL).value,
        "pinned": imported.pinned,
        "archived": imported.archived,
        "model": None,
        "system_prompt": imported.system_prompt,
        "context_messages": None,
        "metadata": _metadata(imported),
        "head_seq": branches.nearest.get(current) or len(branches.messages),
        "created_at": rfc3339(min(begin, imported.created_at or begin)),
        "updated_at": rfc3339(max(end, imported.updated_at or end)),
    }
    return ConvertedConversation(session, branches.messages, _notes(imported.left_out))


def _branches(imported: ImportedConversation) -> _Branches:
    parents = _parents(imported.nodes)
    branches = _Branches()
    begin = _begin(imported)
    for name in _ordered(imported.nodes, parents):
        branches.nearest[name] = branches.nearest[parents[name]]
        message = imported.nodes[name].message
        if message is not None:
            branches.add(name, _message_id(imported.session_id, name), message, begin)
    return branches


def _parents(nodes: dict[str, MessageNode]) -> dict[str, str | None]:
    """Each node's parent, if it exists; every circle is cut once."""
    parents: dict[str, str | None] = {}
    walks: dict[str, str] = {}
    for start in nodes:
        name = start
        while name not in walks:
            walks[name] = start
            parent = nodes[name].parent
            # A parent that this same walk has passed closes a circle.
            if parent is None or parent not in nodes or walks.get(parent) == start:
                parents[name] = None
                break
            parents[name] = parent
            name = parent
    return parents


def _ordered(nodes: dict[str, MessageNode], parents: dict[str, str | None]) -> Iterator[str]:
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


def _begin(imported: ImportedConversation) -> int:
    """The time of a first message that has none; 1970 if the export has no time at all."""
    messages = (node.message for node in imported.nodes.values())
    times = [imported.created_at, *(message.at for message in messages if message)]
    known = (at for at in times if at is not None)
    return min(known, default=imported.updated_at or 0)


def _message_id(session_id: str, name: str) -> str:
    # A session's id has no control characters, so that no two pairs give the same bytes.
    both = f"{session_id}\0{name}".encode("utf-8", "surrogatepass")
    return "msg_" + blake2b(both, digest_size=16).hexdigest()


def _metadata(imported: ImportedConversation) -> dict[str, str | list[str]]:
    used = (node.message.model for node in imported.nodes.values() if node.message)
    models = values.distinct(used, limit=MAX_NAMES)
    metadata: dict[str, str | list[str]] = {
        "imported_from": imported.product,
        "models": models or values.distinct(imported.models, limit=MAX_NAMES),
        "tags": values.distinct(imported.tags, limit=MAX_NAMES),
    }
    return {name: value for name, value in metadata.items() if value}


def _notes(left_out: Counter[str]) -> tuple[str, ...]:
    counts = ((left_out[one], one, several) for one, several in LEFT_OUT.items())
    return tuple(f"{n:,} {one if n == 1 else several}" for n, one, several in counts if n)
