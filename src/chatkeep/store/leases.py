"""Leases: which processes run turns, whether they are alive, and the turns of those that are not.

A lease is a count that its owner raises. No clock is in it: each process that watches one measures
by its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import Status, Turn
from chatkeep.store import rows
from chatkeep.store.prepared import TypedSelect
from chatkeep.store.rows import ActiveTurn
from chatkeep.store.tables import leases, turns


@dataclass(frozen=True, slots=True)
class Lease:
    """An owner of running turns, and how often it has renewed its lease; -1 without a lease."""

    owner: str
    beat: int


@dataclass(frozen=True, slots=True)
class OrphanedTurn:
    """A turn that a process which is gone has left behind."""

    session_pk: int
    tenant: str
    turn: Turn


class OwnerRow(NamedTuple):
    """An owner of running turns, and its lease's count if it has one."""

    owner: str
    beat: int | None


_OF = leases.c.owner == sa.bindparam("who")
_BEAT = leases.update().where(_OF).values(beat=leases.c.beat + 1)
_DELETE = leases.delete().where(_OF)
_DELETE_STILL = _DELETE.where(leases.c.beat == sa.bindparam("still"))
_RUNNING = turns.c.status == sa.literal_column("'running'")
OTHERS = TypedSelect(
    sa.select(turns.c.owner, leases.c.beat)
    .outerjoin(leases, leases.c.owner == turns.c.owner)
    .where(_RUNNING, turns.c.owner != sa.bindparam("who"))
    .distinct(),
    OwnerRow,
)


def claim(conn: sa.Connection, *, owner: str) -> None:
    """Begin a lease of a new owner."""
    conn.execute(leases.insert(), {"owner": owner, "beat": 0})


def beat(conn: sa.Connection, *, owner: str) -> bool:
    """Renew a lease. False if there is none any more: another process has taken it over."""
    return conn.execute(_BEAT, {"who": owner}).rowcount == 1


def release(conn: sa.Connection, *, owner: str) -> None:
    """End a lease: the turns that its owner still runs may be taken over at once."""
    conn.execute(_DELETE, {"who": owner})


def others(conn: sa.Connection, *, owner: str) -> list[Lease]:
    """The other owners of running turns."""
    return [
        Lease(row.owner, -1 if row.beat is None else row.beat)
        for row in OTHERS.all(conn, {"who": owner})
    ]


def take_over(conn: sa.Connection, *, owner: str, dead: Lease) -> list[OrphanedTurn]:
    """Take over the turns of a lease that is not renewed; none if it has been since.

    Of several processes that try this, one succeeds.

    Args:
        conn: The connection.
        owner: Whose the turns become.
        dead: The lease as it was seen last.

    """
    if dead.beat >= 0:
        ended = conn.execute(_DELETE_STILL, {"who": dead.owner, "still": dead.beat})
        if ended.rowcount != 1:
            return []
    active_turns = rows.ACTIVE_TURNS.all(conn, {})
    return _take(conn, owner, [row for row in active_turns if row.owner == dead.owner])


def take_all(conn: sa.Connection, *, owner: str) -> list[OrphanedTurn]:
    """Take over every turn that has not ended: for a process that holds the database alone."""
    conn.execute(leases.delete().where(leases.c.owner != owner))
    return _take(conn, owner, rows.ACTIVE_TURNS.all(conn, {}))


def _take(
    conn: sa.Connection, owner: str, active_turns: Iterable[ActiveTurn]
) -> list[OrphanedTurn]:
    orphaned = []
    for row in active_turns:
        if row.status == Status.RUNNING.value:
            rows.update_turn(conn, row.id, {"owner": owner})
        orphaned.append(OrphanedTurn(row.session_pk, row.tenant_id, rows.turn(row, row.session_id)))
    return orphaned
