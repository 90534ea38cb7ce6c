"""What a person does with the sessions of the list: name, pin, archive, delete, and undo that."""

import re

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import answers, field, send
from tests.browser.session_list import (
    StoredSession,
    choose_from_menu,
    choose_option,
    link,
    links,
    record_requests,
    store,
)
from tests.process import Server, until
from tests.upstream import Upstream

UNDO_MS = 8_000


def pinned(page: Page) -> list[str]:
    """The titles below the heading of the pinned ones."""
    rows = page.get_by_role("navigation").locator("h2, a")
    texts = [text.strip() for text in rows.all_inner_texts()]
    labels = page.get_by_role("navigation").get_by_role("heading").all_inner_texts()
    if "Pinned" not in labels:
        return []
    end = texts.index(labels[1]) if len(labels) > 1 else len(texts)
    return texts[1:end]


def is_deletion(response: Response) -> bool:
    return response.request.method == "DELETE"


@pytest.mark.parametrize("way", ["menu", "F2", "double click"])
def test_a_session_is_renamed_in_the_list(page: Page, server: Server, way: str) -> None:
    store(server, StoredSession(f"old by {way}"))
    page.reload()
    if way == "menu":
        choose_option(page, f"old by {way}", "Rename")
    elif way == "F2":
        link(page, f"old by {way}").press("F2")
    else:
        link(page, f"old by {way}").dblclick()
    field = page.get_by_role("textbox", name="Title")
    expect(field).to_be_focused()
    expect(field).to_have_value(f"old by {way}")

    # All of it is selected: what is typed replaces it.
    page.keyboard.type(f"  new by {way} ")
    page.keyboard.press("Enter")
    expect(link(page, f"new by {way}")).to_be_focused()
    until(lambda: server.sessions()[f"old by {way}"]["title"] == f"new by {way}")


def test_a_key_that_follows_f2_at_once_reaches_the_title(page: Page, server: Server) -> None:
    store(server, StoredSession("renamed fast"))
    page.reload()
    # Microtasks alone come between the two keys, no frame: no key of a user can come sooner.
    focused = link(page, "renamed fast").evaluate("""async (link) => {
        link.focus();
        link.dispatchEvent(new KeyboardEvent("keydown", { key: "F2", bubbles: true }));
        for (let turn = 0; turn < 20; turn += 1) await null;
        const { ariaLabel, selectionStart, selectionEnd } = document.activeElement;
        return [ariaLabel, selectionStart, selectionEnd];
    }""")
    assert focused == ["Title", 0, len("renamed fast")]


def test_escape_leaves_a_title_unchanged_and_a_title_cannot_be_empty(
    page: Page, server: Server
) -> None:
    store(server, StoredSession("old title"))
    page.reload()
    requests = record_requests(page)
    for written, key in (("another", "Escape"), ("", "Enter"), ("   ", "Enter")):
        link(page, "old title").press("F2")
        field = page.get_by_role("textbox", name="Title")
        expect(field).to_be_focused()
        field.fill(written)
        page.keyboard.press(key)
        expect(link(page, "old title")).to_be_focused()
    assert not [request for request in requests if request.startswith("PATCH")]
    assert server.sessions()["old title"]["title"] == "old title"


def test_a_title_that_a_person_gives_above_the_conversation_stays(
    open_page: OpenPage, server: Server, upstream: Upstream
) -> None:
    server.chat("named", "what is it called?")
    page = open_page("named")
    heading = page.get_by_role("heading", level=1)
    heading.get_by_role("button").click()
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()
    page.keyboard.type("Mine")
    page.keyboard.press("Enter")
    expect(heading).to_have_text("Mine")
    expect(link(page, "Mine")).to_be_visible()

    send(page, "and now?")
    expect(answers(page).last).to_contain_text("Reply to: and now?")
    page.reload()
    expect(heading).to_have_text("Mine")
    assert server.sessions()["named"]["title_source"] == "user"


def test_a_pinned_session_is_above_the_others_until_it_is_unpinned(
    page: Page, server: Server
) -> None:
    store(server, StoredSession("to pin"), StoredSession("not to pin"))
    page.reload()
    choose_option(page, "to pin", "Pin")
    until(lambda: pinned(page) == ["to pin"])
    page.reload()
    expect(link(page, "not to pin")).to_be_visible()
    until(lambda: pinned(page) == ["to pin"])

    choose_option(page, "to pin", "Unpin")
    expect(page.get_by_role("heading", name="Pinned")).to_have_count(0)
    expect(link(page, "to pin")).to_be_visible()


def test_an_archived_session_is_in_the_archive_until_it_is_unarchived(
    page: Page, server: Server
) -> None:
    store(server, StoredSession("to archive"), StoredSession("not to archive"))
    page.reload()
    choose_option(page, "to archive", "Archive")
    expect(link(page, "to archive")).to_have_count(0)
    choose_from_menu(page, "Archive")
    expect(page.get_by_role("heading", name="Archive", exact=True)).to_be_visible()
    expect(link(page, "to archive")).to_be_visible()
    expect(link(page, "not to archive")).to_have_count(0)

    choose_option(page, "to archive", "Unarchive")
    expect(page.get_by_text("The archive is empty.")).to_be_visible()
    page.get_by_role("button", name="Back to the conversations").click()
    expect(page.get_by_role("heading", name="Archive", exact=True)).to_have_count(0)
    expect(link(page, "to archive")).to_be_visible()
    expect(link(page, "not to archive")).to_be_visible()


@pytest.mark.own_context
def test_an_undone_deletion_deletes_nothing(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("to keep"))
    page = open_page("to keep")
    page.clock.install()
    requests = record_requests(page)
    choose_option(page, "to keep", "Delete")
    expect(page.get_by_text("Deleted “to keep”.")).to_be_visible()
    expect(link(page, "to keep")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")

    page.get_by_role("button", name="Undo").click()
    expect(link(page, "to keep")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("to keep")
    expect(answers(page)).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    page.clock.fast_forward(UNDO_MS * 2)
    assert "to keep" in server.sessions()
    assert not [request for request in requests if request.startswith("DELETE")]


@pytest.mark.own_context
def test_a_session_is_deleted_when_nobody_undoes_it(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("to lose", title="Lost"))
    page = open_page("to lose")
    page.clock.install()
    link(page, "Lost").press("Delete")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(field(page)).to_be_visible()
    assert "to lose" in server.sessions()

    with page.expect_response(is_deletion) as deletion:
        page.clock.fast_forward(UNDO_MS)
    assert deletion.value.status == 204
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    assert "to lose" not in server.sessions()


def test_closing_the_page_deletes_what_nobody_has_undone(page: Page, server: Server) -> None:
    store(server, StoredSession("to lose at once"))
    page.reload()
    choose_option(page, "to lose at once", "Delete")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.close(run_before_unload=True)
    until(lambda: "to lose at once" not in server.sessions())


def test_each_of_two_deletions_can_be_undone(page: Page, server: Server) -> None:
    store(server, StoredSession("one of two"), StoredSession("two of two"))
    page.reload()
    choose_option(page, "one of two", "Delete")
    choose_option(page, "two of two", "Delete")
    toast = page.get_by_role("status").locator("div").filter(has_text="one of two")
    toast.get_by_role("button", name="Undo").click()
    expect(link(page, "one of two")).to_be_visible()
    expect(link(page, "two of two")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(link(page, "two of two")).to_be_visible()


@pytest.mark.own_context
def test_a_deletion_that_the_server_refuses_is_reported_and_reverted(
    page: Page, server: Server, page_errors: list[str]
) -> None:
    store(server, StoredSession("not to be deleted"))
    page.reload()
    page.clock.install()
    page.route(
        "**/sessions/**",
        lambda route: route.fulfill(status=503, json={"detail": "The disk is full."}),
    )
    choose_option(page, "not to be deleted", "Delete")
    with page.expect_response(is_deletion):
        page.clock.fast_forward(UNDO_MS)
    expect(page.get_by_text("Not deleted. The disk is full.")).to_be_visible()
    expect(link(page, "not to be deleted")).to_be_visible()
    assert links(page).filter(has_text=re.compile("not to be deleted")).count() == 1
    assert [error for error in page_errors if "503" in error] == page_errors
    page_errors.clear()
