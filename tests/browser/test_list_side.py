"""The list's side as a whole: it can be hidden, has one menu, and speaks as its reader does."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import button, field
from tests.browser.session_list import StoredSession, choose_from_menu, choose_option, link, store
from tests.process import PATIENCE, Server, until

MAC = "Object.defineProperty(Navigator.prototype, 'platform', { get: () => 'MacIntel' })"


def conversation_middle(page: Page) -> float:
    box = page.get_by_role("main").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2


def is_shown(page: Page) -> None:
    expect(page.get_by_role("complementary", name="Conversations")).to_be_visible()
    expect(button(page, "Open the list")).to_be_hidden()


def is_hidden(page: Page) -> None:
    expect(page.get_by_role("complementary")).to_have_count(0)
    expect(button(page, "Open the list")).to_be_visible()
    box = page.get_by_role("main").bounding_box()
    assert box is not None
    assert (box["x"], box["width"]) == (0, 1280)


def test_the_list_is_hidden_with_its_button_and_stays_so(page: Page) -> None:
    is_shown(page)
    button(page, "Close the list").click()
    is_hidden(page)
    expect(button(page, "Open the list")).to_be_focused()
    page.reload()
    is_hidden(page)
    button(page, "Open the list").click()
    is_shown(page)
    expect(button(page, "Close the list")).to_be_focused()
    page.reload()
    is_shown(page)


@pytest.mark.parametrize("key", ["Control+b", "Meta+b"])
def test_a_key_hides_the_list_while_somebody_writes(page: Page, key: str) -> None:
    field(page).fill("half a ")
    page.keyboard.press(key)
    is_hidden(page)
    page.keyboard.type("sentence")
    page.keyboard.press(key)
    is_shown(page)
    expect(field(page)).to_be_focused()
    expect(field(page)).to_have_value("half a sentence")


def test_tab_does_not_lead_into_a_hidden_list(page: Page) -> None:
    page.keyboard.press("Control+b")
    is_hidden(page)
    page.get_by_role("link", name="Skip to the message field").focus()
    page.keyboard.press("Tab")
    expect(button(page, "Open the list")).to_be_focused()


def test_the_archive_has_a_heading_and_a_way_back_with_keys(page: Page, server: Server) -> None:
    store(server, StoredSession("not archived"))
    button(page, "More").press("Enter")
    expect(page.get_by_role("menuitem", name="Import…")).to_be_focused()
    page.keyboard.type("A")
    expect(page.get_by_role("menuitem", name="Archive")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Archive", exact=True)).to_be_visible()
    button(page, "Back to the conversations").press("Enter")
    expect(link(page, "not archived")).to_be_visible()
    assert page.evaluate("document.activeElement !== document.body")


def test_archiving_and_unarchiving_can_be_undone(page: Page, server: Server) -> None:
    store(server, StoredSession("there and back"))
    page.reload()
    choose_option(page, "there and back", "Archive")
    expect(page.get_by_text("Archived.", exact=True)).to_be_visible()
    expect(link(page, "there and back")).to_have_count(0)
    button(page, "Undo").press("Enter")
    expect(link(page, "there and back")).to_be_visible()
    assert page.evaluate("document.activeElement !== document.body")

    choose_option(page, "there and back", "Archive")
    choose_from_menu(page, "Archive")
    choose_option(page, "there and back", "Unarchive")
    expect(page.get_by_text("Unarchived.", exact=True)).to_be_visible()
    expect(link(page, "there and back")).to_have_count(0)
    toast = page.get_by_role("status").locator("div").filter(has_text="Unarchived.")
    toast.get_by_role("button", name="Undo").click()
    expect(link(page, "there and back")).to_be_visible()
    until(lambda: server.sessions()["there and back"]["archived"])


def test_an_undo_toast_is_centred_and_its_button_has_one_line(
    open_page: OpenPage, server: Server
) -> None:
    store(server, StoredSession("undo", title="Donaudampfschifffahrt " * 11))
    page = open_page()
    page.get_by_role("navigation").get_by_role("button", name="Options for Donau").click()
    page.get_by_role("menuitem", name="Delete").click()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        undo = button(page, "Undo").bounding_box()
        toast = page.get_by_role("status").locator(".toast").bounding_box()
        assert undo is not None
        assert toast is not None
        assert undo["height"] < 40
        assert abs(toast["x"] + toast["width"] / 2 - conversation_middle(page)) < 2
        assert toast["x"] >= 0
        assert toast["x"] + toast["width"] <= width
    button(page, "Undo").click()


def test_a_toast_of_one_conversation_is_not_shown_over_another(
    open_page: OpenPage, server: Server, page_errors: list[str]
) -> None:
    store(server, StoredSession("here"), StoredSession("elsewhere"))
    page = open_page("here")
    page.route("**/sessions/here", lambda route: route.abort())
    choose_option(page, "here", "Pin")
    expect(page.get_by_role("status").get_by_text("cannot be reached")).to_be_visible()
    choose_option(page, "elsewhere", "Delete")
    page.get_by_role("link", name="New chat").first.click()
    expect(page.get_by_role("status").get_by_text("cannot be reached")).to_have_count(0)
    # What can be undone stays.
    button(page, "Undo").click()
    expect(link(page, "elsewhere")).to_be_visible()
    page_errors.clear()


def test_no_toast_covers_the_end_of_an_answer_on_a_phone(
    open_page: OpenPage, server: Server
) -> None:
    store(
        server,
        StoredSession("covered", messages=("hello", "A line.\n\n" * 60)),
        StoredSession("other"),
    )
    page = open_page("covered")
    page.set_viewport_size({"width": 390, "height": 844})
    button(page, "Options for covered").last.click()
    page.get_by_role("menuitem", name="Archive").click()
    toast = page.get_by_role("status").locator(".toast").bounding_box()
    end = button(page, "Copy the answer").bounding_box()
    assert toast is not None
    assert end is not None
    assert toast["y"] + toast["height"] < end["y"] - 100
    button(page, "Undo").click()


def test_direction_marks_do_not_hide_a_title(open_page: OpenPage, server: Server) -> None:
    title = "\u202eevil\u202c and \u2066good\u2069"
    store(server, StoredSession("turned", title=title))
    page = open_page("turned")
    expect(link(page, "evil and good")).to_be_visible()
    expect(link(page, "evil and good")).to_have_attribute("title", "evil and good")
    expect(page.get_by_role("heading", level=1)).to_have_text("evil and good")
    expect(page).to_have_title("evil and good · Chatkeep")
    expect(button(page, "Options for evil and good")).to_have_count(2)
    link(page, "evil and good").press("F2")
    expect(page.get_by_role("textbox", name="Title")).to_have_value("evil and good")
    page.keyboard.press("Enter")
    # Nothing was written: it stays as it is.
    expect(link(page, "evil and good")).to_be_focused()
    assert server.sessions()["turned"]["title"] == title


def test_the_field_for_a_title_is_no_wider_than_needed(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("short"))
    page = open_page("short")
    page.get_by_role("heading", level=1).get_by_role("button").click()
    box = page.get_by_role("textbox", name="Title").bounding_box()
    assert box is not None
    assert box["width"] <= 512


@pytest.mark.parametrize(
    ("locale", "today", "past"),
    [
        ("en-US", r"^\d?\d:\d\d.[AP]M$", r"^Mar 5, 2021, \d?\d:\d\d.[AP]M$"),
        ("en-GB", r"^\d?\d:\d\d$", r"^5 Mar 2021, \d?\d:\d\d$"),
        ("de-DE", r"^\d?\d:\d\d$", r"^5\. März 2021, \d?\d:\d\d$"),
    ],
)
def test_dates_are_written_as_the_reader_writes_them(
    browser: Browser, server: Server, locale: str, today: str, past: str
) -> None:
    old = datetime(2021, 3, 5, 12, tzinfo=UTC)
    store(server, StoredSession(f"new {locale}"), StoredSession(f"old {locale}", at=old))
    with browser.new_context(base_url=server.url, locale=locale) as context:
        context.set_default_timeout(PATIENCE * 1_000)
        page = context.new_page()
        for session, expected in ((f"new {locale}", today), (f"old {locale}", past)):
            page.goto(f"{server.url}/#/{session}")
            time = page.get_by_role("article").locator("time").first
            expect(time).to_have_attribute("title", re.compile(expected))


@pytest.mark.own_context
def test_a_mac_has_its_own_shortcut_key(context: BrowserContext, open_page: OpenPage) -> None:
    page = open_page()
    expect(button(page, "Search Ctrl K")).to_be_visible()
    context.add_init_script(MAC)
    page.reload()
    expect(button(page, "Search ⌘ K")).to_be_visible()
    button(page, "More").press("?")
    expect(page.get_by_role("dialog", name="Help")).to_contain_text("⌘")
    expect(page.get_by_role("dialog", name="Help")).not_to_contain_text("Ctrl")


def test_the_list_is_german_in_a_german_browser(browser: Browser, server: Server) -> None:
    store(server, StoredSession("deutsch"))
    with browser.new_context(base_url=server.url, locale="de-AT") as context:
        context.set_default_timeout(PATIENCE * 1_000)
        page = context.new_page()
        page.goto(server.url)
        expect(page.get_by_role("heading", name="Heute")).to_be_visible()
        button(page, "Optionen für deutsch").press("Enter")
        page.get_by_role("menuitem", name="Löschen").click()
        expect(page.get_by_text("„deutsch“ gelöscht.")).to_be_visible()
        button(page, "Rückgängig").click()
        button(page, "Mehr").press("?")
        expect(page.get_by_role("dialog", name="Hilfe")).to_contain_text("Strg")
