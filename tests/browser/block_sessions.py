"""Stored sessions whose messages are more than texts, and pictures for them."""

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from tests.browser.session_list import StoredSession

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def png(width: int = 32, height: int = 20) -> bytes:
    """A picture that a browser can show."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + bytes([line % 256, 80, 160]) * width for line in range(height))
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


class BlockMessage(NamedTuple):
    """A message of an export; `seconds` is when it was written, after the session's start."""

    role: str
    content: str
    blocks: Sequence[dict[str, Any]] | None = None
    seconds: float = 0


class StoredFile(NamedTuple):
    """A picture or a document of a session."""

    data: bytes
    mime_type: str = "image/png"

    @property
    def file_id(self) -> str:
        return sha256(self.data).hexdigest()

    def block(self, kind: str = "image", **more: str) -> dict[str, Any]:
        """The block of a message that shows it."""
        return {"type": kind, "mime_type": self.mime_type, "file_id": self.file_id, **more}


def call(call_id: str, name: str, **args: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "args": args}


def result(call_id: str, *, status: str = "success") -> dict[str, Any]:
    return {"type": "tool_result", "tool_call_id": call_id, "status": status}


def reasoning(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "reasoning": text}


TEXT = {"type": "text"}
"""Stands for the text of its message."""


@dataclass
class BlockSession(StoredSession):
    """A session of an export file with messages of any kind."""

    blocks: Sequence[BlockMessage] = ()
    files: Sequence[StoredFile] = ()

    def rows(self) -> Iterable[dict[str, Any]]:
        self.messages = [message.content for message in self.blocks]
        remaining = iter(self.blocks)
        for row in super().rows():
            if row["type"] == "message":
                role, _, blocks, seconds = next(remaining)
                time = (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                yield {**row, "role": role, "blocks": blocks, "created_at": time}
                continue
            yield row
            if row["type"] == "session":
                yield from map(_file_row, self.files)


def _file_row(file: StoredFile) -> dict[str, Any]:
    data = base64.b64encode(file.data).decode()
    return {"type": "file", "file_id": file.file_id, "mime_type": file.mime_type, "data": data}
