"""Which store a URL is."""

from chatkeep.store.database import Store
from chatkeep.store.postgres import PostgresStore
from chatkeep.store.sqlite import SqliteStore


def make_store(
    url: str,
    *,
    readers: int,
    write_queue: int,
    connections: int = 8,
    listen_url: str = "",
    prepares: bool = True,
) -> Store:
    """Describe the store of a URL; nothing is touched before `open`.

    Args:
        url: `sqlite:///path` or `postgresql://…`.
        readers: Threads that read from SQLite, beside the one that writes.
        write_queue: Writes that may wait; one more raises `Overloaded`.
        connections: Threads with a connection to PostgreSQL.
        listen_url: Where PostgreSQL's `LISTEN` works, if not at `url`.
        prepares: Whether connections to PostgreSQL keep prepared statements.

    """
    if url.startswith("sqlite:"):
        return SqliteStore(url, readers=readers, write_queue=write_queue)
    return PostgresStore(
        url,
        connections=connections,
        write_queue=write_queue,
        listen_url=listen_url,
        prepares=prepares,
    )
