"""Thousands of sessions: only what can be seen is in the page, and only pages of them are read."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.session_list import (
    StoredSession,
    choose_option,
    link,
    links,
    record_requests,
    store,
)
from tests.process import Server, until
from tests.upstream import Upstream

NOW = datetime(2026, 6, 17, 12, tzinfo=UTC)
DAYS_AGO = (0, 1, 5, 20, 50)
LABELS = ("Today", "Yesterday", "Previous 7 days", "Previous 30 days", "April 2026")
COUNT, FIRST, NEXT, MOST_LINKS = 2_200, 100, 500, 80
"""Sessions in all, on the first page, on each other one; and links that may be in the page."""


def name(index: int) -> str:
    """The title of the session at this index, counted from 0."""
    near = len(DAYS_AGO)
    return f"{DAYS_AGO[index]} days ago" if index < near else f"number {index}"


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    """A server of their own: it takes longer to delete so many sessions than to start another."""
    times = [NOW - timedelta(days=days) for days in DAYS_AGO]
    start = NOW - timedelta(days=800)
    times += [start - timedelta(minutes=index) for index in range(COUNT - len(times))]
    sessions = [StoredSession(name(index), messages=(), at=at) for index, at in enumerate(times)]
    env = {**running_upstream.env, "CHATKEEP_MODEL": "openai:scripted"}
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        for first in range(0, COUNT, NEXT):
            store(running, *sessions[first : first + NEXT])
        yield running


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    page = open_page()
    expect(link(page, name(len(DAYS_AGO)))).to_be_visible()
    return page


def height(page: Page) -> int:
    """How long the whole list is, in pixels."""
    pixels: int = page.get_by_role("navigation").evaluate(
        "nav => nav.querySelector('.sessions').scrollHeight"
    )
    return pixels


@pytest.mark.own_context
def test_sessions_are_grouped_by_how_long_ago_they_were(
    context: BrowserContext, open_page: OpenPage
) -> None:
    context.clock.set_fixed_time(NOW)
    page = open_page()
    rows = page.get_by_role("navigation").locator("h2, a")
    for index, label in enumerate(LABELS):
        expect(rows.nth(index * 2)).to_have_text(label)
        expect(rows.nth(index * 2 + 1)).to_have_text(name(index))
    expect(rows.nth(len(LABELS) * 2)).to_have_text("Older")
    expect(rows.nth(len(LABELS) * 2 + 1)).to_have_text(name(len(LABELS)))


def test_the_wheel_loads_more_and_only_visible_sessions_are_rendered(page: Page) -> None:
    requests = record_requests(page)
    links(page).first.hover()
    for step in range(1, 5):
        with page.expect_response("**/sessions?**"):
            page.mouse.wheel(0, 40 * NEXT)
        expect(link(page, name(3))).to_have_count(0)
        assert links(page).count() < MOST_LINKS
        assert len(requests) <= 2 * step
    assert set(requests) == {"GET /sessions"}


def test_the_end_key_reaches_the_last_session_page_by_page(page: Page) -> None:
    requests = record_requests(page)
    links(page).first.focus()
    known_by_then = range(FIRST, COUNT, NEXT)
    for known in known_by_then:
        before = height(page)
        page.keyboard.press("End")
        expect(link(page, name(known - 1))).to_be_focused()
        assert links(page).count() < MOST_LINKS
        until(lambda before=before: height(page) > before)
    page.keyboard.press("End")
    expect(link(page, name(COUNT - 1))).to_be_focused()
    expect(link(page, name(COUNT - 1))).to_be_in_viewport()
    # The first page was read before, and each of the others once.
    assert requests == ["GET /sessions"] * len(known_by_then)

    page.keyboard.press("Home")
    expect(link(page, name(0))).to_be_focused()
    expect(link(page, name(0))).to_be_in_viewport()


@pytest.mark.own_context
def test_a_change_sends_only_its_own_request(page: Page, server: Server) -> None:
    page.clock.install()
    requests = record_requests(page)
    choose_option(page, name(5), "Rename")
    page.get_by_role("textbox", name="Title").fill("nothing")
    page.keyboard.press("Enter")
    expect(link(page, "nothing")).to_be_visible()
    choose_option(page, name(6), "Pin")
    expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
    choose_option(page, name(7), "Archive")
    expect(link(page, name(7))).to_have_count(0)
    choose_option(page, name(8), "Delete")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.clock.fast_forward(9_000)

    # Events arrive in order: after this one no more requests can follow from the changes.
    server.chat("the end", "This is the end")
    expect(page.locator('[data-session="the end"]')).to_be_visible()
    changes = zip(("PATCH", "PATCH", "PATCH", "DELETE"), range(5, 9), strict=True)
    made = [request for request in requests if not request.endswith("/the%20end")]
    assert made == [f"{method} /sessions/number%20{index}" for method, index in changes]
