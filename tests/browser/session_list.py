"""The list beside a conversation as a person sees it, and files of sessions to fill it with."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Request

from tests.process import Server

_numbers = count(1)


@dataclass
class Stored:
    """A session as a file of sessions has it; its messages are a person's and a model's in turn."""

    session_id: str
    title: str = ""
    messages: Sequence[str] = ("hello", "Hello to you.")
    at: datetime | None = None

    def lines(self) -> Iterable[dict[str, Any]]:
        time = (self.at or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        yield {
            "type": "session",
            "session_id": self.session_id,
            "title": self.title or self.session_id,
            "title_source": "user",
            "pinned": False,
            "archived": False,
            "model": None,
            "system_prompt": None,
            "context_messages": None,
            "metadata": {},
            "head_seq": len(self.messages) or None,
            "created_at": time,
            "updated_at": time,
        }
        for seq, content in enumerate(self.messages, 1):
            yield {
                "type": "message",
                "seq": seq,
                "id": f"m{next(_numbers)}",
                "parent_seq": seq - 1 or None,
                "role": "user" if seq % 2 else "assistant",
                "content": content,
                "status": "completed",
                "turn_id": None,
                "created_at": time,
            }
        yield {"type": "end", "session_id": self.session_id}


def file_of(*sessions: Stored) -> bytes:
    """A file of sessions, as Chatkeep's own export has them."""
    lines = [{"type": "chatkeep", "version": 1}]
    for session in sessions:
        lines.extend(session.lines())
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def store(server: Server, *sessions: Stored) -> None:
    """Have sessions on the server without asking a model."""
    with server.client() as client:
        report = client.post("/import", content=file_of(*sessions)).json()
    assert (report["imported"], report["skipped"]) == (len(sessions), []), report


def links(page: Page) -> Locator:
    return page.get_by_role("navigation").get_by_role("link")


def link(page: Page, title: str) -> Locator:
    """A session in the list; icons beside the title do not count."""
    return links(page).filter(has_text=re.compile(rf"^\s*{re.escape(title)}\s*$"))


def choose(page: Page, title: str, option: str) -> None:
    """Open the menu of a session in the list, and choose something of it."""
    within = page.get_by_role("navigation")
    within.get_by_role("button", name=f"Options for {title}", exact=True).click()
    page.get_by_role("menuitem", name=option).click()


def more(page: Page, option: str) -> None:
    """Open the menu below the list, and choose something of it."""
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name=option, exact=True).click()


def asked(page: Page) -> list[str]:
    """What the page asks the API for from now on, such as `GET /sessions`."""
    found: list[str] = []

    def note(request: Request) -> None:
        path = urlsplit(request.url).path
        # Parts of the page itself are loaded when there is time.
        if not path.startswith("/assets/"):
            found.append(f"{request.method} {path}")

    page.on("request", note)
    return found


def expected(complaints: list[str], words: str) -> None:
    """Take away the complaints that a test has provoked: there must be some."""
    provoked = [complaint for complaint in complaints if words in complaint]
    assert provoked, f"nobody complained of {words}"
    complaints[:] = [complaint for complaint in complaints if words not in complaint]
