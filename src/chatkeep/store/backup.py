"""A database as a file: copied while it is used, checked, restored.

Plain SQLite, because it works on files that no `Store` has opened.
"""

import contextlib
import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatkeep import files
from chatkeep.domain.errors import ChatError
from chatkeep.domain.times import now
from chatkeep.store import database_files, migrations
from chatkeep.store.lock import claim

STEPS = 100_000
"""Steps of SQLite's virtual machine, a few milliseconds, after which Python may react to Ctrl-C."""


class NoBackup(Exception):
    """Raised for a file that cannot be copied, checked or restored; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a database that is whole.

    Attributes:
        sessions: How many there are.
        messages: Of all of them.
        bytes: Its size, with its write-ahead log.
        keys: How many hold; `None` if there was never one, so that nobody needs one.

    """

    sessions: int
    messages: int
    bytes: int
    keys: int | None


def copy(source: Path, target: Path) -> Contents:
    """Copy a database as it is now, even while a server writes to it, and check the copy.

    The copy appears under its name when it is whole and on disk.

    Args:
        source: The database.
        target: The copy; a file that is there is replaced.

    Raises:
        NoBackup: There is no copy, and `target` is as it was.

    """
    if not source.is_file():
        raise NoBackup(f"There is no database at {source}.")
    _check_target(target, source)
    with _replacement(target) as partial:
        if target.exists():
            # An older copy's mode stays, and a copy holds private conversations.
            target.chmod(database_files.PRIVATE)
        _copy(source, partial, "rw")
        return check(partial)


def check(path: Path) -> Contents:
    """Read a whole database. Raises `NoBackup` if it is damaged, newer, or not Chatkeep's."""
    try:
        with contextlib.closing(_connect(path, "ro")) as conn:
            if problems := conn.execute("PRAGMA integrity_check(3)").fetchall():
                result = "; ".join(str(row[0]) for row in problems)
                if result != "ok":
                    raise NoBackup(f"{path} is damaged: {result}.")
            if conn.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise NoBackup(f"{path} is damaged: a row refers to one that is missing.")
            version = conn.execute("SELECT version_num FROM alembic_version").fetchone()
            sessions = conn.execute(
                "SELECT count(*) FROM sessions WHERE tenant_id <> '(hidden)'"
            ).fetchone()[0]
            messages = conn.execute("SELECT count(*) FROM messages").fetchone()[0]
            keys = _count_keys(conn)
    except sqlite3.Error as error:
        _stop_if_interrupted(error)
        raise NoBackup(f"{path} is not a Chatkeep database: {error}.") from None
    if version is None or not migrations.is_known(version[0]):
        raise NoBackup(f"{path} was made by a newer version of Chatkeep.")
    wal = Path(f"{path}-wal")
    size = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    return Contents(sessions, messages, size, keys)


def _count_keys(conn: sqlite3.Connection) -> int | None:
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchone() is None:
        return None  # made before there were any
    holds = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
    made, hold = conn.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {holds}) FROM keys",  # noqa: S608 - constants
        (now(),),
    ).fetchone()
    return hold if made else None


def restore(source: Path, target: Path) -> tuple[Contents, Path | None]:
    """Replace a database with a copy; at any moment a whole database has its name.

    Args:
        source: The copy, which stays.
        target: The database.

    Returns:
        What is in the database now, and the file that has the one before, if there was one.

    Raises:
        NoBackup: The copy is not whole, or a server holds the database.

    """
    check(source)
    target = Path(os.path.realpath(target))
    try:
        lock = claim(target)
    except ChatError as error:
        raise NoBackup(error.detail) from None
    with lock, _replacement(target) as partial:
        # With what is in a log beside it: it may be a copy of a whole folder.
        _copy(source, partial, "ro")
        contents = check(partial)
        before = _put_aside(target)
    return contents, before


def _copy(source: Path, target: Path, mode: str) -> None:
    """Copy a database into another file, and sync that."""
    try:
        with contextlib.closing(_connect(source, mode)) as conn:
            # One read transaction: what was committed before it began, and nothing later.
            conn.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        _stop_if_interrupted(error)
        raise NoBackup(f"{source} cannot be copied: {error}.") from None
    files.sync(target)


def _put_aside(path: Path) -> Path | None:
    """Give a database a second name, and copy its write-ahead log into it.

    Afterwards there is no log that SQLite would take for that of the next database of this name.

    Returns:
        The second name; `None` if there is no database.

    """
    before = _unused_name(path.with_name(f"{path.name}.before-{time.strftime('%Y%m%d-%H%M%S')}"))
    wal = Path(f"{path}-wal")
    if database_files.obstacle(path) is None and path.exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(path, "rw")) as conn:
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            conn.execute("PRAGMA journal_mode = DELETE")
    if wal.exists():
        # Damaged, which may be why it is replaced: its log is put aside under the name that fits.
        shutil.copyfile(wal, f"{before}-wal")
        Path(f"{before}-wal").chmod(database_files.PRIVATE)
    if path.is_file():
        path.chmod(database_files.PRIVATE)
        os.link(path, before)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return before if before.exists() else None


def _unused_name(path: Path) -> Path:
    """This name, or with a number if a restore in the same second has used it."""
    names = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(
        name
        for name in itertools.chain((path,), names)
        if not name.exists() and not Path(f"{name}-wal").exists()
    )


@contextlib.contextmanager
def _replacement(target: Path) -> Iterator[Path]:
    try:
        with files.replacement(target) as partial:
            yield partial
    except OSError as error:
        raise NoBackup(f"{target} cannot be written: {error.strerror}.") from None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    conn = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)
    # Python sees that Ctrl-C was pressed only when it runs something.
    conn.set_progress_handler(lambda: 0, STEPS)
    return conn


def _stop_if_interrupted(error: sqlite3.Error) -> None:
    """Raise a `KeyboardInterrupt` that the driver has turned into an error of SQLite."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        raise KeyboardInterrupt from None


def _check_target(target: Path, source: Path) -> None:
    """Raise `NoBackup` if a copy at this path would harm a database."""
    if target.exists() and not target.is_file():
        raise NoBackup(f"{target} is not a file.")
    names = [Path(f"{source}{suffix}") for suffix in ("", "-wal", "-shm", ".lock")]
    if target.exists() and any(name.exists() and target.samefile(name) for name in names):
        raise NoBackup(f"{target} belongs to the database itself.")
    # SQLite would take the log for the copy's own, and a program may be writing to the file.
    if (wal := Path(f"{os.path.realpath(target)}-wal")).exists():
        raise NoBackup(f"{wal} exists: {target} is in use, or was not closed. Choose another name.")
