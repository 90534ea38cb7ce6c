"""What a PostgreSQL server is like, as far as Chatkeep depends on it. Everything is only read."""

from enum import StrEnum
from typing import NamedTuple
from uuid import uuid4

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.domain.times import now
from chatkeep.store import migrations
from chatkeep.store.postgres import (
    IDLE_IN_TRANSACTION_SECONDS,
    LOCK_SECONDS,
    OLDEST_VERSION,
    single_connection,
)
from chatkeep.store.signals import ARRIVAL_SECONDS
from chatkeep.store.tables import HIDDEN, keys, leases, messages, sessions

REQUESTED = {
    "lock_timeout": LOCK_SECONDS * 1_000,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS * 1_000,
}
"""Options of our connections, in milliseconds."""


class Schema(StrEnum):
    """What a start of this program does with the schema of a database."""

    USABLE = "usable"
    MISSING = "missing"
    """It is made."""

    OLDER = "older"
    """It is migrated."""

    TOO_NEW = "too new"
    """The program does not start."""


class Contents(NamedTuple):
    """What is in a database; `keys` as in `backup.Contents`."""

    sessions: int
    messages: int
    keys: int | None


class ServerState(NamedTuple):
    """A server as one connection sees it.

    Attributes:
        version: As people write it.
        is_supported: Whether it is new enough.
        encoding: The database's.
        is_read_only: Whether it is a standby, or refuses to write for another reason.
        synchronous_commit: The setting of our connections.
        standbys: How many servers receive the log.
        synchronous_standbys: For how many of these a commit waits; `None` if that may not be seen.
        ignored_options: Options of our connections that have another value.
        max_connections: How many there may be, without those for administrators.
        connections: How many there are, this one included.
        schema: What it has of ours.
        contents: `None` unless the schema is usable.

    """

    version: str
    is_supported: bool
    encoding: str
    is_read_only: bool
    synchronous_commit: str
    standbys: int
    synchronous_standbys: int | None
    ignored_options: tuple[str, ...]
    max_connections: int
    connections: int
    schema: Schema
    contents: Contents | None


def inspect(url: str) -> ServerState:
    """Connect as the store does, and look at the server. Raises `StoreUnavailable`."""
    with single_connection(url) as conn:
        schema = _schema(conn)
        is_sync = ("sync", "quorum")
        standbys = conn.execute(_STANDBYS).scalars().all()
        return ServerState(
            version=_show(conn, "server_version").split()[0],
            is_supported=int(_show(conn, "server_version_num")) >= OLDEST_VERSION,
            encoding=_show(conn, "server_encoding"),
            is_read_only=_show(conn, "transaction_read_only") == "on",
            synchronous_commit=_show(conn, "synchronous_commit"),
            standbys=len(standbys),
            synchronous_standbys=None
            if None in standbys
            else sum(state in is_sync for state in standbys),
            ignored_options=_ignored_options(conn),
            max_connections=int(_show(conn, "max_connections"))
            - int(_show(conn, "superuser_reserved_connections")),
            connections=conn.execute(_CONNECTIONS).scalar_one(),
            schema=schema,
            contents=contents(conn) if schema is Schema.USABLE else None,
        )


def receives_signals(listen_url: str, url: str) -> bool:
    """True if what is signalled at `url` arrives at `listen_url`. Raises `StoreUnavailable`."""
    channel = f"chatkeep_{uuid4().hex}"
    with single_connection(listen_url) as listener, single_connection(url) as notifier:
        for conn in (listener, notifier):
            conn.execution_options(isolation_level="AUTOCOMMIT")
        listener.exec_driver_sql(f'LISTEN "{channel}"')
        notifier.exec_driver_sql(f'NOTIFY "{channel}"')
        # SQLAlchemy does not know the type of the driver's connection.
        driver = listener.connection.driver_connection
        if driver is None:
            raise StoreUnavailable
        return any(True for _ in driver.notifies(timeout=ARRIVAL_SECONDS, stop_after=1))


def beats(url: str) -> dict[str, int]:
    """How often each process has renewed its lease: of two looks, it tells who is alive."""
    with single_connection(url) as conn:
        return {row.owner: row.beat for row in conn.execute(sa.select(leases))}


def contents(conn: sa.Connection) -> Contents:
    """Count what is in a database with a usable schema."""
    holds = keys.c.revoked_at.is_(None) & sa.or_(
        keys.c.expires_at.is_(None), keys.c.expires_at > now()
    )
    count = sa.func.count()
    made, hold = conn.execute(sa.select(count, count.filter(holds)).select_from(keys)).one()
    visible = sa.select(count).select_from(sessions).where(sessions.c.tenant_id != HIDDEN)
    return Contents(
        conn.execute(visible).scalar_one(),
        conn.execute(sa.select(count).select_from(messages)).scalar_one(),
        hold if made else None,
    )


def _show(conn: sa.Connection, name: str) -> str:
    value: str = conn.exec_driver_sql(f"SHOW {name}").scalar_one()
    return value


def _ignored_options(conn: sa.Connection) -> tuple[str, ...]:
    rows = conn.execute(_OPTIONS, {"names": list(REQUESTED)})
    actual = {name: int(setting) for name, setting in rows}
    return tuple(name for name, value in REQUESTED.items() if actual[name] != value)


def _schema(conn: sa.Connection) -> Schema:
    if migrations.is_usable(conn):
        return Schema.USABLE
    revision = MigrationContext.configure(conn).get_current_revision()
    if revision is None:
        return Schema.MISSING
    return Schema.OLDER if migrations.is_known(revision) else Schema.TOO_NEW


# A base backup receives the log too. Who is no monitor sees that there are rows, and nothing else.
_STANDBYS = sa.text(
    "SELECT sync_state FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'"
)
_CONNECTIONS = sa.text("SELECT CAST(sum(numbackends) AS integer) FROM pg_stat_database")
_OPTIONS = sa.text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
