"""What was entered at the prompt, stored for later runs."""

import contextlib
from pathlib import Path

import platformdirs
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from chatkeep.files import replacement

MAX_BYTES, SHORTENED_BYTES = 1_000_000, 500_000
"""A larger file is shortened at the next start, to its newest entries."""

_ENTRY = b"\n# "
"""How an entry begins in the file."""


def prompt_history(*, is_stored: bool) -> History:
    """Open the history of earlier runs, or one of this run if it is not stored.

    A file that cannot be used is no error: the history is then that of this run.
    """
    if not is_stored:
        return InMemoryHistory()
    path = Path(platformdirs.user_state_dir("chatkeep", appauthor=False)) / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        if not path.is_file():
            return InMemoryHistory()
        path.chmod(0o600)
        _shorten(path)
    except OSError:
        return InMemoryHistory()
    return _StoredHistory(path)


class _StoredHistory(FileHistory):
    """A history in a file. What cannot be written to it is still in the history of this run."""

    def store_string(self, string: str) -> None:
        """Add an entry to the file, if that is possible."""
        with contextlib.suppress(OSError, UnicodeError):
            super().store_string(string)


def _shorten(path: Path) -> None:
    if path.stat().st_size <= MAX_BYTES:
        return
    content = path.read_bytes()[-SHORTENED_BYTES:]
    begin = content.find(_ENTRY)
    with replacement(path) as shorter:
        shorter.write_bytes(content[begin:] if begin >= 0 else b"")
