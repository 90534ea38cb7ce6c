"""A Chatkeep whose time of day is what a file says: `python -m tests.clock FILE serve …`."""

import sys
import time
from pathlib import Path

from chatkeep import cli


def set_clock(file: Path, seconds: int) -> None:
    """Let it be so many seconds after 1970, at once: a reader never meets half a number."""
    written = file.with_suffix(".new")
    written.write_text(str(seconds))
    written.replace(file)


if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    time.time_ns = lambda: int(file.read_text()) * 1_000_000_000
    cli.main()
