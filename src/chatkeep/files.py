"""Files that replace another only when they are complete, and are on disk then."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """A context whose value is an empty file that replaces `path` when the block ends.

    After an exception the new file is removed, and `path` is unchanged. Only its owner can read
    the new file, unless it replaces one: then that file's owner and mode stay. If `path` is a
    symbolic link its target is replaced. Raises `OSError`.
    """
    # Renaming is atomic within one file system, and would replace a link itself.
    target = Path(os.path.realpath(path))
    number, name = tempfile.mkstemp(prefix=".chatkeep-", suffix=".partial", dir=target.parent)
    os.close(number)
    partial = Path(name)
    try:
        yield partial
        if target.exists():
            before = target.stat()
            # A user that may not give the file to that owner has a private one.
            with contextlib.suppress(PermissionError):
                os.chown(partial, before.st_uid, before.st_gid)
                partial.chmod(before.st_mode & 0o7777)
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Write a file, or the names in a folder, to disk (fsync). Raises `OSError`."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def is_stream(path: Path) -> bool:
    """True for a device, a pipe or a descriptor, which must be written to and never replaced.

    `/dev/stdout` may lead to a regular file, to which several programs append.
    """
    folder = os.path.realpath(path.parent)
    is_descriptor = folder in {"/dev", "/dev/fd"} or folder.startswith("/proc/")
    return path.exists() and (is_descriptor or not path.is_file())
