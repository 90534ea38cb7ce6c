"""PostgreSQL's threads: each with a connection of its own, and transactions beside each other.

Every write locks its session's row first, so that what happens to one session happens in one order
(`rows.py`); reads see one snapshot. `psycopg` is an extra (`chatkeep[postgres]`).
"""

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError, Overloaded, StoreUnavailable
from chatkeep.store import migrations, prepared
from chatkeep.store.database import IsDone, StoreFunction
from chatkeep.store.signals import Signals

logger = telemetry.logger("store")

P = ParamSpec("P")
T = TypeVar("T")

NO_DRIVER = "PostgreSQL needs `pip install 'chatkeep[postgres]'`."

OLDEST_VERSION = 140_000
"""PostgreSQL 14, as `server_version_num` has it."""

CONFLICTS = 4
"""How often a transaction is run again that others have made impossible."""

PATIENCE_SECONDS = 10
"""For how long what needs the database waits for it to come back."""

RECONNECT_SECONDS = 0.1

UNIQUE_VIOLATION = "23505"
FEATURE_NOT_SUPPORTED = "0A000"
INVALID_STATEMENT_NAME = "26000"
DUPLICATE_STATEMENT = "42P05"
LOCK_NOT_AVAILABLE = "55P03"

MIGRATION_ATTEMPTS = 20
MIGRATION_PAUSE_SECONDS = 3
"""How often, and after which pauses, a migration is tried while others use its tables."""

LOST = {
    "25006",  # read_only_sql_transaction: it is no primary any more
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "53300",  # too_many_connections
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
    "57P05",  # idle_session_timeout
}
"""SQLSTATEs of connections that are of no use any more, beside those that begin with 08."""

AGAIN = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available
}
"""SQLSTATEs of transactions that may succeed when they are run once more."""

TRUSTED_SECONDS = 60
"""For how long after a write succeeded the next is expected to."""

CONNECT_SECONDS = 10
LOCK_SECONDS = 10
IDLE_IN_TRANSACTION_SECONDS = 5
"""How long a process that was paused may hold a lock that others wait for."""

UNANSWERED_SECONDS = 20
"""How long a network may swallow what is sent before its connection counts as lost."""

SHORT_SECONDS = 1
"""Each of these limits for messages between processes and signs of life: who waits longer for them
is taken for dead. The driver waits two seconds for a connection at least."""


class _Lane:
    """Threads with a connection each, for one kind of transactions."""

    def __init__(self, engine: sa.Engine, threads: int, name: str) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[[sa.Engine], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work, self.engine)
        except sa.exc.DBAPIError as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        self._threads.shutdown()
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class _Opened:
    requests: _Lane
    exchange: _Lane
    renewal: _Lane


class PostgresStore:
    """A database that other processes may have at the same time. See `Store`."""

    is_exclusive = False
    erases_files = False

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        write_queue: int,
        listen_url: str = "",
        prepares: bool = True,
    ) -> None:
        """Describe a store; nothing is connected before `open`.

        Args:
            url: `postgresql://…`.
            connections: Threads, each with a connection.
            write_queue: Writes that may wait for one; one more raises `Overloaded`.
            listen_url: Where `LISTEN` works, if it does not at `url` because of a pooler.
            prepares: Whether connections keep prepared statements.

        """
        self._url = _psycopg(url)
        self.signals = Signals(_connection(_psycopg(listen_url or url), "signals"))
        self._connections = connections
        self._prepares = prepares
        self._max_writes = connections + write_queue
        self._writes = 0
        # By the steady clock; `None` after a write that failed.
        self._written_at: float | None = None
        self._opened: _Opened | None = None

    def open(self) -> None:
        """Connect, and bring the database to this program's schema. See `Store.open`."""
        if importlib.util.find_spec("psycopg") is None:
            raise StoreUnavailable(NO_DRIVER)
        try:
            _migrate(self._url)
        except sa.exc.DBAPIError as error:
            raise StoreUnavailable(f"The database cannot be opened: {_reason(error)}.") from error
        self._written_at = time.monotonic()
        self._opened = _Opened(
            requests=self._lane(self._connections, "store"),
            exchange=self._lane(1, "store-exchange", "exchange"),
            renewal=self._lane(1, "store-renewal", "renewal"),
        )

    def _lane(self, connections: int, threads: str, purpose: str = "") -> _Lane:
        engine = _engine(self._url, connections, purpose, prepares=self._prepares)
        return _Lane(engine, connections, threads)

    @property
    def is_open(self) -> bool:
        """True from the end of `open` to the end of `close`."""
        return self._opened is not None

    def announce(self, address: str, secret: str) -> None:
        """Do nothing: a command is one more process at the database."""

    async def write(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` in a transaction. See `Store.write`."""
        return await self._write(
            _Transaction(
                lambda conn: work(conn, *args, **kwargs),
                is_pipelined=work in prepared.PIPELINED,
            )
        )

    async def write_once(
        self, work: StoreFunction[P, T], is_done: IsDone[T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(conn, …)`, and find out about a lost commit. See `Store.write_once`."""
        return await self._write(
            _Transaction(
                lambda conn: work(conn, *args, **kwargs),
                is_done,
                is_pipelined=work in prepared.PIPELINED,
            )
        )

    async def _write(self, transaction: "_Transaction[T]") -> T:
        if self._writes >= self._max_writes:
            raise Overloaded("Too many writes are waiting for the database.", retry_after=1)
        self._writes += 1
        try:
            result = await self._parts.requests.run(transaction.run)
        except StoreUnavailable:
            self._written_at = None
            raise
        finally:
            self._writes -= 1
        self._written_at = time.monotonic()
        return result

    async def read(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` in one snapshot. See `Store.read`."""
        return await self._parts.requests.run(
            _Reading(
                lambda conn: work(conn, *args, **kwargs),
                is_pipelined=work in prepared.PIPELINED,
            ).run
        )

    async def exchange(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` where no turn waits for it. See `Store.exchange`."""
        transaction = _Transaction(lambda conn: work(conn, *args, **kwargs), patience=0)
        return await self._parts.exchange.run(transaction.run)

    async def exchange_once(
        self, work: StoreFunction[P, T], is_done: IsDone[T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(conn, …)` once where no turn waits for it. See `Store.exchange_once`."""
        transaction = _Transaction(lambda conn: work(conn, *args, **kwargs), is_done)
        return await self._parts.exchange.run(transaction.run)

    async def renew(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` where nothing else waits for it. See `Store.renew`."""
        transaction = _Transaction(lambda conn: work(conn, *args, **kwargs), patience=0)
        return await self._parts.renewal.run(transaction.run)

    async def try_write(self) -> None:
        """Check that the database can be written to. See `Store.try_write`."""
        written_at = self._written_at
        if written_at is None or time.monotonic() - written_at > TRUSTED_SECONDS:
            await self.write(_trial)

    async def erase(self) -> bool:
        """Return false: only the database's administrator can empty its files."""
        return False

    def close(self) -> None:
        """Finish the transactions that run, and disconnect. See `Store.close`."""
        opened = self._opened
        if opened is None:
            return
        for lane in (opened.requests, opened.exchange, opened.renewal):
            lane.close()
        self._opened = None

    @property
    def _parts(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable("The database is not open.")
        return self._opened


class _Attempts:
    """How often, and for how long, something is tried that the database does not do."""

    def __init__(self, patience: float) -> None:
        self._deadline = time.monotonic() + patience
        self._conflicts = 0

    def after_loss(self, error: sa.exc.DBAPIError, pause: float = RECONNECT_SECONDS) -> None:
        """Return when another connection may be tried; raise the error once that is in vain."""
        if time.monotonic() >= self._deadline:
            raise error
        time.sleep(pause)

    def after_conflict(self, error: sa.exc.DBAPIError) -> None:
        """Return if the next run may succeed, else raise the error."""
        self._conflicts += 1
        if self._conflicts > CONFLICTS:
            raise error


class _Reading(Generic[T]):
    """A transaction that changes nothing, and is run again where its connection is lost."""

    def __init__(self, work: Callable[[sa.Connection], T], *, is_pipelined: bool) -> None:
        self._work = work
        self._is_pipelined = is_pipelined
        self._attempts = _Attempts(PATIENCE_SECONDS)

    def run(self, engine: sa.Engine) -> T:
        snapshot = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        while True:
            try:
                with (
                    snapshot.connect() as conn,
                    _closing(conn),
                    conn.begin(),
                    prepared.pipeline(conn, waits=not self._is_pipelined, begin=prepared.SNAPSHOT),
                ):
                    result = self._work(conn)
                    prepared.commit_pipeline(conn)
                    return result
            except sa.exc.DBAPIError as error:
                if not _is_lost(error) and not _is_stale(error):
                    raise
                self._attempts.after_loss(error, 0 if _is_stale(error) else RECONNECT_SECONDS)


class _Transaction(Generic[T]):
    """A transaction that is run until it is known to be committed, or known to be impossible.

    Without `is_done`, one whose commit was sent and not answered is an error.
    """

    def __init__(
        self,
        work: Callable[[sa.Connection], T],
        is_done: IsDone[T] | None = None,
        *,
        is_pipelined: bool = False,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._work = work
        self._is_done = is_done
        self._is_pipelined = is_pipelined
        self._attempts = _Attempts(patience)
        self._is_committing = False
        # What the run has returned whose commit was not answered, and may yet take effect.
        self._unanswered: list[T] = []

    def run(self, engine: sa.Engine) -> T:
        while True:
            self._is_committing = False
            try:
                return self._run_once(engine)
            except sa.exc.DBAPIError as error:
                if _is_stale(error):
                    self._attempts.after_loss(error, 0)
                elif _is_lost(error):
                    if self._is_committing and self._is_done is None:
                        raise
                    self._attempts.after_loss(error)
                elif _is_conflict(error) or (self._unanswered and _is_duplicate(error)):
                    self._attempts.after_conflict(error)
                else:
                    raise

    def _run_once(self, engine: sa.Engine) -> T:
        with engine.connect() as conn:
            if self._unanswered and (done := self._committed(conn)):
                return done[0]
            with (
                _closing(conn),
                conn.begin() as transaction,
                prepared.pipeline(conn, waits=not self._is_pipelined),
            ):
                result = self._work(conn)
                if result is None and (done := self._committed(conn)):
                    # The first run took effect in the meantime.
                    return done[0]
                self._commit(conn, transaction, result)
        return result

    def _commit(self, conn: sa.Connection, transaction: sa.RootTransaction, result: T) -> None:
        before = self._unanswered
        if self._is_done is not None:
            self._unanswered = [*before, result]
        self._is_committing = True
        try:
            prepared.commit_pipeline(conn)
            transaction.commit()
        except sa.exc.DBAPIError as error:
            if not _is_lost(error):
                # It was refused, and takes no effect.
                self._unanswered = before
            raise

    def _committed(self, conn: sa.Connection) -> list[T]:
        """What was returned by a run that has taken effect, if there is one."""
        is_done = self._is_done
        if is_done is None:
            return []
        with contextlib.nullcontext() if conn.in_transaction() else conn.begin():
            return [result for result in self._unanswered if is_done(conn, result)]


@contextlib.contextmanager
def _closing(conn: sa.Connection) -> Iterator[None]:
    """Close a connection that is lost, and end a transaction whose commit has failed.

    SQLAlchemy takes such a transaction for ended; and of statements that it does not run itself, it
    does not see that their connection is lost.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        driver: Any = None if conn.invalidated else conn.connection.driver_connection
        if driver is not None and (_is_lost(error) or _is_stale(error) or driver.broken):
            conn.invalidate()
        elif driver is not None:
            try:
                driver.rollback()
            except conn.dialect.loaded_dbapi.Error:
                conn.invalidate()
        raise


def _state(error: sa.exc.DBAPIError) -> str | None:
    """The SQLSTATE of an error; `None` if the server did not send one."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _is_lost(error: sa.exc.DBAPIError) -> bool:
    """True if the connection is gone, or was never made."""
    state = _state(error)
    if state is None:
        return isinstance(error, sa.exc.OperationalError)
    return state.startswith("08") or state in LOST


def _is_stale(error: sa.exc.DBAPIError) -> bool:
    """True if a connection's prepared statement is not there any more, or is of an older table."""
    reason: Any = error.orig
    state = _state(error)
    if state == FEATURE_NOT_SUPPORTED:
        return bool(reason.diag.source_function == "RevalidateCachedQuery")
    return state in {INVALID_STATEMENT_NAME, DUPLICATE_STATEMENT}


def _is_duplicate(error: sa.exc.DBAPIError) -> bool:
    return _state(error) == UNIQUE_VIOLATION


def _is_conflict(error: sa.exc.DBAPIError) -> bool:
    """True if another transaction was in the way, so that the next run may succeed."""
    return _state(error) in AGAIN or prepared.is_passing(error)


def _trial(conn: sa.Connection) -> None:
    """Do what takes a transaction of its own, and writes nothing that stays."""
    conn.exec_driver_sql("SELECT pg_current_xact_id()")


def _migrate(url: sa.URL) -> None:
    """Check the server, and bring its database to this program's schema.

    A table that is in use for a while is tried again: the processes that use it go on.
    """
    engine = _engine(url, 1)
    try:
        for attempt in range(1, MIGRATION_ATTEMPTS + 1):
            try:
                with engine.connect() as conn:
                    _check_server(conn)
                    migrations.upgrade(conn)
                return
            except sa.exc.DBAPIError as error:
                if _state(error) != LOCK_NOT_AVAILABLE or attempt == MIGRATION_ATTEMPTS:
                    raise
                time.sleep(MIGRATION_PAUSE_SECONDS)
    finally:
        engine.dispose()


def _check_server(conn: sa.Connection) -> None:
    version = int(conn.exec_driver_sql("SHOW server_version_num").scalar_one())
    encoding = conn.exec_driver_sql("SHOW server_encoding").scalar_one()
    conn.rollback()
    if version < OLDEST_VERSION:
        raise StoreUnavailable("PostgreSQL 14 or newer is needed.")
    if encoding != "UTF8":
        raise StoreUnavailable(f"The database's encoding must be UTF8, not {encoding}.")


@contextlib.contextmanager
def single_connection(url: str) -> Iterator[sa.Connection]:
    """A connection with the options that those of the store have, for a command.

    Args:
        url: `postgresql://…`.

    Raises:
        StoreUnavailable: There is none, or a statement of the block failed; the detail says why,
            without what the server may quote.

    """
    if importlib.util.find_spec("psycopg") is None:
        raise StoreUnavailable(NO_DRIVER)
    engine = _engine(_psycopg(url), 1)
    try:
        with engine.connect() as conn:
            yield conn
    except sa.exc.DBAPIError as error:
        raise StoreUnavailable(f"{_reason(error)}.") from error
    finally:
        engine.dispose()


def libpq_parameters(url: str) -> dict[str, Any]:
    """The parameters by which every program of PostgreSQL's finds a database, with its password."""
    return _address(_psycopg(url))


def _psycopg(url: str) -> sa.URL:
    """The URL for SQLAlchemy, which has no short form of the scheme."""
    url = url.replace("postgres://", "postgresql://", 1)
    try:
        return sa.make_url(url).set(drivername="postgresql+psycopg")
    except (ValueError, sa.exc.ArgumentError):
        # Their text may repeat a password.
        raise StoreUnavailable("The URL of the database cannot be read.") from None


def _connection(url: sa.URL, purpose: str = "") -> dict[str, Any]:
    """The driver's parameters, with limits on what holds others up.

    Args:
        url: Where the database is.
        purpose: What the connection is for, if not for requests and turns: then it waits for
            nothing long, and not until what it writes is on disk.

    """
    lock, idle, unanswered = LOCK_SECONDS, IDLE_IN_TRANSACTION_SECONDS, UNANSWERED_SECONDS
    if purpose:
        lock = idle = unanswered = SHORT_SECONDS
    options = f"-c lock_timeout={lock}s -c idle_in_transaction_session_timeout={idle}s"
    if purpose:
        options += " -c synchronous_commit=off"
    limits = {
        "connect_timeout": 2 * SHORT_SECONDS if purpose else CONNECT_SECONDS,
        # By default it is the database's; of SQL_ASCII the driver returns bytes.
        "client_encoding": "UTF8",
        "keepalives_idle": max(1, unanswered // 2),
        "keepalives_interval": max(1, unanswered // 4),
        "keepalives_count": 2,
        "tcp_user_timeout": unanswered * 1_000,
        "application_name": f"chatkeep {purpose}".strip(),
        "options": options,
    }
    return limits | _address(url)


def _address(url: sa.URL) -> dict[str, Any]:
    where = url.translate_connect_args(database="dbname", username="user")
    return dict(url.query) | where


def _engine(
    url: sa.URL, connections: int, purpose: str = "", *, prepares: bool = True
) -> sa.Engine:
    engine = sa.create_engine(
        url.set(query={}),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        # Those that the driver prepares by itself, it forgets together with ours.
        connect_args=_connection(url, purpose) | {"prepare_threshold": None},
    )
    if prepares:
        sa.event.listen(
            engine, "connect", lambda _, record: record.info.update({prepared.PREPARED: set()})
        )
    sa.event.listen(engine, "before_cursor_execute", lambda conn, *_: prepared.leave_pipeline(conn))
    return engine


def _reason(error: sa.exc.DBAPIError) -> str:
    """What the server said, without its detail, which may quote what somebody has written."""
    reason: Any = error.orig
    primary = getattr(getattr(reason, "diag", None), "message_primary", None)
    return primary or str(reason).strip().split("\n", 1)[0]


def _unavailable(error: sa.exc.DBAPIError) -> ChatError:
    reason: Any = error.orig
    state = getattr(reason, "sqlstate", None)
    logger.error("database_failed", error=_reason(error), sqlstate=state, statement=error.statement)
    return StoreUnavailable(retry_after=1)
