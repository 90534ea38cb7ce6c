"""SQLite's threads: one that writes, with group commit, and several that read."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError, Overloaded, StoreUnavailable
from chatkeep.store import database_files, migrations
from chatkeep.store.database import IsDone, StoreFunction
from chatkeep.store.lock import Holder, claim, publish
from chatkeep.store.signals import Signals

logger = telemetry.logger("store")

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 128
"""How many writes share a commit at most."""

PRIMARY_CODE = 0xFF
"""The bits of SQLite's extended result codes that are the primary code."""

_DAMAGED = (
    "The database is damaged. `chatkeep doctor` says where; `chatkeep restore` replaces it "
    "with a backup."
)
_REASONS = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_FULL: "The disk is full: nothing can be stored until space is freed.",
}
"""What clients read of some errors; the program's log has the database's own words for all."""

BUSY_SECONDS = 30
"""How long a statement waits for another program's lock on the database."""

TRUSTED_SECONDS = 60
"""For how long after a write succeeded the next is expected to."""

TRIAL_BYTES = 32_768
"""How much a trial writes: more than the transactions of an ordinary turn."""


@dataclass(slots=True)
class _Write:
    # Each write of a batch has a result of its own type.
    work: Callable[[sa.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    truncates_wal: bool = False

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What an open store has to close again."""

    lock: IO[str]
    engine: sa.Engine
    connection: sa.Connection
    """The writer's own."""

    writer: threading.Thread
    readers: ThreadPoolExecutor


class SqliteStore:
    """A file: opened once, migrated, and held by one process at a time. See `Store`."""

    is_exclusive = True
    erases_files = True

    def __init__(self, url: str, *, readers: int, write_queue: int) -> None:
        """Describe a store; nothing on disk is touched before `open`.

        Args:
            url: `sqlite:///path`.
            readers: Threads that read, each with a connection of its own.
            write_queue: Writes that may wait for the writer; one more raises `Overloaded`.

        """
        self._url = url
        self.signals = Signals(None)
        self._reader_threads = readers
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._max_writes = write_queue
        # By the steady clock; `None` after a write that failed.
        self._written_at: float | None = None
        self._opened: _Opened | None = None

    def open(self) -> None:
        """Claim the database, create and migrate it where needed, and start its threads.

        It blocks, for seconds where rows are migrated. After a failure nothing is held.

        Raises:
            StoreUnavailable: Another process holds the database, it is newer than this program,
                or the file must not be opened (`database_files.obstacle`).

        """
        path = database_files.database_file(self._url)
        with contextlib.ExitStack() as after_failure:
            lock = after_failure.enter_context(claim(path))
            try:
                database_files.prepare(path)
                engine = _sqlite(path, self._reader_threads)
                after_failure.callback(engine.dispose)
                connection = after_failure.enter_context(engine.connect())
                migrations.upgrade(connection)
            except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
                reason = getattr(error, "orig", error)
                raise StoreUnavailable(f"The database cannot be opened: {reason}.") from error
            after_failure.pop_all()
        self._written_at = time.monotonic()
        readers = ThreadPoolExecutor(self._reader_threads, thread_name_prefix="store-reader")
        # A daemon, so that a server which fails to start can end; nobody waits for it then.
        writer = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._opened = _Opened(lock, engine, connection, writer, readers)
        writer.start()

    @property
    def is_open(self) -> bool:
        """True from the end of `open` to the end of `close`."""
        return self._opened is not None

    @property
    def _parts(self) -> _Opened:
        if self._opened is None:
            raise StoreUnavailable("The database is not open.")
        return self._opened

    def announce(self, address: str, secret: str) -> None:
        """Publish how this process is called, for a process that meets its lock on the database.

        Args:
            address: Where it listens.
            secret: What the command line of this account shows there.

        """
        publish(self._parts.lock, Holder(address, secret))

    async def write(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` in the writer's next transaction; return once that is on disk.

        An error of `work` undoes what it has written, and is raised here.

        Args:
            work: A function of the store; it runs on the writer's thread, never beside another.
            args: Its arguments after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.
            Overloaded: Too many writes wait.

        """
        loop = asyncio.get_running_loop()
        write = _Write(lambda conn: work(conn, *args, **kwargs), loop, loop.create_future())
        self._enqueue(write)
        result: T = await write.future
        return result

    async def write_once(
        self,
        work: StoreFunction[P, T],
        is_done: IsDone[T],  # noqa: ARG002  (the answer to a commit is never lost here)
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Write: no answer of a file is lost. See `Store.write_once`."""
        return await self.write(work, *args, **kwargs)

    async def read(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` on a reader's thread, in one snapshot of the database.

        Args:
            work: A function of the store that changes nothing.
            args: Its arguments after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.

        """
        opened = self._parts

        def run() -> T:
            with opened.engine.connect() as conn, conn.begin():
                return work(conn, *args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(opened.readers, run)
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            raise _unavailable(error) from error

    async def exchange(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write: there is nobody else to tell anything. See `Store.exchange`."""
        return await self.write(work, *args, **kwargs)

    async def exchange_once(
        self, work: StoreFunction[P, T], is_done: IsDone[T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write: there is nobody else to tell anything. See `Store.exchange_once`."""
        return await self.write_once(work, is_done, *args, **kwargs)

    async def renew(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write: nobody else looks for signs of life. See `Store.renew`."""
        return await self.write(work, *args, **kwargs)

    async def try_write(self) -> None:
        """Check that the database can be written to, unless a write succeeded a short time ago.

        Raises:
            StoreUnavailable: It cannot.

        """
        written_at = self._written_at
        if written_at is None or time.monotonic() - written_at > TRUSTED_SECONDS:
            await self.write(_trial)

    async def erase(self) -> bool:
        """Copy the write-ahead log into the file. True if the checkpoint emptied the log.

        False if another program reads from it, or the checkpoint failed.
        """
        loop = asyncio.get_running_loop()
        write = _Write(lambda _: None, loop, loop.create_future(), truncates_wal=True)
        self._enqueue(write)
        emptied: bool = await write.future
        return emptied

    def _enqueue(self, write: _Write) -> None:
        if self._opened is None:
            raise StoreUnavailable("The database is not open.")
        if self._writes.qsize() >= self._max_writes:
            raise Overloaded("Too many writes are waiting for the database.", retry_after=1)
        self._writes.put(write)

    def close(self) -> None:
        """Finish the writes that wait, copy the write-ahead log into the file, release the lock.

        It blocks; on a store that is not open it does nothing.
        """
        opened = self._opened
        if opened is None:
            return
        self._writes.put(None)
        opened.writer.join()
        opened.readers.shutdown()
        # On a full disk the log stays: it is part of the database.
        self._truncate_wal()
        opened.connection.close()
        opened.engine.dispose()
        opened.lock.close()
        self._opened = None

    def _write_all(self) -> None:
        while (first := self._writes.get()) is not None:
            batch, more = [first], True
            while more and len(batch) < BATCH and not self._writes.empty():
                following = self._writes.get()
                if following is None:
                    self._writes.put(None)
                    more = False
                else:
                    batch.append(following)
            self._commit(batch)
            if checkpoints := [write for write in batch if write.truncates_wal]:
                is_empty = self._truncate_wal()
                for write in checkpoints:
                    write.result = is_empty
            _settle_all(batch)

    def _truncate_wal(self) -> bool:
        """Checkpoint outside a transaction, without waiting for readers."""
        run = _driver(self._parts.connection).execute
        try:
            run("PRAGMA busy_timeout = 0")
            is_busy: int = run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not is_busy
        except Exception as error:  # noqa: BLE001  (the next checkpoint may succeed)
            logger.warning("log_not_emptied", error=str(error))
            return False
        finally:
            run(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1_000}")

    def _commit(self, batch: list[_Write]) -> None:
        """One transaction for all: each write in a savepoint, one sync at the end."""
        conn = self._parts.connection
        driver = _driver(conn)
        run = driver.execute
        changes = driver.total_changes
        try:
            run("BEGIN IMMEDIATE")
            try:
                for write in batch:
                    # Alone in its transaction a write needs no savepoint of its own.
                    if len(batch) == 1:
                        write.result = write.work(conn)
                    else:
                        _within_savepoint(write, conn, run)
                run("COMMIT")
                # A transaction that changed nothing does not write to the disk.
                if driver.total_changes != changes:
                    self._written_at = time.monotonic()
            except BaseException:
                # Some failures, such as a full disk, have done so already.
                if driver.in_transaction:
                    run("ROLLBACK")
                raise
        except Exception as error:  # noqa: BLE001  (each caller of `write` gets it)
            for write in batch:
                write.error = write.error or error
        finally:
            # SQLAlchemy has a transaction of its own where a write let it run something.
            conn.rollback()
        for write in batch:
            if isinstance(write.error, sa.exc.DBAPIError | sqlite3.Error):
                self._written_at = None
                write.error = _unavailable(write.error)


def _trial(conn: sa.Connection) -> None:
    """Write pages that are free again at once, and overwritten. No reader ever sees the table."""
    conn.exec_driver_sql("CREATE TABLE trial (bytes BLOB NOT NULL)")
    conn.exec_driver_sql("INSERT INTO trial VALUES (zeroblob(?))", (TRIAL_BYTES,))
    conn.exec_driver_sql("DROP TABLE trial")


def _driver(conn: sa.Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", conn.connection.driver_connection)


def _within_savepoint(write: _Write, conn: sa.Connection, run: Callable[[str], object]) -> None:
    run("SAVEPOINT one_of_many")
    try:
        write.result = write.work(conn)
    except Exception as error:  # noqa: BLE001  (the caller of `write` gets it)
        write.error = error
        run("ROLLBACK TO one_of_many")
    run("RELEASE one_of_many")


def _settle_all(batch: list[_Write]) -> None:
    """Settle the futures of writes that are on disk, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write]] = {}
    for write in batch:
        by_loop.setdefault(write.loop, []).append(write)
    for loop, writes in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, writes)
        except RuntimeError:
            logger.warning("loop_closed_before_its_writes", writes=len(writes))


def _settle(writes: list[_Write]) -> None:
    for write in writes:
        write.settle()


def _unavailable(error: sa.exc.DBAPIError | sqlite3.Error) -> ChatError:
    statement = getattr(error, "statement", None)
    reason = getattr(error, "orig", error)
    logger.error("database_failed", error=str(reason), statement=statement)
    code = getattr(reason, "sqlite_errorcode", 0) & PRIMARY_CODE
    return StoreUnavailable(_REASONS.get(code), retry_after=1)


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _sqlite(path: Path, readers: int) -> sa.Engine:
    """An engine whose connections sync fully, check foreign keys, and begin when we say so."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=readers + 1,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN comes too late to cover reads and DDL.
        dbapi_connection.isolation_level = None
        # SQLite's own knows the case of A to Z alone.
        dbapi_connection.create_function("lower", 1, _lower, deterministic=True)
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        # What is deleted is overwritten.
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(conn: sa.Connection) -> None:
        # The writer has begun by itself.
        driver = _driver(conn)
        if not driver.in_transaction:
            driver.execute("BEGIN")

    return engine
