"""Files of a conversation in a terminal: what goes into a message, and a session as a file."""

import itertools
import os
import re
from pathlib import Path

from chatkeep.cli.chat.api import Refused

LARGEST_BYTES = 1_000_000
"""More is not read; the server itself may take less."""

LONGEST_NAME = 80


def as_block(path: Path) -> str:
    """The text of a file as a fenced block below its name. Raises `Refused`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > LARGEST_BYTES:
        raise Refused(f"{path} is too large for a message.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Refused(f"{path} is not text in UTF-8.")
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
    stem = "-".join(re.findall(r"\w+", title))[:LONGEST_NAME] or "conversation"
    for number in itertools.count(1):
        path = Path(f"{stem}-{number}.md" if number > 1 else f"{stem}.md")
        try:
            save(content, path)
        except FileExistsError:
            continue
        break
    return path
