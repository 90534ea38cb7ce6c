"""What is on the active branch of a session, as ranges of the messages' numbers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.store.prepared import TypedSelect
from chatkeep.store.tables import RUN_START, messages, sessions


class RunRow(NamedTuple):
    """A run of the active branch: each of its messages but the first follows the one before."""

    session_pk: int
    first: int
    last: int


def active_runs(conn: sa.Connection, session_pks: Sequence[int]) -> Mapping[int, Sequence[range]]:
    """What is on the active branch of each of these sessions, as ranges of `seq`.

    A session without branches has one range however long it is, and each fork that the path to
    its head goes through adds one at most. A session without messages has none.
    """
    runs: defaultdict[int, list[range]] = defaultdict(list)
    for row in _ACTIVE_RUNS.all(conn, {"keys": session_pks}):
        runs[row.session_pk].append(range(row.first, row.last + 1))
    return runs


def run_start(
    session_pk: sa.ColumnElement[int], seq: sa.ColumnElement[int]
) -> sa.ScalarSelect[int]:
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
            run_start(sessions.c.pk, sessions.c.head_seq).label("first"),
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
            run_start(messages.c.session_pk, messages.c.parent_seq),
            messages.c.parent_seq,
        )
        .join(
            walk,
            sa.and_(messages.c.session_pk == walk.c.session_pk, messages.c.seq == walk.c.first),
        )
        .where(messages.c.parent_seq.is_not(None))
    )
    return sa.select(walk.c.session_pk, walk.c.first, walk.c.last)


_ACTIVE_RUNS = TypedSelect(_active_runs_statement(), RunRow)
