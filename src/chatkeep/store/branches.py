"""Branches of the tree of messages."""

from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.domain.errors import MessageNotFound
from chatkeep.store.prepared import PreparedSelect
from chatkeep.store.tables import messages


class TreePosition(NamedTuple):
    """A message's number in its session, and how many messages its path has, itself included."""

    seq: int
    depth: int


def last_of_branch(conn: sa.Connection, *, session_pk: int, message_id: str) -> TreePosition:
    """The newest message below this one, or this one if there is none.

    At each message on the way the newest of those that follow it is taken. Raises
    `MessageNotFound`.
    """
    row = _LAST_OF_BRANCH.first(conn, {"session": session_pk, "message": message_id})
    if row is None:
        raise MessageNotFound("There is no such message in this session.")
    return row


def _last_of_branch_statement() -> sa.Select[tuple[int, int]]:
    in_session = messages.c.session_pk == sa.bindparam("session", type_=sa.BigInteger)
    walk = (
        sa.select(messages.c.seq, sa.literal_column("1").label("step"))
        .where(in_session, messages.c.id == sa.bindparam("message"))
        .cte("walk", recursive=True)
    )
    # The sum keeps SQLite from walking the session backwards in search of the maximum.
    newest_child = (
        sa.select(sa.func.max(messages.c.seq + 0))
        .where(in_session, messages.c.parent_seq == walk.c.seq)
        .correlate(walk)
        .scalar_subquery()
    )
    walk = walk.union_all(sa.select(newest_child, walk.c.step + 1).where(walk.c.seq.is_not(None)))
    return (
        sa.select(messages.c.seq, messages.c.depth)
        .join(walk, walk.c.seq == messages.c.seq)
        .where(in_session)
        .order_by(walk.c.step.desc())
        .limit(1)
    )


_LAST_OF_BRANCH = PreparedSelect(_last_of_branch_statement(), TreePosition)
