"""The whole page with nothing but keys: everything is reached, and the focus is never lost."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import answers, button, field, questions, wait_until_stored
from tests.browser.session_list import StoredSession, link, store
from tests.process import Server

MOST_TABS = 60


def is_outlined(page: Page) -> bool:
    """Whether somebody who looks sees where the focus is: an outline, or the frame of a field."""
    is_visible: bool = page.evaluate(
        """() => {
            const at = document.activeElement;
            if (at === null || at === document.body) return false;
            const { outlineStyle, outlineWidth } = getComputedStyle(at);
            if (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) return true;
            return at.matches('textarea, input, [data-highlighted], [role=menu], dialog');
        }"""
    )
    return is_visible


def tab_to(page: Page, wanted: Locator, *, key: str = "Tab") -> None:
    """Press Tab until the focus is there; it is always seen, and never on nothing."""
    # What is not there yet may be the last stop: from the one before it Tab leaves the page.
    expect(wanted.first).to_be_attached()
    for _ in range(MOST_TABS):
        page.keyboard.press(key)
        assert is_outlined(page), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        if page.locator(":focus").and_(wanted).count():
            return
    raise AssertionError(f"{wanted} cannot be reached")


@pytest.fixture(autouse=True)
def _stored(server: Server) -> None:
    known = server.sessions()
    store(
        server, *(StoredSession(name) for name in ("alpha", "beta", "gamma") if name not in known)
    )


def test_a_conversation_needs_only_the_keyboard(page: Page, server: Server) -> None:
    expect(field(page)).to_be_focused()
    page.keyboard.type("Hello by key")
    page.keyboard.press("Enter")
    wait_until_stored(page)
    expect(field(page)).to_be_focused()

    tab_to(page, button(page, "Edit the message"), key="Shift+Tab")
    page.keyboard.press("Enter")
    editor = page.get_by_role("textbox", name="Edit the message")
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    expect(button(page, "Edit the message")).to_be_focused()
    page.keyboard.press("Enter")
    expect(editor).to_be_focused()
    page.keyboard.type(", edited")
    page.keyboard.press("Enter")
    expect(questions(page)).to_contain_text("Hello by key, edited")
    expect(answers(page)).to_contain_text("Reply to: Hello by key, edited")
    wait_until_stored(page)
    expect(field(page)).to_be_focused()

    tab_to(page, button(page, "Regenerate"), key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(answers(page).get_by_role("group", name="Branches")).to_contain_text("2/2")
    wait_until_stored(page)
    assert page.evaluate("document.activeElement !== document.body")
    page.keyboard.press("/")
    tab_to(page, button(page, "What was sent to the model"), key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(button(page, "What was sent to the model")).to_be_focused()


def test_the_list_needs_only_the_keyboard(page: Page, server: Server) -> None:
    tab_to(page, page.get_by_role("link", name="Skip to the message field"), key="Shift+Tab")
    tab_to(page, page.get_by_role("navigation").get_by_role("link"))
    page.keyboard.press("Home")
    for _ in range(MOST_TABS):
        if page.locator(":focus").and_(link(page, "beta")).count():
            break
        here = page.locator(":focus").get_attribute("data-session")
        page.keyboard.press("ArrowDown")
        expect(page.locator(":focus")).not_to_have_attribute("data-session", here or "")
        assert is_outlined(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("beta")

    # The list is entered where one was.
    link(page, "beta").focus()
    tab_to(page, button(page, "Options for beta").first)
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button(page, "Options for beta").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()
    page.keyboard.type("beta by key")
    page.keyboard.press("Enter")
    expect(link(page, "beta by key")).to_be_focused()

    page.keyboard.press("Delete")
    expect(link(page, "beta by key")).to_have_count(0)
    assert page.evaluate("document.activeElement !== document.body")
    tab_to(page, button(page, "Undo"))
    page.keyboard.press("Enter")
    expect(link(page, "beta by key")).to_be_visible()
    assert page.evaluate("document.activeElement !== document.body")


def test_the_focus_stays_in_the_list_when_a_session_moves(page: Page, server: Server) -> None:
    moved = ("to be deleted", "to be archived", "to be pinned")
    store(server, *(StoredSession(name) for name in moved))
    page.reload()
    in_list = page.get_by_role("navigation").locator(":focus")
    link(page, "to be deleted").press("Delete")
    expect(link(page, "to be deleted")).to_have_count(0)
    expect(in_list).to_have_count(1)
    for name, option in (("to be archived", "Archive"), ("to be pinned", "Pin")):
        button(page, f"Options for {name}").press("Enter")
        page.get_by_role("menuitem", name=option).press("Enter")
        expect(page.get_by_role("menuitem")).to_have_count(0)
        if option == "Pin":
            expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
        else:
            expect(link(page, name)).to_have_count(0)
        expect(in_list).to_have_count(1)


def test_every_dialog_is_opened_and_closed_with_keys(page: Page) -> None:
    first_item = page.get_by_role("menuitem", name="Import…")
    tab_to(page, button(page, "More"), key="Shift+Tab")
    for key, name in (("?", "Help"), ("Control+k", "Search"), ("Enter", "Help")):
        page.keyboard.press(key)
        if key == "Enter":
            expect(first_item).to_be_focused()
            page.keyboard.type("H")
            expect(page.get_by_role("menuitem", name="Help")).to_be_focused()
            page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        expect(page.get_by_role("dialog").locator(":focus")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(button(page, "More")).to_be_focused()

    page.keyboard.press("Enter")
    expect(first_item).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitemradio", name="Dark")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("menuitemradio", name="Dark")).to_be_checked()
    page.keyboard.press("Escape")
    expect(button(page, "More")).to_be_focused()

    page.keyboard.press("/")
    expect(field(page)).to_be_focused()
    page.keyboard.type("/?")
    expect(field(page)).to_have_value("/?")
    expect(page.get_by_role("dialog")).to_have_count(0)
    tab_to(page, button(page, "Conversation settings"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    tab_to(page, button(page, "Cancel"))
    page.keyboard.press("Enter")
    expect(button(page, "Conversation settings")).to_be_focused()


def test_the_focus_is_visible_on_every_element(open_page: OpenPage) -> None:
    page = open_page("gamma")
    expect(answers(page)).to_be_visible()
    start = page.get_by_role("link", name="Skip to the message field")
    tab_to(page, start, key="Shift+Tab")
    page.keyboard.press("Tab")
    tab_to(page, button(page, "Conversation settings"))


def test_the_title_above_is_renamed_with_keys(open_page: OpenPage) -> None:
    page = open_page("alpha")
    expect(answers(page)).to_be_visible()
    title = page.get_by_role("heading", level=1).get_by_role("button")
    tab_to(page, title, key="Shift+Tab")
    for written, key, shown in (("no", "Escape", "alpha"), ("alpha too", "Enter", "alpha too")):
        page.keyboard.press("Enter")
        expect(page.get_by_role("textbox", name="Title")).to_be_focused()
        page.keyboard.type(written)
        page.keyboard.press(key)
        expect(title).to_have_text(shown)
        expect(title).to_be_focused()
