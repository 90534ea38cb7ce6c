"""The list of sessions follows every change without being requested again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import answers, field, send
from tests.browser.session_list import (
    StoredSession,
    choose_option,
    expect_error,
    link,
    links,
    record_requests,
    store,
)
from tests.process import Server
from tests.upstream import Answer, Call, Upstream

UNESCAPED = "!*'()~"
"""What `encodeURIComponent` leaves as it is, beside letters, digits and `-_.`."""
ODD_IDS = ("a/b c", "ü/狐?x=1#y", "100%", "%2F..%3F", "?", "#/", "a+b&c=d", "'\"<b>")


def test_a_session_that_another_program_starts_appears_answers_and_is_named(
    page: Page, server: Server, upstream: Upstream
) -> None:
    replied, named = threading.Event(), threading.Event()

    def script(call: Call) -> Answer:
        if call.is_title:
            return Answer(["Whales beneath the waves"], gate=named)
        return Answer(["Many whales."], gate=replied)

    upstream.script = script
    requests = record_requests(page)
    question = "Which whales live beneath the waves?"
    with ThreadPoolExecutor() as elsewhere:
        answer = elsewhere.submit(server.chat, "whales", question)
        item = links(page).and_(page.locator("[data-session=whales]"))
        expect(item).to_contain_text("beneath")
        expect(item).not_to_have_text("Whales beneath the waves")
        expect(item.get_by_role("img", name="Answering")).to_be_visible()
        named.set()
        expect(item).to_have_text("Whales beneath the waves")
        replied.set()
        expect(item.get_by_role("img", name="Answering")).to_have_count(0)
        assert answer.result().status_code == 200
    assert "GET /sessions" not in requests


def test_a_session_that_answers_comes_to_the_top(page: Page, server: Server) -> None:
    at = datetime.now(UTC) - timedelta(days=2)
    store(
        server, StoredSession("first", at=at), StoredSession("second", at=at - timedelta(hours=1))
    )
    page.reload()
    expect(link(page, "second")).to_be_visible()

    server.chat("second", "and on")

    expect(links(page).first).to_have_text("second")
    rows = page.get_by_role("navigation").locator("h2, a")
    expect(rows.first).to_have_text("Today")


def test_sessions_that_another_program_imports_appear_in_order(page: Page, server: Server) -> None:
    now = datetime.now(UTC)
    old = StoredSession("carried here", at=now - timedelta(days=900))
    store(server, old, StoredSession("brought here", at=now))

    expect(link(page, "carried here")).to_be_visible()
    expect(links(page).first).to_have_text("brought here")
    rows = page.get_by_role("navigation").locator("h2, a")
    expect(rows.first).to_have_text("Today")
    expect(rows.last).to_have_text("carried here")


def test_what_one_tab_changes_the_others_show(open_page: OpenPage, server: Server) -> None:
    store(
        server,
        *(StoredSession(f"{change} me") for change in ("rename", "pin", "archive", "delete")),
    )
    here, there = open_page(), open_page()
    choose_option(there, "rename me", "Rename")
    expect(there.get_by_role("textbox", name="Title")).to_be_focused()
    there.keyboard.type("renamed there")
    there.keyboard.press("Enter")
    choose_option(there, "pin me", "Pin")
    choose_option(there, "archive me", "Archive")
    choose_option(there, "delete me", "Delete")
    there.goto("about:blank")

    expect(link(here, "renamed there")).to_be_visible()
    expect(here.get_by_role("heading", name="Pinned")).to_be_visible()
    expect(links(here).first).to_have_text("pin me")
    for gone in ("rename me", "archive me", "delete me"):
        expect(link(here, gone)).to_have_count(0)


def test_a_conversation_that_another_program_deletes_shows_it(
    open_page: OpenPage, server: Server
) -> None:
    store(server, StoredSession("short-lived"))
    page = open_page("short-lived")
    expect(answers(page)).to_be_visible()
    with server.client() as client:
        assert client.delete("/sessions/short-lived").is_success

    expect(page.get_by_role("heading", name="There is no such conversation.")).to_be_visible()
    expect(link(page, "short-lived")).to_have_count(0)
    page.get_by_role("main").get_by_role("link", name="New chat").click()
    expect(field(page)).to_be_focused()


def test_an_address_of_no_conversation_shows_it(page: Page, page_errors: list[str]) -> None:
    page.goto("#/nobody%20knows%20it")
    expect(page.get_by_role("heading", name="There is no such conversation.")).to_be_visible()
    expect(page.get_by_text("It may have been deleted.")).to_be_visible()
    expect_error(page_errors, "404")


def test_a_session_may_be_called_anything(page: Page, server: Server) -> None:
    named = {session: f"odd {number}" for number, session in enumerate(ODD_IDS)}
    store(server, *(StoredSession(session, title) for session, title in named.items()))
    page.reload()
    heading = page.get_by_role("heading", level=1)
    for session, title in named.items():
        link(page, title).click()
        expect(heading).to_have_text(title)
        assert page.url == f"{server.url}/#/{quote(session, safe=UNESCAPED)}"
        page.reload()
        expect(heading).to_have_text(title)
        expect(answers(page)).to_contain_text("Hello to you.")

        send(page, "and who are you?")
        expect(answers(page).last).to_contain_text("Reply to: and who are you?")
        assert server.contents(session)[2] == "and who are you?"


def test_ctrl_shift_o_begins_a_new_conversation(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("left behind"))
    page = open_page("left behind")
    link(page, "left behind").focus()
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(field(page)).to_be_focused()
    assert page.url.endswith("#/")
