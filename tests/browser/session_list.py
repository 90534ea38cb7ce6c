"""The session list of the page, and imported sessions to fill it with."""

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
class StoredSession:
    """A session of an export file. Its messages alternate between user and assistant."""

    session_id: str
    title: str = ""
    messages: Sequence[str] = ("hello", "Hello to you.")
    at: datetime | None = None

    def rows(self) -> Iterable[dict[str, Any]]:
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


def export_file(*sessions: StoredSession) -> bytes:
    """The bytes of an export in Chatkeep's own format."""
    lines = [{"type": "chatkeep", "version": 1}]
    for session in sessions:
        lines.extend(session.rows())
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def store(server: Server, *sessions: StoredSession) -> None:
    """Import sessions into the server."""
    with server.client() as client:
        report = client.post("/import", content=export_file(*sessions)).json()
    assert (report["imported"], report["skipped"]) == (len(sessions), []), report


def links(page: Page) -> Locator:
    return page.get_by_role("navigation").get_by_role("link")


def link(page: Page, title: str) -> Locator:
    """The link of a session in the list, by its title; icons beside the title are ignored."""
    return links(page).filter(has_text=re.compile(rf"^\s*{re.escape(title)}\s*$"))


def choose_option(page: Page, title: str, option: str) -> None:
    """Choose an option in the menu of a session in the list."""
    within = page.get_by_role("navigation")
    within.get_by_role("button", name=f"Options for {title}", exact=True).click()
    page.get_by_role("menuitem", name=option).click()


def choose_from_menu(page: Page, option: str) -> None:
    """Choose an option in the menu below the list."""
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_role("menuitem", name=option, exact=True).click()


def record_requests(page: Page) -> list[str]:
    """Record the API requests of the page from now on, such as `GET /sessions`."""
    requests: list[str] = []

    def record(request: Request) -> None:
        path = urlsplit(request.url).path
        # Parts of the page itself are loaded when there is time.
        if not path.startswith("/assets/"):
            requests.append(f"{request.method} {path}")

    page.on("request", record)
    return requests


def expect_error(page_errors: list[str], words: str) -> None:
    """Take away the page_errors that a test has provoked: there must be some."""
    expected = [error for error in page_errors if words in error]
    assert expected, f"no error contains {words}"
    page_errors[:] = [error for error in page_errors if words not in error]
