"""Leases: which processes are alive, and the turns of those that are not.

A lease is a count that its owner raises. No clock is in it: each process that watches one counts
its own looks.
"""

from typing import NamedTuple

import sqlalchemy as sa

from chatkeep.store.prepared import PreparedSelect, TypedSelect
from chatkeep.store.tables import WAITING, leases, turns


class Lease(NamedTuple):
    """The lease of a process, and how often that has renewed it."""

    owner: str
    beat: int


class Orphan(NamedTuple):
    """A turn that runs for an owner without a lease, and which of its attempts that is."""

    id: str
    tenant_id: str
    session_pk: int
    owner: str | None
    attempt: int


class Stalled(NamedTuple):
    """A session in which turns wait, though none runs."""

    tenant_id: str
    session_pk: int


_OF = leases.c.owner == sa.bindparam("who")
_BEAT = leases.update().where(_OF).values(beat=leases.c.beat + 1)
_DELETE = leases.delete().where(_OF)
_DELETE_STILL = _DELETE.where(leases.c.beat == sa.bindparam("still"))
_OTHERS = TypedSelect(
    sa.select(leases.c.owner, leases.c.beat).where(leases.c.owner != sa.bindparam("who")), Lease
)
_BY_OWNER = PreparedSelect(sa.select(leases.c.owner, leases.c.beat).where(_OF), Lease)
_RUNNING = turns.c.status == sa.literal_column("'running'")
_DISOWN = turns.update().where(_RUNNING, turns.c.owner == sa.bindparam("who")).values(owner=None)
_CLOCK = sa.text("SELECT extract(epoch FROM clock_timestamp()) * 1000000")
_LIMIT = sa.bindparam("limit", type_=sa.Integer)
ORPHANS = TypedSelect(
    sa.select(*(turns.c.id, turns.c.tenant_id, turns.c.session_pk, turns.c.owner, turns.c.attempt))
    .where(_RUNNING, ~sa.exists().where(leases.c.owner == turns.c.owner))
    .limit(_LIMIT),
    Orphan,
)
_other = turns.alias("other")
STALLED = TypedSelect(
    sa.select(turns.c.tenant_id, turns.c.session_pk)
    .where(
        turns.c.status == sa.literal_column("'queued'"),
        sa.text(f"({WAITING})"),
        ~sa.exists().where(
            _other.c.session_pk == turns.c.session_pk,
            _other.c.status == sa.literal_column("'running'"),
        ),
    )
    .order_by(turns.c.session_pk)
    .distinct()
    .limit(_LIMIT),
    Stalled,
)


def claim(conn: sa.Connection, *, owner: str, is_alone: bool) -> None:
    """Begin a lease of a new owner; who holds the database alone ends all others."""
    if is_alone:
        conn.execute(leases.delete())
    conn.execute(leases.insert(), {"owner": owner, "beat": 0})


def beat(conn: sa.Connection, *, owner: str) -> bool:
    """Renew a lease. False if there is none any more: another process has ended it."""
    return conn.execute(_BEAT, {"who": owner}).rowcount == 1


def read_clock(conn: sa.Connection) -> int | None:
    """PostgreSQL's time, in microseconds since 1970; `None` from SQLite, which has none."""
    if conn.dialect.name != "postgresql":
        return None
    return int(conn.scalar(_CLOCK) or 0)


def release(conn: sa.Connection, *, owner: str) -> None:
    """End a lease: the turns that its owner still runs belong to nobody, and may be taken over."""
    conn.execute(_DISOWN, {"who": owner})
    conn.execute(_DELETE, {"who": owner})


def others(conn: sa.Connection, *, owner: str) -> list[Lease]:
    """The leases of the other processes."""
    return _OTHERS.all(conn, {"who": owner})


def end(conn: sa.Connection, *, lease: Lease) -> bool:
    """End a lease unless it was renewed; of several processes that try this, one succeeds."""
    return conn.execute(_DELETE_STILL, {"who": lease.owner, "still": lease.beat}).rowcount == 1


def is_alive(conn: sa.Connection, *, owner: str) -> bool:
    """True if an owner has a lease."""
    return _BY_OWNER.first(conn, {"who": owner}) is not None


def is_eldest(conn: sa.Connection, *, owner: str) -> bool:
    """True if no living process is older: owners are made of the time at which they began."""
    return bool(conn.scalar(sa.select(sa.func.min(leases.c.owner))) == owner)


def orphans(conn: sa.Connection, *, limit: int) -> list[Orphan]:
    """Turns that run, as far as their rows say, but in no process that is alive."""
    return ORPHANS.all(conn, {"limit": limit})


def stalled(conn: sa.Connection, *, limit: int) -> list[Stalled]:
    """Sessions whose next turn nobody has begun."""
    return STALLED.all(conn, {"limit": limit})
