"""The count of tokens: what each call of a model cost, and sums of it."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from chatkeep.domain.model import Call, CallKind, Status, Usage, UsageRow
from chatkeep.store.prepared import PreparedSelect, PreparedStatement
from chatkeep.store.tables import CallValues, calls, sessions

DAY_MICROSECONDS = 24 * 3_600 * 1_000_000

Group = Literal["day", "model", "session", "turn"]
"""What calls are summed by."""


class _SessionKey(NamedTuple):
    pk: int


def add(
    conn: sa.Connection,
    *,
    tenant: str,
    session_pk: int | None,
    turn_id: str | None,
    made: Sequence[Call],
    at: int,
) -> None:
    """Add calls to the count of tokens.

    Args:
        conn: The connection.
        tenant: Whose calls.
        session_pk: Their session; one that does not exist any more counts as `None`: they are
            its tenant's then.
        turn_id: Their turn; `None` for a title.
        made: The calls.
        at: The time, in microseconds since 1970.

    """
    if made and session_pk is not None and _BY_KEY.first(conn, {"key": session_pk}) is None:
        session_pk = turn_id = None
    insert(conn, tenant=tenant, session_pk=session_pk, turn_id=turn_id, made=made, at=at)


def insert(
    conn: sa.Connection,
    *,
    tenant: str,
    session_pk: int | None,
    turn_id: str | None,
    made: Sequence[Call],
    at: int,
) -> None:
    """Add calls as `add` does, of a session that exists."""
    for call in made:
        values: CallValues = {
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
        }
        _INSERT.run(conn, values)


def of_turn(conn: sa.Connection, *, tenant: str, turn_id: str, at: int) -> Usage:
    """The tokens of a turn's calls as they are counted, estimates included.

    Args:
        conn: The connection.
        tenant: Whose turn.
        turn_id: The turn.
        at: When it ended, in microseconds since 1970.

    """
    params = {"tenant": tenant, "turn": turn_id, "at": at}
    read, written = conn.execute(_OF_TURN, params).one()
    return Usage(int(read), int(written))


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
    """Sum what a tenant's calls cost, newest day first, then the dearest.

    Args:
        conn: The connection.
        tenant: Whose calls.
        by: What each row is of; the fields of the others are `None`.
        session_id: Only the calls of this session.
        since: Only calls at this time or later, in microseconds since 1970.
        until: Only calls before this time.
        limit: Rows at most.

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
    rows = conn.execute(statement.order_by(*order, cost.desc(), calls.c.kind)).mappings()
    return [_usage_row(row) for row in rows]


def _usage_row(row: sa.RowMapping) -> UsageRow:
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


def _count(
    condition: sa.ColumnElement[bool], value: sa.Column[int] | int = 1
) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, value), else_=0)), 0)


_OF_TURN = sa.select(
    sa.func.coalesce(sa.func.sum(calls.c.input_tokens), 0),
    sa.func.coalesce(sa.func.sum(calls.c.output_tokens), 0),
).where(
    # As they are counted with the turn's end, this is a row or a few of the index.
    calls.c.tenant_id == sa.bindparam("tenant"),
    calls.c.created_at == sa.bindparam("at"),
    calls.c.turn_id == sa.bindparam("turn"),
)
_INSERT = PreparedStatement(calls.insert())
_BY_KEY = PreparedSelect(
    sa.select(sessions.c.pk).where(sessions.c.pk == sa.bindparam("key")), _SessionKey
)
_COLUMNS: dict[Group, sa.ColumnElement[Any]] = {
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
