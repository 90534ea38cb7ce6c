"""Files that are sent in a message, and files that a session is saved to."""

import itertools
import os
import re
from base64 import b64encode
from pathlib import Path

from chatkeep.cli.chat.steps import file_notes
from chatkeep.cli.client import Client
from chatkeep.cli.errors import CommandError
from chatkeep.domain import file_types
from chatkeep.domain.blocks import Blocks

MAX_TEXT_BYTES = 1_000_000
"""Longer text files are not sent. The server's own limit may be lower."""

MAX_BYTES = 100_000_000
"""Larger pictures and documents are not read. The server's own limit is lower by default."""

MAX_NAME_CHARS = 80


class Attachments:
    """What goes with a message beside what was typed: text files, pictures, documents."""

    def __init__(self) -> None:
        """Begin without any."""
        self.names: list[str] = []
        self._texts: list[str] = []
        self._images: list[str] = []
        self._files: list[dict[str, str]] = []

    @property
    def members(self) -> dict[str, object]:
        """The members of the body of `POST /chat` beside the message."""
        members = {"images": self._images, "files": self._files}
        return {name: value for name, value in members.items() if value}

    def add_file(self, path: Path) -> None:
        """Add a text file or a PDF. Raises `CommandError`."""
        content = _read(path)
        if file_types.media_type(content) in file_types.DOCUMENTS:
            self._add(content, path.name)
        else:
            self._texts.append(_as_block(path, content))
        self.names.append(f"[file: {path.name}]")

    def add_picture(self, path: Path) -> None:
        """Add a picture. Raises `CommandError`."""
        content = _read(path)
        if file_types.media_type(content) not in file_types.PICTURES:
            raise CommandError(f"{path} is not a picture: PNG, JPEG, GIF and WebP can be sent.")
        self._add(content, path.name)
        self.names.append(f"[image: {path.name}]")

    def add_stored(self, client: Client, session_id: str, blocks: Blocks | None) -> None:
        """Add the pictures and documents of a stored message. Raises `CommandError`."""
        self.names += file_notes(blocks)
        for block in blocks or ():
            if "file_id" in block:
                content = client.file(session_id, block["file_id"])
                self._add(content, block.get("filename", ""))
            elif block["type"] == "image" and "url" in block:
                self._images.append(block["url"])

    def message(self, *texts: str | None) -> str:
        """The message: what was typed, then the text files, then what else there is.

        Args:
            texts: What was typed, and what follows the files. Blank ones are left out.

        """
        typed, *others = texts
        parts = (typed, *self._texts, *others)
        return "\n\n".join(part for part in parts if part and part.strip())

    def _add(self, content: bytes, name: str) -> None:
        kind = file_types.media_type(content)
        url = f"data:{kind};base64,{b64encode(content).decode()}"
        if kind in file_types.PICTURES:
            self._images.append(url)
        else:
            self._files.append({"name": name or "document.pdf", "data": url})


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_BYTES:
        raise CommandError(f"{path} is too large for a message.")
    return content


def _as_block(path: Path, content: bytes) -> str:
    """A text file as a fenced code block below its name. Raises `CommandError`."""
    if len(content) > MAX_TEXT_BYTES:
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
