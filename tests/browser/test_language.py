"""The page in the browser's language."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.session_list import StoredSession, store
from tests.process import PATIENCE, Server
from tests.upstream import Answer, Upstream


@pytest.fixture(params=["de-AT"])
def context(
    browser: Browser, server: Server, request: pytest.FixtureRequest
) -> Iterator[BrowserContext]:
    """The profile of somebody with another language than English."""
    with browser.new_context(
        base_url=server.url, locale=request.param, reduced_motion="reduce"
    ) as context:
        context.set_default_timeout(PATIENCE * 1_000)
        yield context


@pytest.fixture
def german(context: BrowserContext, server: Server, page_errors: list[str]) -> Page:
    store(server, StoredSession("gezeiten", title="Ebbe und Flut"))
    page = context.new_page()
    page.on("pageerror", lambda error: page_errors.append(str(error)))
    page.goto(f"{server.url}/")
    return page


def test_everything_is_german_in_a_german_browser(german: Page, upstream: Upstream) -> None:
    page = german
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_role("heading", name="Womit kann ich helfen?")).to_be_visible()
    expect(page.get_by_role("link", name="Neuer Chat").first).to_be_visible()
    upstream.script = lambda call: Answer(status=200 if call.is_title else 401)
    page.get_by_role("textbox", name="Nachricht").fill("Wann ist Ebbe?")
    page.keyboard.press("Enter")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("Der Anbieter des Modells lehnt die Konfiguration des Servers ab.")
    expect(note.get_by_role("button", name="Noch einmal versuchen")).to_be_visible()
    page.get_by_role("button", name="Einstellungen der Unterhaltung").click()
    dialog = page.get_by_role("dialog", name="Einstellungen der Unterhaltung")
    expect(dialog.get_by_label("Temperatur")).to_be_visible()
    english = ("Settings", "Cancel", "Save", "Default", "Message", "Options", "New chat", "Search")
    tree = page.locator("body").aria_snapshot()
    assert [line for line in tree.splitlines() if any(word in line for word in english)] == []


@pytest.mark.parametrize("context", ["eo"], indirect=True)
def test_an_unknown_language_is_shown_in_english(
    open_page: OpenPage, context: BrowserContext
) -> None:
    page = open_page()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("heading", name="What can I help with?")).to_be_visible()
