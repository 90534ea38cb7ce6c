"""The file beside a database that says which process holds it, and where that process answers."""

import fcntl
from pathlib import Path
from typing import IO

from chatkeep.domain import StoreUnavailable


def claim(path: Path) -> IO[str]:
    """Hold the database for this process alone, until the returned file is closed.

    Raises `StoreUnavailable`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = Path(f"{path}.lock").open("a+")  # noqa: SIM115  (open as long as the store)
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

    Empty while it does not say.
    """
    lock = Path(f"{path}.lock")
    if not lock.exists():
        return None
    with lock.open() as held:
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return held.read().strip()
    return None
