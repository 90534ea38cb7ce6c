"""A real Chromium before a real server. Any error in its console fails the test."""

import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.process import PATIENCE, Server

CHROMIUM = "/usr/bin/chromium"
# It is to ask nobody but our server.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Open = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for this folder: as long as it is there, an event loop runs, and others may not."""
    expect.set_options(timeout=PATIENCE * 1_000)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET) as launched,
    ):
        yield launched


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """A browser's profile; pages of one context are tabs beside each other."""
    with browser.new_context(
        viewport={"width": 1280, "height": 800}, base_url=server.url, reduced_motion="reduce"
    ) as context:
        context.set_default_timeout(PATIENCE * 1_000)
        yield context


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the pages complained of; a test that provokes some takes them away again."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def open_page(context: BrowserContext, server: Server, complaints: list[str]) -> Open:
    """Open a tab: at a session, at a message in it, or at a new one."""
    host = urlsplit(server.url).netloc

    def refuse(route: Route) -> None:
        if urlsplit(route.request.url).netloc != host:
            complaints.append(f"asked another host: {route.request.url}")
            route.abort()
        else:
            route.continue_()

    def opened(session: str = "", message: str = "") -> Page:
        page = context.new_page()
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.route("**/*", refuse)
        place = f"?message={message}" if message else ""
        page.goto(f"{server.url}/#/{quote(session, safe='')}{place}")
        page.get_by_role("textbox", name="Message", exact=True).wait_for()
        return page

    return opened


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page()


class Pace:
    """Lets a scripted model write piece by piece."""

    def __init__(self) -> None:
        self.semaphore = threading.Semaphore(0)

    def write(self, pieces: int) -> None:
        self.semaphore.release(pieces)


@pytest.fixture
def pace() -> Iterator[Pace]:
    """A model's pace; at the end of the test whatever is left is written."""
    made = Pace()
    yield made
    made.write(100_000)
