"""The count of tokens: what each call of a model cost, and sums of it."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from chatkeep.domain.model import Call, CallKind, Status, UsageRow
from chatkeep.store.prepared import PreparedStatement
from chatkeep.store.tables import calls, sessions

DAY_MICROSECONDS = 24 * 3_600 * 1_000_000

Group = Literal["day", "model", "session", "turn"]


def add(
    conn: sa.Connection,
    *,
    tenant: str,
    session_pk: int | None,
    turn_id: str | None,
    made: Sequence[Call],
    at: int,
) -> None:
    """Write calls down. Those of a session that is gone count for its tenant."""
    if made and session_pk is not None and _IS_THERE.one(conn, {"key": session_pk}) is None:
        session_pk = turn_id = None
    for call in made:
        _INSERT.run(
            conn,
            {
                "tenant_id": tenant,
                "session_pk": session_pk,
                "turn_id": turn_id,
                "kind": call.kind.value,
                "model": call.model,
                "status": call.status.value,
                "is_retry": call.is_retry,
                "input_tokens": call.input_tokens,
                "output_tokens": call.output_tokens,
                "is_estimated": call.is_estimated,
                "created_at": at,
            },
        )


def summed(
    conn: sa.Connection,
    *,
    tenant: str,
    by: Collection[Group],
    session_id: str | None,
    since: int | None,
    until: int | None,
    limit: int,
) -> list[UsageRow]:
    """What a tenant's calls cost, newest day first, then the dearest; at most so many rows.

    Times are in microseconds since 1970.
    """
    groups = {group: _COLUMNS[group] for group in _COLUMNS if group in by}
    columns = [column.label(group) for group, column in groups.items()]
    statement = (
        sa.select(*columns, calls.c.kind, *_SUMS)
        .select_from(calls)
        .outerjoin(
            sessions, sa.and_(sessions.c.pk == calls.c.session_pk, sessions.c.tenant_id == tenant)
        )
        .where(calls.c.tenant_id == tenant)
        .group_by(*groups.values(), calls.c.kind)
        .limit(limit)
    )
    if session_id is not None:
        statement = statement.where(sessions.c.session_id == session_id)
    if since is not None:
        statement = statement.where(calls.c.created_at >= since)
    if until is not None:
        statement = statement.where(calls.c.created_at < until)
    order = [groups["day"].desc()] if "day" in groups else []
    cost = sa.func.sum(calls.c.input_tokens + calls.c.output_tokens)
    found = conn.execute(statement.order_by(*order, cost.desc(), calls.c.kind)).mappings()
    return [_row(row) for row in found]


def _row(row: Any) -> UsageRow:
    return UsageRow(
        day=_day(row.get("day")),
        model=row.get("model"),
        session_id=row.get("session"),
        turn_id=row.get("turn"),
        kind=CallKind(row["kind"]),
        **{column.name: int(row[column.name]) for column in _SUMS},
    )


def _day(number: int | None) -> str | None:
    if number is None:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).date().isoformat()


def _count(condition: Any, value: Any = 1) -> Any:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, value), else_=0)), 0)


_INSERT = PreparedStatement(calls.insert())
_IS_THERE = PreparedStatement(sa.select(sessions.c.pk).where(sessions.c.pk == sa.bindparam("key")))
_COLUMNS: dict[str, Any] = {
    "day": calls.c.created_at // DAY_MICROSECONDS,
    "model": calls.c.model,
    "session": sessions.c.session_id,
    "turn": sa.case((sessions.c.pk.is_not(None), calls.c.turn_id)),
}
_SUMS = (
    sa.func.count().label("calls"),
    _count(calls.c.is_retry).label("retries"),
    _count(calls.c.status == Status.FAILED.value).label("failed"),
    _count(calls.c.status == Status.CANCELLED.value).label("cancelled"),
    _count(calls.c.status == Status.INTERRUPTED.value).label("interrupted"),
    _count(calls.c.is_estimated).label("estimated"),
    _count(sa.true(), calls.c.input_tokens).label("input_tokens"),
    _count(sa.true(), calls.c.output_tokens).label("output_tokens"),
    _count(calls.c.is_estimated, calls.c.input_tokens).label("estimated_input_tokens"),
    _count(calls.c.is_estimated, calls.c.output_tokens).label("estimated_output_tokens"),
)
