"""Statements that are made into SQL once, and run on the database driver itself.

SQLAlchemy says what a statement is, in the dialect of any database; but it takes 12 to 19 µs to run
one, which SQLite does in 3 to 10. A turn's steps and the pages that people read run theirs here.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

Statement = sa.Select[Any] | sa.Insert | sa.Update | sa.TextClause
Convert = Callable[[Any], Any]


class PreparedStatement:
    """A statement whose SQL depends on nothing but the names of its values.

    It runs in the transaction that its connection is in. Raises `sa.exc.DBAPIError`.
    """

    def __init__(self, statement: Statement) -> None:
        """Take a statement without lists, whose length would be part of its SQL."""
        # What the database makes by itself is not asked for.
        self.statement = statement.inline() if isinstance(statement, sa.Insert) else statement
        self._made: dict[tuple[str, ...], _Sql] = {}

    def run(self, conn: sa.Connection, values: Mapping[str, Any]) -> None:
        """Change what it changes."""
        self._execute(conn, values)

    def one(self, conn: sa.Connection, values: Mapping[str, Any]) -> Any:
        """The first row, whose columns are attributes; `None` if there is none."""
        sql, cursor = self._execute(conn, values)
        found = cursor.fetchone()
        return None if found is None else sql.row(found)

    def all(self, conn: sa.Connection, values: Mapping[str, Any]) -> list[Any]:
        """Every row; its columns are attributes."""
        sql, cursor = self._execute(conn, values)
        return [sql.row(found) for found in cursor.fetchall()]

    def _execute(self, conn: sa.Connection, values: Mapping[str, Any]) -> tuple["_Sql", Any]:
        names = (conn.dialect.name, *values)
        sql = self._made.get(names)
        if sql is None:
            sql = self._made[names] = _Sql(self.statement, conn.dialect, list(values))
        driver: Any = conn.connection.driver_connection
        try:
            return sql, driver.execute(sql.text, sql.parameters(values))
        except conn.dialect.loaded_dbapi.Error as error:
            # Without the values, which are private.
            raise sa.exc.DBAPIError.instance(
                sql.text, None, error, conn.dialect.loaded_dbapi.Error, dialect=conn.dialect
            ) from error


class _Sql:
    """A statement in one dialect, for values of these names."""

    def __init__(self, statement: Statement, dialect: sa.Dialect, names: list[str]) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=names)
        self.text = str(compiled)
        self._order: tuple[str, ...] | None = (
            tuple(compiled.positiontup) if compiled.positional else None
        )
        self._constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        processors = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in compiled.binds.items()
        }
        self._inward = [(name, convert) for name, convert in processors.items() if convert]
        self.row: Callable[[Any], Any] = tuple
        if isinstance(statement, sa.Select):
            self.row = _rows_of(statement, dialect)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """The values as the driver takes them."""
        if self._constants or self._inward:
            values = {**self._constants, **values}
            for name, convert in self._inward:
                values[name] = convert(values[name])
        return values if self._order is None else [values[name] for name in self._order]


def _rows_of(statement: sa.Select[Any], dialect: sa.Dialect) -> Callable[[Any], Any]:
    """How a row is made of what the driver returns."""
    columns = statement.selected_columns
    names = columns.keys()
    made: Any = namedtuple("Row", names)  # type: ignore[misc]  # noqa: PYI024  (only now known)
    outward = [
        (place, convert)
        for place, column in enumerate(columns)
        if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
    ]
    if not outward:
        make: Callable[[Any], Any] = made._make
        return make

    def converted(found: Any) -> Any:
        values = list(found)
        for place, convert in outward:
            values[place] = convert(values[place])
        return made._make(values)

    return converted
