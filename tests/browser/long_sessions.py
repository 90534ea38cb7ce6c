"""Imports long conversations in Chatkeep's own export format."""

import json
from typing import Any

from tests.process import Server

MESSAGES = 2_000
AT = "2026-01-01T00:00:00.000000Z"


def message_text(seq: int) -> str:
    """The message with this number, counted from 1: questions are short, answers differ."""
    if seq % 2:
        return f"Question {seq}."
    words = "Some words about nothing in particular, as an answer may have them. " * (seq % 7)
    return f"Answer {seq}.\n\n{words}\n\n" + "- one\n- two\n" * (seq % 3 == 0)


def import_long_session(server: Server, session_id: str, count: int = MESSAGES) -> None:
    """Import a session of so many messages, `m1` being the oldest."""
    lines: list[dict[str, Any]] = [{"type": "chatkeep", "version": 1}]
    lines.append(
        {
            "type": "session",
            "session_id": session_id,
            "title": session_id,
            "title_source": "model",
            "pinned": False,
            "archived": False,
            "model": None,
            "system_prompt": None,
            "context_messages": None,
            "metadata": {},
            "head_seq": count,
            "created_at": AT,
            "updated_at": AT,
        }
    )
    lines.extend(
        {
            "type": "message",
            "seq": seq,
            "id": f"{session_id}-m{seq}",
            "parent_seq": seq - 1 or None,
            "role": "user" if seq % 2 else "assistant",
            "content": message_text(seq),
            "status": "completed",
            "turn_id": None,
            "created_at": AT,
        }
        for seq in range(1, count + 1)
    )
    lines.append({"type": "end", "session_id": session_id})
    body = "".join(f"{json.dumps(line)}\n" for line in lines)
    with server.client() as client:
        headers = {"Content-Type": "application/jsonl"}
        report = client.post("/import", content=body.encode(), headers=headers).json()
        assert report["imported"] == 1, report
