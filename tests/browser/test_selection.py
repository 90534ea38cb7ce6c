"""Several conversations at once: chosen in the list, then archived, carried away or deleted."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import answers, button
from tests.browser.session_list import StoredSession, choose_from_menu, choose_option, link, store
from tests.browser.test_access import AccessibilityReport
from tests.process import Server, until

NAMES = ("one", "two", "three", "four", "five")


@pytest.fixture
def prefix(request: pytest.FixtureRequest, server: Server) -> str:
    """What the sessions of a test begin with; they are at the top of the list, in this order."""
    prefix = re.sub(r"\W+", " ", request.node.name)[-40:]
    store(server, *(StoredSession(f"{prefix} {name}") for name in reversed(NAMES)))
    return prefix


def box(page: Page, title: str) -> Locator:
    return page.get_by_role("navigation").get_by_role("checkbox", name=title, exact=True)


def chosen(page: Page) -> list[str]:
    """The last word of each title that is chosen."""
    boxes = page.get_by_role("navigation").get_by_role("checkbox", checked=True)
    return [text.split()[-1] for text in boxes.all_inner_texts()]


def are_chosen(page: Page, *names: str) -> None:
    until(lambda: chosen(page) == list(names))
    expect(page.get_by_role("status").get_by_text(f"{len(names)} selected")).to_be_visible()


def bar(page: Page) -> Locator:
    return page.get_by_role("group", name="Selected conversations")


def is_over(page: Page) -> None:
    expect(bar(page)).to_have_count(0)
    expect(page.get_by_role("navigation").get_by_role("checkbox")).to_have_count(0)


def test_several_are_deleted_and_one_undo_brings_all_back(
    page: Page, server: Server, prefix: str
) -> None:
    choose_option(page, f"{prefix} two", "Select")
    are_chosen(page, "two")
    box(page, f"{prefix} four").click()
    box(page, f"{prefix} five").click()
    box(page, f"{prefix} five").click()
    box(page, f"{prefix} one").click()
    are_chosen(page, "one", "two", "four")

    bar(page).get_by_role("button", name="Delete").click()
    is_over(page)
    expect(page.get_by_text("Deleted 3 conversations.")).to_be_visible()
    expect(link(page, f"{prefix} one")).to_have_count(0)
    expect(link(page, f"{prefix} three")).to_be_visible()
    button(page, "Undo").click()
    for name in NAMES:
        expect(link(page, f"{prefix} {name}")).to_be_visible()
    assert {f"{prefix} {name}" for name in NAMES} <= server.sessions().keys()


@pytest.mark.own_context
def test_several_are_deleted_when_nobody_undoes_it(
    open_page: OpenPage, server: Server, prefix: str
) -> None:
    page = open_page(f"{prefix} two")
    page.clock.install()
    for name in ("two", "three"):
        link(page, f"{prefix} {name}").or_(box(page, f"{prefix} {name}")).click(
            modifiers=["ControlOrMeta"]
        )
    are_chosen(page, "two", "three")
    page.keyboard.press("Delete")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    with page.expect_response(lambda response: response.url.endswith("three")) as last:
        page.clock.fast_forward(9_000)
    assert last.value.status == 204
    until(lambda: not {f"{prefix} two", f"{prefix} three"} & server.sessions().keys())
    left = [name for name in NAMES if f"{prefix} {name}" in server.sessions()]
    assert left == ["one", "four", "five"]


def test_closing_the_page_deletes_all_that_were_chosen(
    page: Page, server: Server, prefix: str
) -> None:
    choose_option(page, f"{prefix} one", "Select")
    box(page, f"{prefix} five").click(modifiers=["Shift"])
    are_chosen(page, *NAMES)
    bar(page).get_by_role("button", name="Delete").click()
    expect(button(page, "Undo")).to_be_visible()
    page.close(run_before_unload=True)
    until(lambda: not any(name.startswith(prefix) for name in server.sessions()))


@pytest.mark.own_context
def test_a_deletion_of_several_that_fails_in_part_is_reported_once(
    page: Page, server: Server, prefix: str, page_errors: list[str]
) -> None:
    page.clock.install()
    page.route(
        re.compile("sessions/.*(two|three)$"),
        lambda route: route.fulfill(status=503, json={"detail": "The disk is full."}),
    )
    choose_option(page, f"{prefix} one", "Select")
    box(page, f"{prefix} three").click(modifiers=["Shift"])
    bar(page).get_by_role("button", name="Delete").click()
    page.clock.fast_forward(9_000)
    expect(page.get_by_text("Not deleted. The disk is full.")).to_have_count(1)
    expect(link(page, f"{prefix} two")).to_be_visible()
    expect(link(page, f"{prefix} three")).to_be_visible()
    until(lambda: f"{prefix} one" not in server.sessions())
    assert all("503" in error for error in page_errors)
    page_errors.clear()


def test_several_are_archived_and_unarchived(page: Page, server: Server, prefix: str) -> None:
    link(page, f"{prefix} one").click()
    link(page, f"{prefix} three").click(modifiers=["Shift"])
    # A range begins at the conversation that is shown.
    are_chosen(page, "one", "two", "three")
    bar(page).get_by_role("button", name="Archive").click()
    is_over(page)
    expect(page.get_by_text("Archived 3 conversations.")).to_be_visible()
    button(page, "Undo").click()
    for name in NAMES:
        expect(link(page, f"{prefix} {name}")).to_be_visible()

    for name in ("four", "five"):
        choose_option(page, f"{prefix} {name}", "Archive")
    choose_from_menu(page, "Archive")
    choose_option(page, f"{prefix} four", "Select")
    box(page, f"{prefix} five").click()
    bar(page).get_by_role("button", name="Unarchive").click()
    expect(page.get_by_text("Unarchived 2 conversations.")).to_be_visible()
    button(page, "Back to the conversations").click()
    expect(link(page, f"{prefix} four")).to_be_visible()
    expect(link(page, f"{prefix} five")).to_be_visible()


def test_several_are_exported_in_one_file(page: Page, server: Server, prefix: str) -> None:
    choose_option(page, f"{prefix} one", "Select")
    box(page, f"{prefix} three").click()
    with page.expect_download() as download:
        bar(page).get_by_role("link", name="Export").click()
    text = Path(download.value.path()).read_text()
    names = [name for name in NAMES if f"{prefix} {name}" in text]
    assert names == ["one", "three"]
    assert Path(download.value.suggested_filename).suffix == ".jsonl"
    are_chosen(page, "one", "three")


def test_selecting_more_than_can_be_exported_shows_the_limit(page: Page, server: Server) -> None:
    store(server, *(StoredSession(f"many {number}") for number in range(101)))
    expect(link(page, "many 100")).to_be_visible()
    choose_option(page, "many 100", "Select")
    expect(box(page, "many 100")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    expect(bar(page).get_by_role("button", name="Export")).to_be_disabled()
    expect(bar(page)).to_contain_text("Up to 100 can be exported at a time.")
    bar(page).get_by_role("button", name="Cancel").click()
    is_over(page)


def test_several_are_selected_with_the_keyboard_alone(
    page: Page, server: Server, prefix: str
) -> None:
    link(page, f"{prefix} two").press("x")
    expect(box(page, f"{prefix} two")).to_be_focused()
    are_chosen(page, "two")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(box(page, f"{prefix} four")).to_be_focused()
    page.keyboard.press("Space")
    are_chosen(page, "two", "four")
    page.keyboard.press("Shift+ArrowDown")
    expect(box(page, f"{prefix} five")).to_be_focused()
    are_chosen(page, "two", "four", "five")
    page.keyboard.press("x")
    are_chosen(page, "two", "four")

    page.keyboard.press("Escape")
    is_over(page)
    expect(link(page, f"{prefix} five")).to_be_focused()
    page.keyboard.press("Shift+ArrowUp")
    are_chosen(page, "four", "five")
    page.keyboard.press("Tab")
    expect(bar(page).get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Archived 2 conversations.")).to_be_visible()
    assert page.evaluate("document.activeElement !== document.body")
    button(page, "Undo").press("Enter")

    link(page, f"{prefix} one").press("Space")
    are_chosen(page, "one")
    page.keyboard.press("Delete")
    expect(page.get_by_text(f"Deleted “{prefix} one”.")).to_be_visible()
    expect(page.get_by_role("navigation").locator(":focus")).to_have_count(1)
    button(page, "Undo").click()


def test_selecting_opens_nothing_and_escape_stops_no_answer_meanwhile(
    open_page: OpenPage, server: Server, prefix: str
) -> None:
    page = open_page(f"{prefix} one")
    expect(answers(page)).to_be_visible()
    choose_option(page, f"{prefix} two", "Select")
    box(page, f"{prefix} three").dblclick()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{prefix} one")
    page.get_by_role("textbox", name="Message", exact=True).press("Escape")
    is_over(page)


def test_what_another_program_deletes_is_no_longer_selected(
    page: Page, server: Server, prefix: str
) -> None:
    choose_option(page, f"{prefix} one", "Select")
    box(page, f"{prefix} two").click()
    are_chosen(page, "one", "two")
    with server.client() as client:
        assert client.delete(f"/sessions/{prefix} two").is_success
    are_chosen(page, "one")


def test_axe_finds_nothing_while_several_are_chosen(
    page: Page, server: Server, prefix: str
) -> None:
    report = AccessibilityReport(page)
    choose_option(page, f"{prefix} one", "Select")
    box(page, f"{prefix} three").click()
    report.check("selection")
    box(page, f"{prefix} one").click()
    box(page, f"{prefix} three").click()
    report.check("nothing selected")
    box(page, f"{prefix} three").click()
    report.check("one selected")
    assert not report.violations, "\n\n".join(report.violations)
