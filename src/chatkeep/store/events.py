"""The newest events of tenants in PostgreSQL, counted without gaps, for `GET /events`.

A tenant's counter has one row, which each transaction that adds events locks: so they are numbered
in the order of their commits, and a reader that has read one has missed none before it. Both tables
are UNLOGGED: after a crash of the database they are empty, the count begins again with another
`run_id`, and readers learn that events are gone.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa


class NewEvent(NamedTuple):
    """An event to add; `data` is its payload as JSON."""

    name: str
    session_id: str
    data: str


class StoredEvent(NamedTuple):
    """An event; one with an empty name was erased, because its session was deleted."""

    seq: int
    name: str
    data: str


class Count(NamedTuple):
    """The state of a tenant's count: which one it is, and the number of the last event."""

    run_id: str
    last: int


_CREATE = sa.text(
    # Not of a tenant or a user that is being erased, whose id is a name.
    "INSERT INTO event_counters (tenant_id, run_id, last) SELECT :tenant, :run_id, 0 "
    "WHERE EXISTS (SELECT 1 FROM tenants WHERE id = :tenant AND deleted_at IS NULL) "
    "ON CONFLICT DO NOTHING"
)
_ADD = sa.text(
    "WITH counted AS (UPDATE event_counters SET last = last + :count WHERE tenant_id = :tenant "
    "RETURNING last - :count AS base) "
    "INSERT INTO events (tenant_id, seq, name, session_id, data) "
    "SELECT :tenant, counted.base + added.number, added.name, added.session_id, added.data "
    "FROM counted, unnest(CAST(:names AS text[]), CAST(:sessions AS text[]), "
    "CAST(:datas AS text[])) WITH ORDINALITY AS added(name, session_id, data, number) "
    "RETURNING seq"
)
_LOCK = sa.text("SELECT 1 FROM event_counters WHERE tenant_id = :tenant FOR UPDATE")
_IS_AT = sa.text(
    "SELECT 1 FROM events WHERE tenant_id = :tenant AND seq = :seq AND name = :name "
    "AND data = :data"
)
_PRUNE = sa.text(
    "DELETE FROM events WHERE tenant_id = :tenant AND seq <= "
    "(SELECT last - :kept FROM event_counters WHERE tenant_id = :tenant)"
)
_ERASE = sa.text(
    "UPDATE events SET name = '', data = '' WHERE tenant_id = :tenant AND session_id = :session"
)
_COUNT = sa.text("SELECT run_id, last FROM event_counters WHERE tenant_id = :tenant")
_NEWEST = sa.text(
    "SELECT seq, name, data FROM events WHERE tenant_id = :tenant ORDER BY seq DESC LIMIT :limit"
)
_SINCE = sa.text(
    "SELECT c.tenant_id, c.run_id, c.last, e.seq, e.name, e.data "
    "FROM unnest(CAST(:tenants AS text[]), CAST(:seqs AS bigint[])) AS wanted(tenant_id, seq) "
    "JOIN event_counters c ON c.tenant_id = wanted.tenant_id "
    "LEFT JOIN events e ON e.tenant_id = c.tenant_id AND e.seq > wanted.seq "
    "ORDER BY c.tenant_id, e.seq"
)
_OF_TENANT = "tenant_id = :tenant OR starts_with(tenant_id, :tenant || '/')"
_FORGET = (
    sa.text(f"DELETE FROM events WHERE {_OF_TENANT}"),  # noqa: S608  (a constant)
    sa.text(f"DELETE FROM event_counters WHERE {_OF_TENANT}"),  # noqa: S608  (a constant)
)
_RESTART_ALL = sa.text("UPDATE event_counters SET run_id = :run_id")
_RESTART = sa.text(
    "UPDATE event_counters SET run_id = :run_id WHERE tenant_id = ANY(CAST(:tenants AS text[]))"
)


def add(
    conn: sa.Connection,
    *,
    events: Mapping[str, Sequence[NewEvent]],
    erased: Mapping[str, Sequence[str]],
    run_id: str,
    kept: int,
) -> dict[str, int]:
    """Add events, by their tenant.

    Args:
        conn: The connection.
        events: What happened, in its order.
        erased: Sessions by their tenant whose earlier events are erased first.
        run_id: Of a tenant's count, if that begins now.
        kept: How many events of a tenant stay, the newest.

    Returns:
        The number of each tenant's last one.

    """
    last: dict[str, int] = {}
    # In one order, so that two processes do not wait for each other.
    for tenant in sorted(events):
        conn.execute(_CREATE, {"tenant": tenant, "run_id": run_id})
        for session in erased.get(tenant, ()):
            conn.execute(_ERASE, {"tenant": tenant, "session": session})
        names, sessions, datas = (list(column) for column in zip(*events[tenant], strict=True))
        params = {"names": names, "sessions": sessions, "datas": datas, "count": len(names)}
        numbers = conn.scalars(_ADD, {"tenant": tenant, **params}).all()
        if numbers:
            last[tenant] = max(numbers)
        conn.execute(_PRUNE, {"tenant": tenant, "kept": kept})
    return last


def is_added(
    conn: sa.Connection,
    last: Mapping[str, int],
    *,
    events: Mapping[str, Sequence[NewEvent]],
    run_id: str,
) -> bool:
    """True if the `add` that returned `last` took effect: see `Store.write_once`.

    An event of another process at the same place says so only if it is the same event.
    """
    for tenant, seq in sorted(last.items()):
        # The transaction may still be at its commit: both wait for that, whether it has made the
        # counter or found it.
        conn.execute(_CREATE, {"tenant": tenant, "run_id": run_id})
        conn.execute(_LOCK, {"tenant": tenant})
        event = events[tenant][-1]
        params = {"tenant": tenant, "seq": seq, "name": event.name, "data": event.data}
        if conn.execute(_IS_AT, params).first() is None:
            return False
    return bool(last)


def newest(
    conn: sa.Connection, *, tenant: str, run_id: str, limit: int
) -> tuple[Count, list[StoredEvent]]:
    """Read the state of a tenant's count, and its newest events, oldest first.

    Args:
        conn: The connection.
        tenant: Whose events.
        run_id: Of the count, if that begins now.
        limit: Events at most.

    """
    conn.execute(_CREATE, {"tenant": tenant, "run_id": run_id})
    rows = conn.execute(_NEWEST, {"tenant": tenant, "limit": limit}).all()
    row = conn.execute(_COUNT, {"tenant": tenant}).first()
    # Of somebody who was never seen, nothing is counted yet.
    count = Count("", 0) if row is None else Count(*row)
    events = [StoredEvent(*row) for row in reversed(rows)]
    # Between the two statements others may have added some: they come with the next read.
    return count._replace(last=events[-1].seq if events else count.last), events


def since(
    conn: sa.Connection, *, seqs: Mapping[str, int]
) -> dict[str, tuple[Count, list[StoredEvent]]]:
    """Read the events of tenants after a number each, and the state of their counts."""
    found: dict[str, tuple[Count, list[StoredEvent]]] = {}
    params = {"tenants": list(seqs), "seqs": list(seqs.values())}
    for tenant, run_id, last, *event in conn.execute(_SINCE, params):
        _, events = found.setdefault(tenant, (Count(run_id, last), []))
        if event[0] is not None:
            events.append(StoredEvent(*event))
    return found


def forget(conn: sa.Connection, *, tenant: str) -> None:
    """Delete the events of a tenant and of its users."""
    for statement in _FORGET:
        conn.execute(statement, {"tenant": tenant})


def restart(conn: sa.Connection, *, run_id: str, tenants: Collection[str] | None = None) -> None:
    """Give counts another `run_id`: so their readers learn that events may be gone.

    Args:
        conn: The connection.
        run_id: The new one.
        tenants: Whose counts; `None` for all.

    """
    if tenants is None:
        conn.execute(_RESTART_ALL, {"run_id": run_id})
    else:
        conn.execute(_RESTART, {"run_id": run_id, "tenants": sorted(tenants)})
