"""Another answer, other words: what was there before stays, one press away."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    questions,
    replying,
    send,
    session_of,
    wait_until_answered,
)
from tests.process import Server
from tests.upstream import Answer, Call, Upstream


@pytest.fixture
def counting(upstream: Upstream) -> None:
    """A model whose every reply is another one."""

    def count(call: Call) -> Answer:
        return Answer([f"Reply {len(upstream.replies)} to: {call.messages[-1][1]}"])

    upstream.script = replying(count)


def edit(page: Page, number: int, text: str) -> None:
    """Send the message with this number, counted from 0, in other words."""
    questions(page).nth(number).hover()
    questions(page).nth(number).get_by_role("button", name="Edit the message").click()
    page.get_by_role("textbox", name="Edit the message").fill(text)
    page.keyboard.press("Enter")


def test_another_answer_is_a_branch_beside_the_first(
    page: Page, open_page: OpenPage, server: Server, counting: None
) -> None:
    send(page, "hello")
    expect_messages(page, "hello", "Reply 1 to: hello")
    second = open_page(session_of(page))
    expect_messages(second, "hello", "Reply 1 to: hello")

    button(page, "Regenerate").click()
    for tab in (page, second):
        expect_messages(tab, "hello", "Reply 2 to: hello")
        expect(answers(tab)).to_contain_text("2/2")
        expect(button(tab, "Next branch")).to_be_disabled()

    button(page, "Previous branch").click()
    for tab in (page, second):
        expect_messages(tab, "hello", "Reply 1 to: hello")
        expect(answers(tab)).to_contain_text("1/2")
        expect(button(tab, "Previous branch")).to_be_disabled()
    assert server.contents(session_of(page)) == ["hello", "Reply 1 to: hello"]

    button(second, "Next branch").click()
    for tab in (page, second):
        expect_messages(tab, "hello", "Reply 2 to: hello")


def test_a_message_continues_the_chosen_branch(
    page: Page, upstream: Upstream, counting: None
) -> None:
    send(page, "hello")
    wait_until_answered(page)
    button(page, "Regenerate").click()
    expect(answers(page)).to_contain_text("2/2")
    button(page, "Previous branch").click()
    expect_messages(page, "hello", "Reply 1 to: hello")
    send(page, "go on")
    expect_messages(page, "hello", "Reply 1 to: hello", "go on", "Reply 3 to: go on")
    assert [text for _, text in upstream.replies[-1].messages[1:]] == [
        "hello",
        "Reply 1 to: hello",
        "go on",
    ]
    answers(page).first.hover()
    button(page, "Next branch").click()
    expect_messages(page, "hello", "Reply 2 to: hello")
    answers(page).first.hover()
    button(page, "Previous branch").click()
    expect_messages(page, "hello", "Reply 1 to: hello", "go on", "Reply 3 to: go on")


def test_an_edited_message_is_a_branch_and_the_old_one_has_all_that_followed(
    page: Page, open_page: OpenPage, counting: None
) -> None:
    for text in ("one", "two", "three"):
        send(page, text)
        expect(answers(page).last).to_contain_text(f"to: {text}")
        wait_until_answered(page)
    before = ["one", "Reply 1", "two", "Reply 2", "three", "Reply 3"]
    expect_messages(page, *before)
    second = open_page(session_of(page))
    expect_messages(second, *before)

    edit(page, 1, "two, edited")
    for tab in (page, second):
        expect_messages(tab, "one", "Reply 1", "two, edited", "Reply 4 to: two, edited")
        expect(questions(tab).last).to_contain_text("2/2")

    questions(page).last.get_by_role("button", name="Previous branch").click()
    for tab in (page, second):
        expect_messages(tab, *before)
        expect(questions(tab).nth(1)).to_contain_text("1/2")


def test_the_very_first_message_can_be_edited(page: Page, server: Server, counting: None) -> None:
    send(page, "one")
    wait_until_answered(page)
    send(page, "two")
    expect_messages(page, "one", "Reply 1", "two", "Reply 2")
    wait_until_answered(page)

    edit(page, 0, "a new beginning")
    expect_messages(page, "a new beginning", "Reply 3 to: a new beginning")
    expect(questions(page)).to_contain_text("2/2")
    wait_until_answered(page)
    assert server.contents(session_of(page)) == ["a new beginning", "Reply 3 to: a new beginning"]

    edit(page, 0, "and another")
    expect_messages(page, "and another", "Reply 4 to: and another")
    expect(questions(page)).to_contain_text("3/3")
    page.reload()
    expect_messages(page, "and another", "Reply 4 to: and another")
    button(page, "Previous branch").click()
    expect(questions(page)).to_contain_text("2/3")
    button(page, "Previous branch").click()
    expect_messages(page, "one", "Reply 1", "two", "Reply 2")


def test_escape_cancels_an_edit_and_stops_nothing(
    page: Page, upstream: Upstream, server: Server, pace: Pace
) -> None:
    send(page, "count")
    wait_until_answered(page)
    upstream.script = replying(Answer(["one ", "two ", "three "], pace=pace.semaphore))
    send(page, "again")
    pace.write(1)
    expect(answers(page).last).to_contain_text("one")

    opener = questions(page).first.get_by_role("button", name="Edit the message")
    opener.focus()
    page.keyboard.press("Enter")
    field = page.get_by_role("textbox", name="Edit the message")
    expect(field).to_be_focused()
    expect(field).to_have_value("count")
    page.keyboard.type(" to three")
    page.keyboard.press("Escape")

    expect(field).to_have_count(0)
    expect(opener).to_be_focused()
    expect(questions(page).first).to_contain_text("count")
    expect(questions(page).first).not_to_contain_text("three")
    expect(button(page, "Stop")).to_be_visible()
    pace.write(1_000)
    wait_until_answered(page)
    assert server.history(session_of(page))[-1]["status"] == "completed"


def test_an_edit_can_have_lines_and_be_cancelled_with_a_button(page: Page, server: Server) -> None:
    send(page, "one")
    wait_until_answered(page)
    opener = questions(page).get_by_role("button", name="Edit the message")
    opener.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    field = page.get_by_role("textbox", name="Edit the message")
    expect(field).to_have_value("one\ntwo")
    button(page, "Cancel").click()
    expect(opener).to_be_focused()
    opener.click()
    expect(field).to_have_value("one")
    field.fill("one\ntwo")
    questions(page).get_by_role("button", name="Send").click()
    expect(questions(page)).to_contain_text("2/2")
    wait_until_answered(page)
    assert server.contents(session_of(page))[0] == "one\ntwo"


def test_a_streaming_regeneration_replaces_the_first_answer(
    page: Page, open_page: OpenPage, upstream: Upstream, counting: None, pace: Pace
) -> None:
    send(page, "hello")
    expect_messages(page, "hello", "Reply 1 to: hello")
    second = open_page(session_of(page))
    expect_messages(second, "hello", "Reply 1 to: hello")
    upstream.script = replying(Answer(["Another ", "answer"], pace=pace.semaphore))
    button(page, "Regenerate").click()
    pace.write(1)
    for tab in (page, second):
        expect_messages(tab, "hello", "Another")
        expect(answers(tab)).not_to_contain_text("Reply 1")
    page.reload()
    expect_messages(page, "hello", "Another")
    pace.write(1_000)
    for tab in (page, second):
        expect_messages(tab, "hello", "Another answer")
        expect(answers(tab)).to_contain_text("2/2")


def test_another_answer_in_the_middle_keeps_what_followed_the_first(
    page: Page, open_page: OpenPage, counting: None
) -> None:
    for text in ("one", "two"):
        send(page, text)
        expect(answers(page).last).to_contain_text(f"to: {text}")
        wait_until_answered(page)
    second = open_page(session_of(page))
    expect_messages(second, "one", "Reply 1", "two", "Reply 2")
    answers(page).first.hover()
    answers(page).first.get_by_role("button", name="Regenerate").click()
    for tab in (page, second):
        expect_messages(tab, "one", "Reply 3 to: one")
        expect(answers(tab)).to_contain_text("2/2")
    button(page, "Previous branch").click()
    for tab in (page, second):
        expect_messages(tab, "one", "Reply 1", "two", "Reply 2")
