"""A real Chromium before a real server. Any error in its console fails the test.

Loading a page into a new profile takes three times as long as into one that has its scripts
compiled, and a server takes as long to start as a test runs. So tests share both, and each leaves
them as they were: what a tab stores is removed, and the sessions of a module are deleted.
"""

import threading
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.process import PATIENCE, Server
from tests.upstream import Upstream

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but our own servers can be reached.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Tabs of one profile share a process, and with it the compiled scripts.
    "--renderer-process-limit=1",
]

OpenPage = Callable[..., Page]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "own_context: the test changes its browser's profile, so it has one of its own"
    )


@pytest.fixture(scope="package")
def running_upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="package")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


@pytest.fixture(scope="module")
def running_server(shared_server: Server) -> Iterator[Server]:
    """The server that modules share; one that needs other settings overrides this fixture."""
    yield shared_server
    with shared_server.client() as client:
        for archived in ("false", "true"):
            while rows := client.get(f"/sessions?limit=500&archived={archived}").json():
                for row in rows:
                    client.delete(f"/sessions/{quote(row['session_id'], safe='')}")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for this folder: as long as it is there, an event loop runs, and others may not."""
    expect.set_options(timeout=PATIENCE * 1_000)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET) as launched,
    ):
        yield launched


def new_context(browser: Browser, server: Server) -> BrowserContext:
    """A profile whose relative addresses are the server's."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, base_url=server.url, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE * 1_000)
    return context


@pytest.fixture(scope="package")
def contexts(browser: Browser) -> dict[str, BrowserContext]:
    """The profiles that tests share, by the address of their server."""
    return {}


def shared_context(
    browser: Browser, server: Server, contexts: dict[str, BrowserContext]
) -> Iterator[BrowserContext]:
    """A profile of which the first tab stays open, because the process ends with the last one."""
    if server.url not in contexts:
        contexts[server.url] = new_context(browser, server)
        contexts[server.url].new_page().goto("/healthz")
    context = contexts[server.url]
    yield context
    first, *others = context.pages
    for page in others:
        page.close()
    first.evaluate("localStorage.clear()")


@pytest.fixture
def context(
    request: pytest.FixtureRequest,
    browser: Browser,
    server: Server,
    contexts: dict[str, BrowserContext],
) -> Iterator[BrowserContext]:
    """A browser's profile; pages of one context are tabs beside each other."""
    if request.node.get_closest_marker("own_context") is None:
        yield from shared_context(browser, server, contexts)
    else:
        with new_context(browser, server) as own:
            yield own


@pytest.fixture
def page_errors() -> Iterator[list[str]]:
    """Errors of the pages: in the console, in scripts, and requests to another host.

    The list has to be empty when the test ends; see `expect_error`.
    """
    errors: list[str] = []
    yield errors
    assert errors == []


@pytest.fixture
def open_page(context: BrowserContext, server: Server, page_errors: list[str]) -> OpenPage:
    """Open a tab: at a session, at a message in it, or at a new one."""

    def check_host(request: Request) -> None:
        # The browser sends nothing that the page's policy blocks.
        is_blocked = request.failure is not None and "csp" in request.failure.lower()
        if not is_blocked and not request.url.startswith((f"{server.url}/", "blob:", "data:")):
            page_errors.append(f"requested another host: {request.url}")

    def open_tab(session: str = "", message: str = "") -> Page:
        page = context.new_page()
        page.on(
            "console",
            lambda message: page_errors.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: page_errors.append(str(error)))
        page.on("requestfinished", check_host)
        page.on("requestfailed", check_host)
        query = f"?message={message}" if message else ""
        page.goto(f"{server.url}/#/{quote(session, safe='')}{query}")
        page.get_by_role("textbox", name="Message", exact=True).wait_for()
        return page

    return open_tab


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


class Pace:
    """Decides when a scripted model writes its next pieces."""

    def __init__(self) -> None:
        self.semaphore = threading.Semaphore(0)

    def write(self, pieces: int) -> None:
        self.semaphore.release(pieces)


@pytest.fixture
def pace() -> Iterator[Pace]:
    """A model's pace. When the test ends, the remaining pieces are written."""
    pace = Pace()
    yield pace
    pace.write(100_000)
