"""What a person has entered at the prompt, kept from one run to the next."""

import contextlib
from pathlib import Path

import platformdirs
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from chatkeep.files import replacement

LARGEST_BYTES, SHORTENED_BYTES = 1_000_000, 500_000
"""A larger file is shortened at the next start, to its newest entries."""

_ENTRY = b"\n# "
"""How an entry begins in the file."""


def entered(*, is_stored: bool) -> History:
    """What was entered in earlier runs too; only in this run if the file cannot be used."""
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
    """A history in a file; what cannot be written there is still there for this run."""

    def store_string(self, string: str) -> None:
        """Add an entry to the file."""
        with contextlib.suppress(OSError, UnicodeError):
            super().store_string(string)


def _shorten(path: Path) -> None:
    if path.stat().st_size <= LARGEST_BYTES:
        return
    content = path.read_bytes()[-SHORTENED_BYTES:]
    begin = content.find(_ENTRY)
    with replacement(path) as shorter:
        shorter.write_bytes(content[begin:] if begin >= 0 else b"")
