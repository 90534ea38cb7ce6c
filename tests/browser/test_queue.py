"""Messages that wait for the answer before them."""

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    hold,
    questions,
    release,
    replying,
    send,
    session_of,
    wait_until_answered,
    wait_until_stored,
)
from tests.process import Server, until
from tests.upstream import Answer, Call, Upstream, polite

WAITS = "Queued"


@pytest.fixture
def slow_first(upstream: Upstream, pace: Pace) -> None:
    """A model that answers the message `first` at the test's pace, and all others at once."""
    slow = Answer([f"word{number} " for number in range(10)], pace=pace.semaphore)

    def answer(call: Call) -> Answer:
        return slow if call.messages[-1][1] == "first" else polite(call)

    upstream.script = replying(answer)


def begin(page: Page, pace: Pace) -> None:
    """Have the answer to `first` run."""
    send(page, "first")
    pace.write(2)
    expect(answers(page)).to_contain_text("word1")


def test_a_second_message_waits_and_is_answered_after_the_first(
    page: Page, server: Server, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    send(page, "second")
    expect(questions(page).last).to_contain_text(WAITS)
    expect(questions(page).first).not_to_contain_text(WAITS)
    expect_messages(page, "first", "word1", "second")

    pace.write(1_000)
    expect_messages(page, "first", "word9", "second", "Reply to: second")
    wait_until_answered(page)
    expect(page.get_by_text(WAITS)).to_have_count(0)
    assert [m["role"] for m in server.history(session_of(page))] == ["user", "assistant"] * 2


def test_a_queued_message_can_be_cancelled_and_stays(
    page: Page, server: Server, upstream: Upstream, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    for number, text in enumerate(("second", "third"), start=1):
        send(page, text)
        expect(page.get_by_text(WAITS)).to_have_count(number)
    button(page, "Cancel").first.click()
    expect(page.get_by_text(WAITS)).to_have_count(1)

    pace.write(1_000)
    expect(answers(page).last).to_contain_text("Reply to: third")
    wait_until_answered(page)
    questions_sent = [call.messages[-1][1] for call in upstream.replies]
    assert questions_sent == ["first", "third"]
    session = session_of(page)
    stored = [m for m in server.history(session) if m["content"] == "second"]
    page.reload()
    expect(answers(page).last).to_contain_text("Reply to: third")
    # It was seen while it waited: it may not be gone without a word.
    assert [m["status"] for m in stored] == ["cancelled"]
    expect(questions(page).nth(1)).to_contain_text("second")


def test_the_last_message_that_was_cancelled_while_it_waited_can_be_answered_once_more(
    page: Page, server: Server, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    send(page, "second")
    button(page, "Cancel").click()
    expect(page.get_by_text(WAITS)).to_have_count(0)
    pace.write(1_000)
    expect(answers(page).first).to_contain_text("word9")

    button(page, "Try again").click()
    expect_messages(page, "first", "word9", "second", "Reply to: second")
    wait_until_answered(page)
    assert server.contents(session_of(page))[2:] == ["second", "Reply to: second"]


def test_what_waits_is_there_after_a_reload_and_in_a_second_tab(
    page: Page, open_page: OpenPage, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    send(page, "second")
    expect(page.get_by_text(WAITS)).to_be_visible()
    page.reload()
    expect_messages(page, "first", "word1", "second")
    expect(questions(page).last).to_contain_text(WAITS)
    second = open_page(session_of(page))
    expect_messages(second, "first", "word1", "second")
    expect(questions(second).last).to_contain_text(WAITS)

    pace.write(1_000)
    for tab in (page, second):
        expect_messages(tab, "first", "word9", "second", "Reply to: second")
        wait_until_answered(tab)


def test_stopping_the_running_answer_lets_the_next_one_begin(
    page: Page, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    send(page, "second")
    expect(page.get_by_text(WAITS)).to_be_visible()
    page.keyboard.press("Escape")
    expect_messages(page, "first", "Stopped.", "second", "Reply to: second")
    expect(answers(page).first).to_contain_text("word0 word1")


def test_the_page_stays_usable_however_many_messages_wait_in_two_tabs(
    page: Page, open_page: OpenPage, slow_first: None, pace: Pace
) -> None:
    """A browser has six connections to a server."""
    begin(page, pace)
    for number in range(2, 9):
        send(page, f"message {number}")
        expect(questions(page).last).to_contain_text(f"message {number}")
        expect(questions(page).last).to_contain_text(WAITS)
    second = open_page(session_of(page))
    expect(questions(second).last).to_contain_text("message 8")
    expect(questions(second).last).to_contain_text(WAITS)
    button(second, "Stop").click()
    for tab in (page, second):
        expect(answers(tab).last).to_contain_text("Reply to: message 8")
        wait_until_answered(tab)
        expect(tab.get_by_text(WAITS)).to_have_count(0)


def test_an_old_history_that_arrives_late_removes_nothing_from_the_page(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(["one ", "two"], pace=pace.semaphore))
    one_answer = 5  # two pieces of text and the three events that end it
    send(page, "first")
    expect(button(page, "Stop")).to_be_visible()
    send(page, "second")
    expect(page.get_by_text(WAITS)).to_be_visible()
    routes: list[Route] = []
    responses: list[APIResponse] = []

    def hold_the_first(route: Route) -> None:
        routes.append(route)
        if len(routes) == 1:
            responses.append(route.fetch())
        else:
            route.fallback()

    page.route("**/history/**", hold_the_first)
    with page.expect_request("**/history/**"):
        pace.write(one_answer)
    # Asking the page something lets what Playwright intercepts go on.
    until(lambda: page.evaluate("1") and responses)
    pace.write(one_answer)
    wait_until_stored(page)
    expect_messages(page, "first", "one two", "second", "one two")

    with page.expect_request_finished(lambda request: request == routes[0].request):
        routes[0].fulfill(response=responses[0])
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    expect_messages(page, "first", "one two", "second", "one two")


def test_answers_that_come_faster_than_the_history_is_read_stay_in_their_order(
    page: Page, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    texts = [f"message {number}" for number in range(2, 6)]
    for number, text in enumerate(texts, start=1):
        send(page, text)
        expect(page.get_by_text(WAITS)).to_have_count(number)
    routes = hold(page, "**/history/**")
    pace.write(1_000)
    both = [part for text in texts for part in (text, f"Reply to: {text}")]
    expect_messages(page, "first", "word9", *both)

    release(page, "**/history/**", routes)
    wait_until_stored(page)
    expect(answers(page).locator(".figures")).to_have_count(5)
    expect_messages(page, "first", "word9", *both)


def test_a_tab_that_is_open_already_shows_what_begins_to_wait(
    page: Page, open_page: OpenPage, slow_first: None, pace: Pace
) -> None:
    begin(page, pace)
    second = open_page(session_of(page))
    expect_messages(second, "first", "word1")
    send(page, "second")
    expect(questions(page).last).to_contain_text(WAITS)
    expect_messages(second, "first", "word1", "second")
    expect(questions(second).last).to_contain_text(WAITS)
    button(second, "Cancel").click()
    for tab in (page, second):
        expect(tab.get_by_text(WAITS)).to_have_count(0)


def test_a_message_for_another_branch_waits_on_its_branch(
    page: Page, server: Server, slow_first: None, pace: Pace
) -> None:
    """An edit while an answer runs waits too, and becomes the branch that is shown."""
    send(page, "zero")
    wait_until_answered(page)
    first_message = "first"
    send(page, first_message)
    pace.write(2)
    expect(answers(page).last).to_contain_text("word1")
    questions(page).first.hover()
    button(page, "Edit the message").first.click()
    page.get_by_role("textbox", name="Edit the message").fill("nought")
    page.keyboard.press("Enter")
    expect(questions(page).last).to_contain_text("nought")
    pace.write(1_000)
    expect_messages(page, "nought", "Reply to: nought")
    expect(page.get_by_text("2/2")).to_be_visible()
    wait_until_answered(page)
    assert server.contents(session_of(page)) == ["nought", "Reply to: nought"]
    button(page, "Previous branch").click()
    expect_messages(page, "zero", "Reply to: zero", "first", "word9")
