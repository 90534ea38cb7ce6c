"""The file beside a database that says which process holds it, and where that process answers."""

import fcntl
import os
from pathlib import Path
from typing import IO

from chatkeep.domain.errors import StoreUnavailable
from chatkeep.store.database_files import PRIVATE, WRITABLE_BY_OTHERS


def claim(path: Path) -> IO[str]:
    """Hold the database for this process alone, until the returned file is closed.

    `path` is the one that `database_files.database_file` returns. Raises `StoreUnavailable`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Not through a link: what it says would overwrite another file.
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


def address_of_holder(path: Path) -> str | None:
    """Where the process that holds a database answers; `None` if none holds it.

    Empty while it does not say, and where others than the lock's owner could have written it.
    Raises `StoreUnavailable` if this user may not read it.
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
            return lock.read().strip() if is_private else ""
    return None
