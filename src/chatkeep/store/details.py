"""What is shown of messages beside themselves: their alternatives and their turns."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import Message, MessageRecord
from chatkeep.store import messages as stored
from chatkeep.store import turn_records
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.tables import messages, turns


class Sibling(NamedTuple):
    """A message `id`, and one that has the same parent: itself, or another."""

    id: str
    seq: int
    sibling: str


_AT_THESE = (
    messages.c.session_pk == sa.bindparam("session"),
    messages.c.seq.in_(sa.bindparam("seqs", expanding=True)),
)
_SAME_PARENT = messages.alias("siblings")
_SIBLINGS = TypedSelect(
    sa.select(messages.c.id, _SAME_PARENT.c.seq, _SAME_PARENT.c.id.label("sibling"))
    .join_from(
        messages,
        _SAME_PARENT,
        sa.and_(
            _SAME_PARENT.c.session_pk == messages.c.session_pk,
            # The first messages have none, and that is the same one.
            _SAME_PARENT.c.parent_seq.is_not_distinct_from(messages.c.parent_seq),
        ),
    )
    .where(*_AT_THESE),
    Sibling,
)
_REGENERATIONS = turns.alias("regenerations")
_NEWEST_AGAIN = (
    sa.select(_REGENERATIONS.c.id)
    .where(
        _REGENERATIONS.c.session_pk == messages.c.session_pk,
        _REGENERATIONS.c.user_message_id == messages.c.id,
        _REGENERATIONS.c.regenerates.is_not(None),
    )
    .order_by(_REGENERATIONS.c.seq.desc())
    .limit(1)
    .correlate(messages)
    .scalar_subquery()
)
_TURNS = TypedSelect(
    sa.select(messages.c.id.label("message"), *turn_records.SUMMARIZED)
    # No turn answers a reply, so that its turn is the one that wrote it.
    .join_from(messages, turns, turns.c.id == sa.func.coalesce(_NEWEST_AGAIN, messages.c.turn_id))
    .where(*_AT_THESE),
    turn_records.AnsweringTurn,
)


def of_path(conn: sa.Connection, *, session_pk: int, seqs: Sequence[int]) -> list[MessageRecord]:
    """The messages of a session with these numbers, in this order, with their details."""
    params = {"session": session_pk, "seqs": seqs}
    siblings: defaultdict[str, list[Sibling]] = defaultdict(list)
    for row in _SIBLINGS.all(conn, params):
        siblings[row.id].append(row)
    turns_by_message = {row.message: turn_records.summary(row) for row in _TURNS.all(conn, params)}
    return [
        MessageRecord(
            **{name: getattr(message, name) for name in Message.__dataclass_fields__},
            siblings=tuple(row.sibling for row in sorted(siblings[message.id])),
            turn=turns_by_message.get(message.id),
        )
        for message in stored.of_path(conn, session_pk=session_pk, seqs=seqs)
    ]
