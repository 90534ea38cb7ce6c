"""Statements on leases: who runs turns, whether they live, and what the dead leave behind.

A lease is a count that its owner moves. No clock is in it: who watches measures by their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from chatkeep.domain.model import Status, Turn
from chatkeep.store import rows
from chatkeep.store.tables import leases, turns


@dataclass(frozen=True, slots=True)
class Lease:
    """An owner of running turns, and how often its lease has moved."""

    owner: str
    beat: int


@dataclass(frozen=True, slots=True)
class OrphanedTurn:
    """A turn that a process which is gone has left behind."""

    session_pk: int
    tenant: str
    turn: Turn


_OF = leases.c.owner == sa.bindparam("who")
_BEAT = leases.update().where(_OF).values(beat=leases.c.beat + 1)
_DELETE = leases.delete().where(_OF)
_DELETE_STILL = _DELETE.where(leases.c.beat == sa.bindparam("still"))
_RUNNING = turns.c.status == sa.literal_column("'running'")
OTHERS = (
    sa.select(turns.c.owner, leases.c.beat)
    .outerjoin(leases, leases.c.owner == turns.c.owner)
    .where(_RUNNING, turns.c.owner != sa.bindparam("who"))
    .distinct()
)


def claim(conn: sa.Connection, *, owner: str) -> None:
    """Begin a lease."""
    conn.execute(leases.insert(), {"owner": owner, "beat": 0})


def beat(conn: sa.Connection, *, owner: str) -> bool:
    """Move a lease; whether there was one to move."""
    return conn.execute(_BEAT, {"who": owner}).rowcount == 1


def release(conn: sa.Connection, *, owner: str) -> None:
    """End a lease: what its owner still runs may be taken over at once."""
    conn.execute(_DELETE, {"who": owner})


def others(conn: sa.Connection, *, owner: str) -> list[Lease]:
    """Who else runs turns. One whose lease has ended does not move: its beat is -1."""
    found = conn.execute(OTHERS, {"who": owner}).all()
    return [Lease(row.owner, -1 if row.beat is None else row.beat) for row in found]


def take_over(conn: sa.Connection, *, owner: str, dead: Lease) -> list[OrphanedTurn]:
    """Make the turns of a lease that no longer moves the owner's; nothing if it has moved.

    Of several who try this, one succeeds.
    """
    if dead.beat >= 0:
        ended = conn.execute(_DELETE_STILL, {"who": dead.owner, "still": dead.beat})
        if ended.rowcount != 1:
            return []
    left = [row for row in rows.UNFINISHED.all(conn, {}) if row.owner == dead.owner]
    return _taken(conn, owner, left)


def take_all(conn: sa.Connection, *, owner: str) -> list[OrphanedTurn]:
    """Make every turn that has not ended the owner's: right for who holds the database alone."""
    conn.execute(leases.delete().where(leases.c.owner != owner))
    return _taken(conn, owner, rows.UNFINISHED.all(conn, {}))


def _taken(conn: sa.Connection, owner: str, left: Iterable[Any]) -> list[OrphanedTurn]:
    taken = []
    for row in left:
        if row.status == Status.RUNNING.value:
            rows.update_turn(conn, row.id, owner=owner)
        taken.append(OrphanedTurn(row.session_pk, row.tenant_id, rows.turn(row, row.session_id)))
    return taken
