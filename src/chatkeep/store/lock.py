"""The file beside a database by which one process holds it, and publishes how to call it."""

import fcntl
import os
from pathlib import Path
from typing import IO, NamedTuple

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store.database_files import PRIVATE, WRITABLE_BY_OTHERS


def claim(path: Path) -> IO[str]:
    """Claim a database for this process alone, until the returned file is closed.

    Args:
        path: The database, as `database_files.database_file` returns it.

    Raises:
        StoreUnavailable: Another process holds it, or its folder cannot be used.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Not through a link: the address would overwrite another file.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        # Open as long as the store.
        lock = os.fdopen(os.open(f"{path}.lock", flags, PRIVATE), "r+")
    except OSError as error:
        raise StoreUnavailable(f"The data folder cannot be used: {error}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StoreUnavailable(f"Another Chatkeep is using {path}.") from None
    lock.truncate(0)
    return lock


class Holder(NamedTuple):
    """The process that holds a database.

    Both are empty while it has not published them, and where others than the lock's owner could
    have written them.
    """

    address: str
    secret: str


def publish(lock: IO[str], holder: Holder) -> None:
    """Write into a lock how its process is called: who can read it can read the database too."""
    lock.write("\n".join(holder))
    lock.flush()


def find_holder(path: Path) -> Holder | None:
    """The process that holds a database; `None` if none holds it.

    Raises:
        StoreUnavailable: This user may not read the lock.

    """
    try:
        lock = Path(f"{path}.lock").open()  # noqa: SIM115  (closed below)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(f"The data folder cannot be used: {error}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            is_private = not os.fstat(lock.fileno()).st_mode & WRITABLE_BY_OTHERS
            lines = [*(lock.read().split("\n") if is_private else ()), "", ""]
            return Holder(*lines[:2])
    return None
