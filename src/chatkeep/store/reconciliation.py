"""Where a client's own copy of a conversation is in a session's tree.

Such a client sends all messages each time, and has changed or cut them as it likes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from chatkeep.domain.blocks import FILE_TYPES, Blocks, load, text_of, tool_calls, tool_result
from chatkeep.domain.model import MessageContent, Role
from chatkeep.store import branches, messages
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.tables import messages as table
from chatkeep.store.tables import turns

MAX_BRANCHES = 20
"""Branches that are compared at most: more than one only where branches begin alike."""

MAX_SIBLINGS = 200
"""Messages, the newest, that are looked at for where another branch begins."""

CHUNK = 200
"""Messages of a branch that are read together."""

STEP_SEPARATOR = "\n\n"
"""Between the texts of one turn's messages where a client has them as one."""


@dataclass(frozen=True, slots=True)
class MatchedBranch:
    """How far a conversation is in a session.

    Attributes:
        count: How many of its messages, from the first on, are in the session.
        message_id: The last of these; `None` if there is none.
        parent_id: The message before that one.
        turn_id: The turn that has taken in that message as its last one, if there is such a turn.

    """

    count: int = 0
    message_id: str | None = None
    parent_id: str | None = None
    turn_id: str | None = None


class TreeRow(NamedTuple):
    """A message as it is compared."""

    seq: int
    id: str
    parent_seq: int | None
    depth: int
    role: str
    content: str
    blocks: str | None
    turn_id: str | None


class _InputTurn(NamedTuple):
    id: str


def find_branch(
    conn: sa.Connection, *, tenant: str, session_id: str, wanted: Sequence[MessageContent]
) -> MatchedBranch:
    """Find the branch of a session that begins with most of these messages.

    Messages are the same that have the same role, text, calls and files; white space around a text
    is none of it. Where several branches are as good, the active one is chosen, then the newest.

    A message of the user that never got a reply is no part of what a model reads of a branch. It is
    not matched where another message of the user follows it: both are for one turn then.

    Args:
        conn: The connection.
        tenant: Whose session.
        session_id: The session, which need not exist.
        wanted: The conversation, oldest first.

    """
    head = messages.session_head(conn, tenant=tenant, session_id=session_id)
    if head is None or head.head_seq is None:
        return MatchedBranch()
    search = _Search(conn, head.pk, wanted)
    search.run(head.head_seq)
    return search.result()


class _Search:
    """Compares one branch after the other, beginning where most is already known to be the same."""

    def __init__(
        self, conn: sa.Connection, session_pk: int, wanted: Sequence[MessageContent]
    ) -> None:
        self._conn = conn
        self._session_pk = session_pk
        self._wanted = [_Shape.of(*message[:3]) for message in wanted]
        self._best = 0
        self._last: TreeRow | None = None
        # Those that are the same, by their numbers.
        self._same_rows: dict[int | None, TreeRow] = {}
        # Where other branches begin that may be the same: how many are, and the next message.
        self._beginnings: list[tuple[int, int, TreeRow]] = []
        self._seen: set[int] = set()

    def run(self, head_seq: int) -> None:
        seqs = messages.path_seqs(self._conn, session_pk=self._session_pk, head=head_seq)
        self._compare(0, seqs[::-1])
        for _ in range(MAX_BRANCHES):
            if self._best == len(self._wanted) or not self._beginnings:
                return
            beginning = max(self._beginnings)
            self._beginnings.remove(beginning)
            count, _, row = beginning
            self._compare(count, self._path_through(row))

    def result(self) -> MatchedBranch:
        last = self._last
        if last is None:
            return MatchedBranch()
        parent_id = None
        if last.parent_seq is not None:
            [parent] = _rows(self._conn, self._session_pk, [last.parent_seq])
            parent_id = parent.id
        turn = _BY_INPUT.first(self._conn, {"turn": last.turn_id, "message": last.id})
        return MatchedBranch(self._best, last.id, parent_id, turn and turn.id)

    def _path_through(self, row: TreeRow) -> Sequence[int]:
        """The numbers of the messages from this one to the newest below it."""
        end = branches.last_of_branch(self._conn, session_pk=self._session_pk, message_id=row.id)
        length = end.depth - row.depth + 1
        seqs = messages.path_seqs(
            self._conn, session_pk=self._session_pk, head=end.seq, limit=length
        )
        return seqs[::-1]

    def _compare(self, count: int, seqs: Sequence[int]) -> None:
        """Go along a branch as far as it is the same.

        Args:
            count: How many messages are the same before its first one.
            seqs: The branch, oldest first.

        """
        path = _Path(self._conn, self._session_pk, seqs)
        # How many are the same up to each message, by its number; the first has none before it.
        counts: dict[int | None, int] = {}
        first = path.row(0)
        counts[first and first.parent_seq] = count
        number = 0
        while count < len(self._wanted) and (row := path.row(number)) is not None:
            length = self._same(path, number, self._wanted[count])
            if length == 0:
                break
            last = path.row(number + length - 1) or row
            if self._is_unread_before(row):
                break
            number, count = number + length, count + 1
            counts[last.seq] = count
            self._same_rows[last.seq] = last
            if count > self._best and not self._is_left_unread(last, count, path.row(number)):
                self._best, self._last = count, last
        self._seen.update(seqs[: number + 1])
        if self._best < len(self._wanted):
            self._note_beginnings(counts)

    def _is_unread_before(self, row: TreeRow) -> bool:
        """Whether a message is the user's, and that before it the user's too, of another turn."""
        before = self._same_rows.get(row.parent_seq)
        if before is None or {row.role, before.role} != {Role.USER.value}:
            return False
        return before.turn_id is None or before.turn_id != row.turn_id

    def _is_left_unread(self, last: TreeRow, count: int, following: TreeRow | None) -> bool:
        """Whether a branch would end with a message of the user that no model would be sent.

        That is one which another of the user follows, or without a stored reply anything else.
        """
        if last.role != Role.USER.value or count == len(self._wanted):
            return False
        has_reply = following is not None and following.role != Role.USER.value
        return self._wanted[count].role is Role.USER or not has_reply

    def _same(self, path: "_Path", number: int, wanted: "_Shape") -> int:
        """How many messages of a branch are the same as one that is wanted; 0 for none.

        It is more than one where an agent has called its tools: a client has got only texts.
        """
        row = path.row(number)
        if row is None:
            return 0
        shape = _Shape.of_row(row)
        if shape == wanted:
            return 1
        if wanted.role is not Role.ASSISTANT or wanted.calls or not shape.calls:
            return 0
        texts, length = [shape.text], 1
        while (row := path.row(number + length)) is not None and row.turn_id is not None:
            if row.turn_id != path.turn_id(number):
                break
            shape, length = _Shape.of_row(row), length + 1
            if shape.role is Role.ASSISTANT:
                texts.append(shape.text)
                if not shape.calls:
                    is_same = wanted.text in (shape.text, STEP_SEPARATOR.join(filter(None, texts)))
                    return length if is_same else 0
        return 0

    def _note_beginnings(self, counts: dict[int | None, int]) -> None:
        """Look for messages beside a branch with which another one may go on."""
        parents = [seq for seq in counts if seq is not None]
        statement = _CHILDREN if None not in counts else _CHILDREN_AND_ROOTS
        for begin in range(0, len(parents) or 1, CHUNK):
            params = {
                "session": self._session_pk,
                "parents": parents[begin : begin + CHUNK],
                # The branch itself goes on with the next of its own.
                "known": parents[begin : begin + CHUNK + 1],
            }
            for row in statement.all(self._conn, params):
                count = counts.get(row.parent_seq)
                if count is None or count == len(self._wanted) or row.seq in self._seen:
                    continue
                self._seen.add(row.seq)
                shape, wanted = _Shape.of_row(row), self._wanted[count]
                is_step = bool(shape.calls) and not wanted.calls and wanted.role is shape.role
                if shape == wanted or is_step:
                    self._beginnings.append((count, row.seq, row))


class _Path:
    """The messages of a branch, read as they are needed."""

    def __init__(self, conn: sa.Connection, session_pk: int, seqs: Sequence[int]) -> None:
        self._conn = conn
        self._session_pk = session_pk
        self._seqs = seqs
        self._rows: list[TreeRow] = []

    def row(self, number: int) -> TreeRow | None:
        """One message; `None` behind the last."""
        while number >= len(self._rows):
            begin = len(self._rows)
            if begin >= len(self._seqs):
                return None
            following = self._seqs[begin : begin + CHUNK]
            self._rows += _rows(self._conn, self._session_pk, following)
        return self._rows[number]

    def turn_id(self, number: int) -> str | None:
        """The turn of a message."""
        row = self.row(number)
        return row and row.turn_id


class _Shape(NamedTuple):
    """What makes two messages the same."""

    role: Role
    text: str
    calls: tuple[tuple[str, str, str], ...]
    result_of: str | None
    files: tuple[str, ...]

    @classmethod
    def of(cls, role: Role, text: str, blocks: Blocks | None) -> "_Shape":
        result = tool_result(blocks)
        calls = tuple((call.id, call.name, _sorted(call.args)) for call in tool_calls(blocks))
        files = tuple(
            str(block.get("file_id") or block.get("url"))
            for block in blocks or ()
            if block["type"] in FILE_TYPES
        )
        call_id = None if result is None else result.call_id
        return cls(role, text_of(text, blocks).strip(), calls, call_id, files)

    @classmethod
    def of_row(cls, row: TreeRow) -> "_Shape":
        return cls.of(Role(row.role), row.content, load(row.blocks))


def _rows(conn: sa.Connection, session_pk: int, seqs: Sequence[int]) -> list[TreeRow]:
    return sorted(_BY_SEQ.all(conn, {"session": session_pk, "seqs": seqs}))


def _sorted(args: dict[str, object]) -> str:
    return orjson.dumps(args, option=orjson.OPT_SORT_KEYS).decode()


_COLUMNS = (
    *(table.c.seq, table.c.id, table.c.parent_seq, table.c.depth, table.c.role),
    *(table.c.content, table.c.blocks, table.c.turn_id),
)
_IN_SESSION = table.c.session_pk == sa.bindparam("session")
_BY_SEQ = TypedSelect(
    sa.select(*_COLUMNS).where(_IN_SESSION, table.c.seq.in_(sa.bindparam("seqs", expanding=True))),
    TreeRow,
)
_OF_PARENTS = table.c.parent_seq.in_(sa.bindparam("parents", expanding=True))
_CHILDREN, _CHILDREN_AND_ROOTS = (
    TypedSelect(
        sa.select(*_COLUMNS)
        .where(_IN_SESSION, condition, table.c.seq.not_in(sa.bindparam("known", expanding=True)))
        .order_by(table.c.seq.desc())
        .limit(MAX_SIBLINGS),
        TreeRow,
    )
    for condition in (_OF_PARENTS, _OF_PARENTS | table.c.parent_seq.is_(None))
)
_BY_INPUT = TypedSelect(
    sa.select(turns.c.id).where(
        turns.c.id == sa.bindparam("turn"), turns.c.user_message_id == sa.bindparam("message")
    ),
    _InputTurn,
)
