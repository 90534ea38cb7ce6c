"""Statements with the type of their rows, and statements that are made into SQL only once.

SQLAlchemy says what a statement is, in the dialect of any database; but it takes 12 to 19 µs to run
one, which SQLite does in 3 to 10. A turn's steps and the pages that people read run theirs on the
database driver itself: those are the prepared ones.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

if TYPE_CHECKING:
    from chatkeep.store.pipeline import Pipeline

Statement = sa.Select[Any] | sa.Insert | sa.Update | sa.TextClause

Params = Mapping[str, object]
"""The values of a statement's parameters by name."""

Convert = Callable[[Any], Any]
"""How one value changes on its way to or from the driver, which takes and returns what it likes."""


P = ParamSpec("P")
T = TypeVar("T")
RowT = TypeVar("RowT", bound=tuple[Any, ...])
"""A row type: a `typing.NamedTuple` with the columns that a statement selects."""


class TypedSelect(Generic[RowT]):
    """A SELECT that SQLAlchemy runs: one with lists, or one that is rarely run."""

    def __init__(self, statement: sa.Select[Any], row_type: type[RowT]) -> None:
        """Check that the row type has the statement's columns, in their order.

        Raises:
            TypeError: It has others.

        """
        _check_columns(statement, row_type)
        self.statement = statement
        self.row_type = row_type
        self._to_row = _constructor(row_type)

    def first(self, conn: sa.Connection, params: Params) -> RowT | None:
        """The first row, or `None`."""
        row = conn.execute(self.statement, params).first()
        return None if row is None else self._to_row(row)

    def one(self, conn: sa.Connection, params: Params) -> RowT:
        """The only row. Raises `sa.exc.NoResultFound`, and `sa.exc.MultipleResultsFound`."""
        return self._to_row(conn.execute(self.statement, params).one())

    def all(self, conn: sa.Connection, params: Params) -> list[RowT]:
        """Every row."""
        return [self._to_row(row) for row in conn.execute(self.statement, params)]

    def in_pieces(self, conn: sa.Connection, params: Params, *, size: int) -> Iterable[RowT]:
        """Every row, of which `size` are in memory at a time."""
        options = {"yield_per": size}
        rows = conn.execute(self.statement, params, execution_options=options)
        return map(self._to_row, rows)

    def where(self, *criteria: sa.ColumnElement[bool]) -> "TypedSelect[RowT]":
        """The same rows, as far as these criteria hold for them."""
        return TypedSelect(self.statement.where(*criteria), self.row_type)


class PreparedStatement:
    """A statement whose SQL depends on nothing but the names of its parameters.

    It runs in the transaction that its connection is in. Raises `sa.exc.DBAPIError`.
    """

    def __init__(self, statement: Statement) -> None:
        """Take a statement without lists, whose length would be part of its SQL."""
        # What the database makes by itself is not read back.
        self.statement = statement.inline() if isinstance(statement, sa.Insert) else statement
        self._by_params: dict[tuple[str, ...], _Sql] = {}

    def run(self, conn: sa.Connection, params: Params) -> None:
        """Run a statement that returns no rows.

        Args:
            conn: The connection.
            params: The parameters, and the columns that are set: those of an INSERT or UPDATE that
                names none itself.

        """
        self._execute(conn, params)

    def _execute(self, conn: sa.Connection, params: Params) -> tuple["_Sql", "_Cursor"]:
        dialect = conn.dialect
        pipeline: Pipeline | None = None
        if dialect.name == "postgresql":
            pipeline = conn.info.get(PIPELINE)
            dialect = dialect if pipeline is None else _libpq()
        names = (dialect.paramstyle, *params)
        sql = self._by_params.get(names)
        if sql is None:
            sql = self._by_params[names] = _Sql(self.statement, dialect, list(params))
        # SQLAlchemy does not know the type of the driver's connection.
        driver: Any = conn.connection.driver_connection
        run: Callable[[str, Any], _Cursor] = driver.execute if pipeline is None else pipeline.send
        try:
            return sql, run(sql.text, sql.driver_params(params))
        except conn.dialect.loaded_dbapi.Error as error:
            raise _wrapped(conn, sql.text, error) from error


class PreparedSelect(PreparedStatement, Generic[RowT]):
    """A prepared statement that returns rows."""

    def __init__(self, statement: sa.Select[Any], row_type: type[RowT]) -> None:
        """Check that the row type has the statement's columns, in their order.

        Raises:
            TypeError: It has others.

        """
        _check_columns(statement, row_type)
        super().__init__(statement)
        self.statement: sa.Select[Any] = statement
        self.row_type = row_type
        self._to_row = _constructor(row_type)

    def ask(self, conn: sa.Connection, params: Params) -> "Answer[RowT]":
        """Send the statement; in a pipeline, what is sent together is answered together."""
        return Answer(self, conn, *self._execute(conn, params))

    def one(self, conn: sa.Connection, params: Params) -> RowT:
        """The first row. Raises `sa.exc.NoResultFound`."""
        row = self.first(conn, params)
        if row is None:
            raise sa.exc.NoResultFound
        return row

    def first(self, conn: sa.Connection, params: Params) -> RowT | None:
        """The first row, or `None`."""
        return self.read_first(conn, *self._execute(conn, params))

    def all(self, conn: sa.Connection, params: Params) -> list[RowT]:
        """Every row."""
        return self.read_all(conn, *self._execute(conn, params))

    def read_all(self, conn: sa.Connection, sql: "_Sql", cursor: "_Cursor") -> list[RowT]:
        """Read every row of a cursor."""
        try:
            rows = cursor.fetchall()
        except conn.dialect.loaded_dbapi.Error as error:
            raise _wrapped(conn, sql.text, error) from error
        return list(map(self._to_row, map(sql.converted, rows) if sql.outward else rows))

    def read_first(self, conn: sa.Connection, sql: "_Sql", cursor: "_Cursor") -> RowT | None:
        """Read the first row of a cursor."""
        try:
            values = cursor.fetchone()
        except conn.dialect.loaded_dbapi.Error as error:
            raise _wrapped(conn, sql.text, error) from error
        if values is None:
            return None
        return self._to_row(sql.converted(values) if sql.outward else values)


class Answer(Generic[RowT]):
    """The rows of a statement that was sent, to be read once."""

    __slots__ = ("_conn", "_cursor", "_select", "_sql")

    def __init__(
        self, select: PreparedSelect[RowT], conn: sa.Connection, sql: "_Sql", cursor: "_Cursor"
    ) -> None:
        """Take the statement, and the cursor that has its rows or gets them."""
        self._select = select
        self._conn = conn
        self._sql = sql
        self._cursor = cursor

    def one(self) -> RowT:
        """The first row. Raises `sa.exc.NoResultFound`."""
        row = self.first()
        if row is None:
            raise sa.exc.NoResultFound
        return row

    def first(self) -> RowT | None:
        """The first row, or `None`."""
        return self._select.read_first(self._conn, self._sql, self._cursor)

    def all(self) -> list[RowT]:
        """Every row."""
        return self._select.read_all(self._conn, self._sql, self._cursor)


class _Cursor(Protocol):
    """As far as it is used, a cursor of Python's database drivers (PEP 249)."""

    def fetchone(self) -> Sequence[object] | None: ...

    def fetchall(self) -> Sequence[Sequence[object]]: ...


class _Sql:
    """A statement in one dialect, for parameters of these names."""

    def __init__(self, statement: Statement, dialect: sa.Dialect, names: list[str]) -> None:
        # The base class that SQLAlchemy declares has neither parameters nor types.
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
        self.outward: list[tuple[int, Convert]] = []
        # What psycopg returns has the types of SQLAlchemy's columns already.
        if isinstance(statement, sa.Select) and dialect.name == "sqlite":
            self.outward = [
                (index, convert)
                for index, column in enumerate(statement.selected_columns)
                if (convert := column.type.dialect_impl(dialect).result_processor(dialect, None))
            ]

    def driver_params(self, params: Params) -> Params | list[object]:
        """The parameters as the driver takes them."""
        if self._constants or self._inward:
            params = converted = {**self._constants, **params}
            for name, convert in self._inward:
                converted[name] = convert(converted[name])
        return params if self._order is None else [params[name] for name in self._order]

    def converted(self, values: Sequence[object]) -> list[object]:
        """A row of the driver with the values of SQLAlchemy's types."""
        converted = list(values)
        for index, convert in self.outward:
            converted[index] = convert(converted[index])
        return converted


def _wrapped(conn: sa.Connection, sql: str, error: Exception) -> sa.exc.DBAPIError:
    """A driver's error as SQLAlchemy's, without the values, which are private."""
    base = conn.dialect.loaded_dbapi.Error
    wrapped: sa.exc.DBAPIError = sa.exc.DBAPIError.instance(  # type: ignore[assignment]  # of an error of the driver
        sql, None, error, base, dialect=conn.dialect
    )
    return wrapped


def pipelined(function: Callable[P, T]) -> Callable[P, T]:
    """Let PostgreSQL answer the prepared statements of a function of the store later.

    What is sent before a row is read is answered together. The error of a statement comes with a
    later one, with the commit, or in place of an exception of the function. It must read something:
    else a connection that has ended in the meantime looks like a commit without an answer.
    """
    PIPELINED.add(function)
    return function


PIPELINED: set[Callable[..., Any]] = set()

PIPELINE = "pipeline"
"""The key of a connection's pipeline in its `info`."""

PREPARED = "prepared"
"""The key of what a connection has prepared, unless it can keep nothing."""

READ_COMMITTED = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@contextmanager
def pipeline(
    conn: sa.Connection, *, waits: bool = False, begin: str = READ_COMMITTED
) -> Iterator[None]:
    """A transaction whose prepared statements PostgreSQL gets through libpq; SQLite has none.

    It ends with the first statement that SQLAlchemy runs: see `leave_pipeline`.

    Args:
        conn: The connection.
        waits: Whether each statement is waited for.
        begin: The statement that begins the transaction.

    """
    if conn.dialect.name != "postgresql":
        yield
        return
    # An extra, which is there by now.
    from chatkeep.store.pipeline import Pipeline

    # Of a connection that is lost, it cannot be read any more.
    info = conn.info
    # SQLAlchemy does not know the type of the driver's connection.
    driver: Any = conn.connection.driver_connection
    info[PIPELINE] = entered = Pipeline(driver, info.get(PREPARED), begin, waits=waits)
    try:
        yield
    finally:
        info.pop(PIPELINE, None)
        with _sqlalchemys_errors(conn):
            entered.leave()


def leave_pipeline(conn: sa.Connection) -> None:
    """Wait for every answer, and run each statement by itself from now on."""
    left: Pipeline | None = conn.info.pop(PIPELINE, None)
    if left is not None:
        with _sqlalchemys_errors(conn):
            left.leave()


def commit_pipeline(conn: sa.Connection) -> None:
    """Commit with the statements that are not answered yet; nothing where all of them are."""
    left: Pipeline | None = conn.info.pop(PIPELINE, None)
    if left is not None:
        with _sqlalchemys_errors(conn):
            left.commit()


@contextmanager
def _sqlalchemys_errors(conn: sa.Connection) -> Iterator[None]:
    try:
        yield
    except conn.dialect.loaded_dbapi.Error as error:
        raise _wrapped(conn, "", error) from error


@functools.cache
def _libpq() -> sa.Dialect:
    """PostgreSQL's dialect, with the parameters that the server itself knows: `$1`, `$2`, …."""
    from sqlalchemy.dialects.postgresql import psycopg

    dialect: sa.Dialect = psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # it has no types
    return dialect


PASSING = frozenset(
    {
        "uq_turns_tenant_id_idempotency_key",
        "uq_sessions_tenant_id_session_id",
        "uq_sessions_search_key",
        "uq_messages_search_key",
        "pk_tenants",
    }
)
"""Constraints that two transactions may violate at once; run again, the second sees the first."""


def is_passing(error: sa.exc.DBAPIError) -> bool:
    """True if PostgreSQL has refused what only another transaction at the same time made wrong."""
    reason: Any = error.orig
    constraint = getattr(getattr(reason, "diag", None), "constraint_name", None)
    return constraint in PASSING


def _check_columns(statement: sa.Select[Any], row_type: type[tuple[Any, ...]]) -> None:
    columns, names = statement.selected_columns.keys(), list(row_type.__annotations__)
    if columns != names:
        raise TypeError(f"{row_type.__name__} has {names}, not {columns}")


def _constructor(row_type: type[RowT]) -> Callable[[Iterable[object]], RowT]:
    """What makes a row of its values; `_make` of a named tuple does the same, more slowly."""
    return functools.partial(tuple.__new__, row_type)
