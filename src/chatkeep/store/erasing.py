"""Removes what is deleted from the files of PostgreSQL, as far as the database can.

`DELETE` leaves rows where they are, and a GIN index never removes a word. `VACUUM FULL` writes each
table and all of its indexes anew. The write-ahead log, its archive, standbys and backups have what
is deleted until their own retention ends.
"""

import time
from collections.abc import Iterator

import sqlalchemy as sa

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store.postgres import LOCK_SECONDS, single_connection
from chatkeep.store.tables import metadata

OWN_TABLES = ("search", "followers", "stream_chunks", "events", "event_counters")
"""Those of PostgreSQL alone."""

TABLES = (*(table.name for table in metadata.sorted_tables), *OWN_TABLES)

LOOK_SECONDS = 0.2


class NotErased(Exception):
    """Raised if some of what is deleted may still be in the tables; its text is the reason."""


def rewrite_tables(url: str) -> Iterator[str]:
    """Write every table anew, without what is deleted; yield the name of each before.

    Each is locked while it is written, and needs as much space once more.

    Args:
        url: `postgresql://…`; what is to be erased must be deleted and committed.

    Raises:
        NotErased: Another transaction sees what is deleted, or uses a table.

    """
    step = ""
    try:
        with single_connection(url) as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT")
            _wait_for_older(conn)
            existing = set(conn.execute(_EXISTING).scalars())
            for table in TABLES:
                if table in existing:
                    step = f"{table} cannot be written anew: "
                    yield table
                    conn.exec_driver_sql(f'VACUUM (FULL) "{table}"')
    except StoreUnavailable as error:
        raise NotErased(f"{step}{error.detail}") from error


def checkpoint(url: str) -> bool:
    """Write everything that is in memory into the files; false if the role may not ask for that."""
    try:
        with single_connection(url) as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT")
            conn.exec_driver_sql("CHECKPOINT")
    except StoreUnavailable:
        return False
    return True


def _wait_for_older(conn: sa.Connection) -> None:
    """Wait until no transaction sees what is deleted: a row that one sees is not left out."""
    newest = conn.execute(_NEWEST).scalar_one()
    deadline = time.monotonic() + LOCK_SECONDS
    while older := conn.execute(_OLDER, {"newest": newest}).scalars().all():
        if time.monotonic() > deadline:
            raise NotErased(
                f"What is deleted is still seen by {', '.join(older)}. End that, and try again."
            )
        time.sleep(LOOK_SECONDS)


_EXISTING = sa.text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
_NEWEST = sa.text("SELECT CAST(CAST(pg_current_xact_id() AS xid) AS text)")
_OLDER = sa.text(
    "SELECT 'process ' || pid FROM pg_stat_activity "
    "WHERE age(backend_xmin) > age(CAST(:newest AS xid)) AND pid <> pg_backend_pid() "
    "AND coalesce(datname, current_database()) = current_database() "
    "UNION ALL SELECT 'replication slot ' || slot_name FROM pg_replication_slots "
    "WHERE age(xmin) > age(CAST(:newest AS xid)) "
    "UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts "
    "WHERE age(transaction) > age(CAST(:newest AS xid))"
)
