"""The files of a database: their one path, their modes, and what must not be opened.

SQLite names the write-ahead log by the path that it opens, and so does `store.lock` the lock. One
file under two names would have two logs and two locks, which destroys it: "Multiple links to the
same file", https://www.sqlite.org/howtocorrupt.html
"""

import contextlib
import glob
import os
import sqlite3
import stat
from pathlib import Path

from chatkeep import telemetry
from chatkeep.domain.errors import StoreUnavailable

logger = telemetry.logger("store")

PRIVATE = 0o600
"""The mode of every file with conversations in it."""

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def database_file(url: str) -> Path:
    """The file of a `sqlite:///path` URL, the same whichever way the path is spelt or linked."""
    return Path(os.path.realpath(url.removeprefix("sqlite:///")))


def prepare(path: Path) -> None:
    """Create a database's file if there is none, and make it private.

    The caller holds the lock. Raises `StoreUnavailable` for a file that must not be opened.
    """
    _finish_restore(path)
    if reason := obstacle(path):
        raise StoreUnavailable(reason)
    if not path.exists():
        _create(path)
        logger.info("database_created", file=str(path))
    _protect(path)


def obstacle(path: Path) -> str | None:
    """Why a database must not be opened or created at this path, for people; `None` if it may."""
    wal = Path(f"{path}-wal")
    if not path.exists():
        if wal.exists() and wal.stat().st_size:
            return (
                f"{path} is gone, and its newest messages may be in {wal.name}. Put the file back "
                "or restore a backup; to start over, delete both."
            )
        return None
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a file."
    if not status.st_size:
        return (
            f"{path} is empty, and Chatkeep never leaves it empty. Restore a backup; "
            f"to start over, delete it and {wal.name}."
        )
    if status.st_nlink > 1:
        return (
            f"{path} is a file with {status.st_nlink} names (hard links). Using it "
            "through two of them would destroy it: delete the others."
        )
    return None


def exposed(path: Path) -> list[Path]:
    """The files of a database that others than their owner may read or write."""
    names = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm", ".lock")]
    modes = [(name, name.lstat().st_mode) for name in names if os.path.lexists(name)]
    return [name for name, mode in modes if stat.S_ISREG(mode) and mode & FOR_OTHERS]


def is_writable_by_others(path: Path) -> bool:
    """True if others than its owner can write to a file, or create files in a folder."""
    return bool(path.stat().st_mode & WRITABLE_BY_OTHERS)


def _create(path: Path) -> None:
    """Create a database without tables under a temporary name, then rename it.

    An empty file is therefore never one that a start has left.
    """
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    with contextlib.closing(sqlite3.connect(partial)) as conn:
        # Without a journal beside it, whose name would not fit afterwards.
        conn.execute("PRAGMA journal_mode = MEMORY")
        conn.execute("PRAGMA user_version = 0")
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _protect(path: Path) -> None:
    """Make a database's files private, or warn where that is not possible.

    The folder stays as it is: somebody chose it, and it may be shared for a reason.
    """
    for file in exposed(path):
        try:
            file.chmod(PRIVATE)
        except OSError:
            logger.warning("file_open_to_others", file=str(file))
        else:
            logger.warning("file_mode_repaired", file=str(file))
    if is_writable_by_others(path.parent):
        logger.warning("folder_open_to_others", folder=str(path.parent))


def _finish_restore(path: Path) -> None:
    """Remove the second name that a restore which was killed has given to a database."""
    if path.exists() and path.stat().st_nlink > 1:
        for other in path.parent.glob(f"{glob.escape(path.name)}.before-*"):
            if other.samefile(path):
                other.unlink()
