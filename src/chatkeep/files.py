"""Files that appear under their name when they are whole, and not before."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Make an empty file beside `path` that takes its place, on disk, when the block ends well.

    Only its owner can read it, unless a file is replaced: that one's owner and mode stay. Of a
    symbolic link the target is replaced. After an exception `path` is as it was, and the new file
    is gone. Raises `OSError`.
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
            # Who may not give the file away keeps it private.
            with contextlib.suppress(PermissionError):
                os.chown(partial, before.st_uid, before.st_gid)
                partial.chmod(before.st_mode & 0o7777)
        sync(partial)
        partial.replace(target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk. Raises `OSError`."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def is_stream(path: Path) -> bool:
    """True if what is written to `path` goes somewhere: to a device, a pipe or a descriptor.

    `/dev/stdout` may be a file, to whose end a shell lets several programs write.
    """
    folder = os.path.realpath(path.parent)
    is_descriptor = folder in {"/dev", "/dev/fd"} or folder.startswith("/proc/")
    return path.exists() and (is_descriptor or not path.is_file())
