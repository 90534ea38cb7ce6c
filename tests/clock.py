"""A Chatkeep whose time of day is what a file says: `python -m tests.clock FILE serve …`."""

import sys
import time
from pathlib import Path

from chatkeep import cli

if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    time.time_ns = lambda: int(file.read_text()) * 1_000_000_000
    cli.main()
