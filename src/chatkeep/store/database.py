"""What runs the functions of the store, whatever the database is.

Every function of the store is synchronous and takes `conn` first, so that several compose into one
transaction. Where they run, and when what they have written is on disk, is decided here.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from chatkeep.store.signals import Signals

P = ParamSpec("P")
T = TypeVar("T")
StoreFunction = Callable[Concatenate[sa.Connection, P], T]
IsDone = Callable[[sa.Connection, T], bool]


class Store(Protocol):
    """A database: opened once, and migrated."""

    signals: Signals
    """By which other processes at the database wake this one."""

    @property
    def is_exclusive(self) -> bool:
        """Whether no other process can have this database."""

    @property
    def erases_files(self) -> bool:
        """Whether `erase` can remove what is deleted from every file."""

    @property
    def is_open(self) -> bool:
        """True from the end of `open` to the end of `close`."""

    def open(self) -> None:
        """Connect, create and migrate the database where needed, and start its threads.

        It blocks, for seconds where rows are migrated. After a failure nothing is held.

        Raises:
            StoreUnavailable: It cannot be used; the detail says why.

        """

    def announce(self, address: str, secret: str) -> None:
        """Publish how this process is called, for whoever finds the database held by it.

        Args:
            address: Where it listens.
            secret: What the command line of this account shows there.

        """

    async def write(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` in a transaction; return once that is on disk.

        An error of `work` undoes what it has written, and is raised here.

        Args:
            work: A function of the store; it runs on another thread.
            args: Its arguments after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.
            Overloaded: Too many writes wait.

        """

    async def write_once(
        self, work: StoreFunction[P, T], is_done: IsDone[T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(conn, …)` as `write` does, and find out what happened if nobody says so.

        Where the connection is lost before the answer to the commit, `is_done` decides on another
        one: whether the first transaction took effect, or has to be run again. So `work` must make
        no ids of its own: a second run beside the first must violate a unique key.

        Args:
            work: A function of the store.
            is_done: Called as `is_done(conn, result)` with what `work` has returned.
            args: The arguments of `work` after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.
            Overloaded: Too many writes wait.

        """

    async def read(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` on another thread, in one snapshot of the database.

        Args:
            work: A function of the store that changes nothing.
            args: Its arguments after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.

        """

    async def exchange(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` in a transaction that waits for no other of this process.

        It is for short messages between processes, which a crash of the database may lose without
        harm: so nobody waits until they are on disk.

        Args:
            work: A function of the store; it runs on another thread, one after the other.
            args: Its arguments after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.

        """

    async def exchange_once(
        self, work: StoreFunction[P, T], is_done: IsDone[T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(conn, …)` as `exchange` does, once as `write_once` does.

        Args:
            work: A function of the store.
            is_done: Called as `is_done(conn, result)` with what `work` has returned.
            args: The arguments of `work` after `conn`.
            kwargs: The same by name.

        Raises:
            StoreUnavailable: The database failed, or is not open.

        """

    async def renew(self, work: StoreFunction[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(conn, …)` as `exchange` does, in a line of its own: what shows signs of life.

        Raises:
            StoreUnavailable: The database failed, did not answer soon, or is not open.

        """

    async def try_write(self) -> None:
        """Check that the database can be written to, unless a write succeeded a short time ago.

        Raises:
            StoreUnavailable: It cannot.

        """

    async def erase(self) -> bool:
        """Remove from the files what is deleted; true if none holds any of it."""

    def close(self) -> None:
        """Finish the writes that wait, and let go of the database.

        It blocks; on a store that is not open it does nothing.
        """
