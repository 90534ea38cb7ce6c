"""Files that are sent in a message, and files that a session is saved to."""

import itertools
import os
import re
from pathlib import Path

from chatkeep.cli.errors import CommandError

MAX_BYTES = 1_000_000
"""Larger files are not sent. The server's own limit may be lower."""

MAX_NAME_CHARS = 80


def as_block(path: Path) -> str:
    """Read a text file as a fenced code block below its name. Raises `CommandError`."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise CommandError(f"{path} is too large for a message.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise CommandError(f"{path} is not text in UTF-8.")
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    ending = "" if text.endswith("\n") or not text else "\n"
    return f"{path.name}\n{fence}{path.suffix.removeprefix('.')}\n{text}{ending}{fence}"


def save(content: bytes, path: Path) -> None:
    """Write a new file that only its owner can read. Raises `FileExistsError` and `OSError`."""
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def save_as(title: str, content: bytes) -> Path:
    """Write a new Markdown file in the working directory, named by a title. Raises `OSError`."""
    stem = "-".join(re.findall(r"\w+", title))[:MAX_NAME_CHARS] or "conversation"
    for number in itertools.count(1):
        path = Path(f"{stem}-{number}.md" if number > 1 else f"{stem}.md")
        try:
            save(content, path)
        except FileExistsError:
            continue
        break
    return path
