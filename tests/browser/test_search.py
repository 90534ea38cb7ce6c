"""Search while typing: the results, and that a result opens the conversation at its message."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import answers, button, field
from tests.browser.session_list import StoredSession, link, store
from tests.process import Server

LENGTH = 300
NEEDLE = 41
"""The message that holds the rare word, far above what is read first."""


@pytest.fixture(scope="module", autouse=True)
def _stored(running_server: Server) -> None:
    long = [f"talk number {number} of many" for number in range(LENGTH)]
    long[NEEDLE] = "There the *pangolin* sleeps, <b>rolled</b> up & warm."
    store(
        running_server,
        StoredSession("zebras", title="Zebras at the waterhole"),
        StoredSession("long", title="A long talk", messages=long),
    )


def box(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Search conversations and messages")


def hits(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Results").get_by_role("option")


@pytest.fixture
def searching(page: Page) -> Page:
    """A page with the search open."""
    expect(link(page, "A long talk")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(box(page)).to_be_focused()
    return page


def test_the_newest_sessions_are_there_before_a_word_is_typed(searching: Page) -> None:
    expect(hits(searching)).to_contain_text(["A long talk", "Zebras at the waterhole"])
    box(searching).fill("zeb")
    expect(hits(searching)).to_have_count(1)
    box(searching).fill("")
    expect(hits(searching)).to_have_count(2)


def test_a_prefix_finds_a_message_and_opens_it_in_a_long_conversation(
    searching: Page,
) -> None:
    searching.keyboard.type("pango")
    hit = hits(searching)
    expect(hit).to_have_count(1)
    expect(hit).to_contain_text("A long talk")
    expect(hit.locator("mark")).to_have_text("pangolin")
    expect(hit).to_contain_text("<b>rolled</b> up & warm.")

    searching.keyboard.press("Enter")
    expect(searching.get_by_role("dialog")).to_have_count(0)
    message = answers(searching).filter(has_text="pangolin")
    expect(message).to_be_in_viewport()
    expect(searching.get_by_text(f"talk number {NEEDLE + 1} of many")).to_be_visible()
    expect(button(searching, "Go to the end")).to_be_visible()


def test_a_result_in_a_title_opens_its_session(searching: Page) -> None:
    searching.keyboard.type("waterh")
    expect(hits(searching)).to_have_count(1)
    expect(hits(searching).locator("mark")).to_have_text("waterhole")
    hits(searching).click()
    expect(searching.get_by_role("heading", level=1)).to_have_text("Zebras at the waterhole")
    assert searching.url.endswith("#/zebras")


def test_arrow_keys_move_through_the_results_and_wrap_around(searching: Page) -> None:
    searching.keyboard.type("talk number")
    chosen = hits(searching).and_(searching.locator("[aria-selected=true]"))
    expect(hits(searching).first).to_contain_text("of many")
    for key, at in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1)):
        searching.keyboard.press(key)
        expect(hits(searching).nth(at)).to_have_attribute("aria-selected", "true")
        expect(chosen).to_have_count(1)
        named = hits(searching).nth(at).get_attribute("id") or ""
        expect(box(searching)).to_have_attribute("aria-activedescendant", named)
    searching.keyboard.press("ArrowUp")
    searching.keyboard.press("ArrowUp")
    expect(hits(searching).last).to_have_attribute("aria-selected", "true")
    expect(hits(searching).last).to_be_in_viewport()

    searching.keyboard.press("Home")
    searching.keyboard.press("ArrowDown")
    expect(hits(searching).first).to_have_attribute("aria-selected", "true")
    words = hits(searching).first.locator(".snippet").inner_text()
    searching.keyboard.press("Enter")
    expect(searching.get_by_role("article").filter(has_text=words).first).to_be_in_viewport()


def test_more_results_are_loaded_on_request(searching: Page) -> None:
    searching.keyboard.type("talk number")
    more = searching.get_by_text("More results")
    expect(more).to_be_visible()
    before = hits(searching).count()
    more.click()
    expect(hits(searching).nth(before + 10)).to_be_attached()
    expect(box(searching)).to_be_focused()
    expect(hits(searching).nth(before - 1)).to_have_attribute("aria-selected", "true")


def test_a_search_without_results_shows_it(searching: Page) -> None:
    searching.keyboard.type("xylophone")
    expect(searching.get_by_text("Nothing found.")).to_be_visible()
    expect(hits(searching)).to_have_count(0)
    searching.keyboard.press("Enter")
    expect(box(searching)).to_be_focused()


def test_no_character_breaks_the_search(searching: Page) -> None:
    for written in ('"', '"unfinished quote', "*", "a AND (", "-", "ü%_\\", "🦔"):
        with searching.expect_response("**/search?**") as answer:
            box(searching).fill(written)
        assert answer.value.ok
    expect(searching.get_by_text("Nothing found.")).to_be_visible()


def test_escape_closes_the_search_and_restores_the_focus(open_page: OpenPage) -> None:
    page = open_page("zebras")
    link(page, "A long talk").focus()
    page.keyboard.press("Control+k")
    expect(box(page)).to_be_focused()
    page.keyboard.type("zebra")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(link(page, "A long talk")).to_be_focused()

    field(page).fill("half a thought")
    page.keyboard.press("Control+k")
    expect(box(page)).to_be_focused()
    expect(box(page)).to_have_value("")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(field(page)).to_be_focused()
    expect(field(page)).to_have_value("half a thought")
