"""Branches of the tree of messages: where one ends, and what is on the active one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from chatkeep.domain.errors import MessageNotFound
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.tables import RUN_START, messages, sessions


def last_of_branch(conn: sa.Connection, *, session_pk: int, message_id: str) -> Any:
    """The `seq` and `depth` of the newest message below this one, or of itself.

    At each message on the way the newest of those that follow it is taken. Raises
    `MessageNotFound`.
    """
    row = _LAST_OF_BRANCH.one(conn, {"session": session_pk, "message": message_id})
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


_LAST_OF_BRANCH = PreparedStatement(_last_of_branch_statement())


def active_runs(conn: sa.Connection, session_pks: Sequence[int]) -> Mapping[int, Sequence[range]]:
    """What is on the active branch of each of these sessions, as ranges of `seq`.

    A session without branches has one range however long it is, and each fork that the path to
    its head goes through adds one at most.
    """
    runs = defaultdict(list)
    for row in conn.execute(_ACTIVE_RUNS, {"keys": session_pks}):
        runs[row.session_pk].append(range(row.first, row.last + 1))
    return runs


def _run_start(session_pk: sa.Column[int], seq: sa.Column[int]) -> sa.ScalarSelect[int]:
    """The first message of the run that a message is in."""
    starts = messages.alias("starts")
    return (
        sa.select(starts.c.seq)
        .where(starts.c.session_pk == session_pk, starts.c.seq <= seq, sa.text(f"({RUN_START})"))
        .order_by(starts.c.seq.desc())
        .limit(1)
        .correlate_except(starts)
        .scalar_subquery()
    )


def _active_runs_statement() -> sa.Select[tuple[int, int, int]]:
    walk = (
        sa.select(
            sessions.c.pk.label("session_pk"),
            _run_start(sessions.c.pk, sessions.c.head_seq).label("first"),
            sessions.c.head_seq.label("last"),
        )
        .where(
            sessions.c.pk.in_(sa.bindparam("keys", expanding=True)),
            sessions.c.head_seq.is_not(None),
        )
        .cte("walk", recursive=True)
    )
    # Before the first message of a run is its parent, which is in another.
    walk = walk.union_all(
        sa.select(
            messages.c.session_pk,
            _run_start(messages.c.session_pk, messages.c.parent_seq),
            messages.c.parent_seq,
        )
        .join(
            walk,
            sa.and_(messages.c.session_pk == walk.c.session_pk, messages.c.seq == walk.c.first),
        )
        .where(messages.c.parent_seq.is_not(None))
    )
    return sa.select(walk.c.session_pk, walk.c.first, walk.c.last)


_ACTIVE_RUNS = _active_runs_statement()
