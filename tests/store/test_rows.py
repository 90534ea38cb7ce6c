"""Row types have the columns of their tables, and what is set has names and types of columns."""

import types
from typing import Any, get_args, get_type_hints

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from chatkeep.domain import records
from chatkeep.store import (
    branches,
    deletion,
    details,
    exports,
    idempotency,
    imports,
    leases,
    messages,
    rows,
    session_changes,
    session_messages,
    sessions,
    tables,
    usage,
)
from chatkeep.store.prepared import PreparedSelect, TypedSelect
from chatkeep.store.search import active_runs, hits, index

MODULES = (
    *(branches, deletion, details, exports, idempotency, imports, leases, messages, rows),
    *(session_changes, session_messages, sessions, usage, active_runs, hits, index),
)
SELECTS = [
    pytest.param(value, id=f"{module.__name__.rpartition('.')[2]}.{name}")
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, PreparedSelect | TypedSelect)
]


@pytest.mark.parametrize("select", SELECTS)
def test_a_row_has_the_types_of_what_is_selected(
    select: PreparedSelect[Any] | TypedSelect[Any],
) -> None:
    hints = get_type_hints(select.row_type)
    columns = select.statement.selected_columns
    assert list(hints) == columns.keys()
    for name, column in columns.items():
        kinds = set(get_args(hints[name])) or {hints[name]}
        # SQLite has no type of its own for what an expression counts.
        if not isinstance(column.type, sa.types.NullType):
            assert column.type.python_type in kinds, name
        if isinstance(column, sa.Column) and column.nullable and name not in NEVER_NULL:
            assert types.NoneType in kinds, f"{name} may be NULL"


NEVER_NULL = {"search_key", "owner", "user_seq", "idempotency_key", "request_digest", "last"}
"""Columns of which some statements select only the rows that have a value."""


@pytest.mark.parametrize(
    ("values", "table"),
    [
        (tables.SessionValues, tables.sessions),
        (tables.TurnValues, tables.turns),
        (tables.CallValues, tables.calls),
    ],
)
def test_what_is_set_are_columns(values: type[dict[str, Any]], table: sa.Table) -> None:
    hints = get_type_hints(values)
    assert set(hints) == {column.name for column in table.columns if column.name != "pk"}
    for name, hint in hints.items():
        column = table.c[name]
        kinds = set(get_args(hint)) or {hint}
        assert column.type.python_type in kinds
        assert (types.NoneType in kinds) == column.nullable


@pytest.mark.parametrize(
    ("line", "table", "left_out"),
    [
        (
            records.SessionLine,
            tables.sessions,
            {"pk", "tenant_id", "last_seq", "message_count", "turn_count", "search_key"}
            | {"title_owner"},
        ),
        (
            records.TurnLine,
            tables.turns,
            {"tenant_id", "session_pk", "idempotency_key", "request_digest", "owner", "stop"},
        ),
        (records.MessageLine, tables.messages, {"session_pk", "depth", "search_key", "is_step"}),
        (records.CallLine, tables.calls, {"pk", "tenant_id", "session_pk"}),
    ],
)
def test_an_export_has_every_column_but_those_that_an_import_makes_anew(
    line: type[BaseModel], table: sa.Table, left_out: set[str]
) -> None:
    exported = set(line.model_fields) - {"type"}
    assert {column.name for column in table.columns} == exported | left_out


def test_a_row_type_with_another_column_is_refused() -> None:
    statement = sa.select(tables.leases.c.owner, tables.leases.c.beat.label("beats"))
    for make in (TypedSelect, PreparedSelect):
        with pytest.raises(TypeError, match="Lease"):
            make(statement, leases.Lease)
