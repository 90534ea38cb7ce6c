"""Failures show the server's own message, and can be retried where they are shown."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    field,
    hold,
    only_first,
    questions,
    replying,
    send,
    session_of,
    wait_until_answered,
)
from tests.process import Server
from tests.upstream import Answer, Upstream, polite

MOST = 60
"""Characters of a message that this server takes."""


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_MODEL_RETRIES": "0",
        "CHATKEEP_MAX_MESSAGE_CHARS": str(MOST),
        "CHATKEEP_MAX_QUEUED_TURNS": "1",
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


FAILURES = {
    "refuses the request": (
        Answer(status=400),
        "The model's provider refused the request (HTTP 400): Incorrect API key provided",
    ),
    "refuses the key": (
        Answer(status=401),
        "The API key was rejected. Check OPENAI_API_KEY on the server.",
    ),
    "has no time": (Answer(status=429), "Rate limit reached. Try again in a moment."),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_turn_shows_its_error_and_is_retried_where_it_is(
    page: Page, server: Server, upstream: Upstream, case: str
) -> None:
    answer, detail = FAILURES[case]
    upstream.script = only_first(answer)
    send(page, "does it work?")
    note = page.get_by_role("alert")
    expect(note).to_contain_text(detail)
    expect(note).not_to_contain_text("sk-")
    expect_messages(page, "does it work?")
    page.reload()
    expect(note).to_contain_text(detail)
    expect_messages(page, "does it work?")

    note.get_by_role("button", name="Try again").click()
    expect_messages(page, "does it work?", "Reply to: does it work?")
    expect(note).to_have_count(0)
    wait_until_answered(page)
    session = session_of(page)
    assert server.contents(session) == ["does it work?", "Reply to: does it work?"]


def test_a_conversation_that_is_too_long_offers_what_helps(page: Page, upstream: Upstream) -> None:
    body = b'{"error": {"code": "context_length_exceeded", "message": "too many tokens"}}'
    upstream.script = only_first(Answer(status=400, body=body))
    send(page, "a lot of text")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("This conversation is too long for the model.")
    note.get_by_role("button", name="Read fewer messages").click()
    expect(page.get_by_label("Context: previous messages to include")).to_be_visible()
    page.keyboard.press("Escape")
    note.get_by_role("link", name="New chat").click()
    expect(page.get_by_role("heading", name="What can I help with?")).to_be_visible()


def test_a_failure_leaves_the_text_that_had_arrived(
    page: Page, server: Server, upstream: Upstream
) -> None:
    upstream.script = only_first(Answer(["half an ", "answer", " lost"], cut_after=3))
    send(page, "tell me all")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The answer broke off: the connection to the model was lost.")
    expect_messages(page, "tell me all", "half an answer")
    page.reload()
    expect_messages(page, "tell me all", "half an answer")
    expect(note).to_contain_text("The answer broke off: the connection to the model was lost.")

    note.get_by_role("button", name="Try again").click()
    expect_messages(page, "tell me all", "Reply to: tell me all")
    expect(note).to_have_count(0)
    expect(answers(page)).to_contain_text("2/2")
    button(page, "Previous branch").click()
    expect_messages(page, "tell me all", "half an answer")
    expect(note).to_be_visible()


def test_another_answer_that_fails_leaves_the_one_before(
    page: Page, server: Server, upstream: Upstream
) -> None:
    send(page, "hello")
    expect_messages(page, "hello", "Reply to: hello")
    upstream.script = replying(Answer(status=401))
    button(page, "Regenerate").click()
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The new answer failed.")
    expect(note).to_contain_text("Check OPENAI_API_KEY on the server.")
    expect_messages(page, "hello", "Reply to: hello")

    upstream.script = replying(Answer(["Another one"]))
    note.get_by_role("button", name="Try again").click()
    expect_messages(page, "hello", "Another one")
    expect(note).to_have_count(0)
    wait_until_answered(page)
    assert server.contents(session_of(page)) == ["hello", "Another one"]


def test_another_answer_that_fails_never_hides_the_one_before(
    page: Page, upstream: Upstream
) -> None:
    """Not even until the history was read again, which may take its time."""
    send(page, "hello")
    expect_messages(page, "hello", "Reply to: hello")
    wait_until_answered(page)
    upstream.script = replying(Answer(status=401))
    routes = hold(page, "**/history/**")
    button(page, "Regenerate").click()
    expect(page.get_by_role("alert")).to_contain_text("The new answer failed.")
    expect_messages(page, "hello", "Reply to: hello")
    for route in routes:
        route.fallback()


def test_a_failure_between_answers_is_still_shown_afterwards(
    page: Page, upstream: Upstream
) -> None:
    send(page, "one")
    wait_until_answered(page)
    upstream.script = replying(Answer(status=401))
    send(page, "two")
    expect(page.get_by_role("alert")).to_contain_text("OPENAI_API_KEY")
    upstream.script = polite
    send(page, "three")
    expect_messages(page, "one", "Reply to: one", "two", "three", "Reply to: three")
    wait_until_answered(page)
    # It calls nobody any more, and can be tried again.
    expect(page.get_by_role("alert")).to_have_count(0)
    past = page.get_by_role("status").filter(has_text="OPENAI_API_KEY")
    expect(past.get_by_role("button", name="Try again")).to_be_visible()


def test_a_failure_in_one_tab_is_shown_in_the_other(
    page: Page, open_page: OpenPage, upstream: Upstream, pace: Pace
) -> None:
    send(page, "one")
    wait_until_answered(page)
    second = open_page(session_of(page))
    expect_messages(second, "one", "Reply to: one")
    upstream.script = replying(Answer(status=401))
    send(page, "two")
    for tab in (page, second):
        expect_messages(tab, "one", "Reply to: one", "two")
        expect(tab.get_by_role("alert")).to_contain_text("OPENAI_API_KEY")


@pytest.fixture
def refused(page_errors: list[str]) -> Iterator[list[str]]:
    """The HTTP statuses that a test expects in the browser's console; the test fills the list."""
    yield (expected := [])
    for line in page_errors:
        assert re.search(r"the server responded with a status of (\d+)", line), line
    statuses = [re.findall(r"status of (\d+)", line)[0] for line in page_errors]
    assert statuses == expected
    page_errors.clear()


def test_another_answer_that_is_refused_leaves_the_one_before(
    page: Page, upstream: Upstream, pace: Pace, refused: list[str]
) -> None:
    refused += ["429"]
    send(page, "hello")
    expect_messages(page, "hello", "Reply to: hello")
    wait_until_answered(page)
    upstream.script = replying(Answer(["slow"], pace=pace.semaphore))
    send(page, "second")
    expect(button(page, "Stop")).to_be_visible()
    send(page, "third")
    expect(page.get_by_text("Queued")).to_be_visible()
    answers(page).first.hover()
    button(page, "Regenerate").first.click()
    expect(page.get_by_role("alert")).to_contain_text("The new answer failed.")
    expect_messages(page, "hello", "Reply to: hello", "second", "", "third")
    expect(page.get_by_role("alert")).to_have_count(1)


def test_a_message_that_is_refused_can_be_discarded(
    page: Page, server: Server, refused: list[str]
) -> None:
    refused += ["413"]
    send(page, "hello")
    wait_until_answered(page)
    long = "much too long " * 10
    send(page, long)
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The message was not sent.")
    expect(note).to_contain_text(f"{MOST}")
    expect(questions(page).last).to_contain_text(long.strip())
    button(page, "Discard").click()
    expect_messages(page, "hello", "Reply to: hello")
    expect(note).to_have_count(0)
    page.reload()
    expect_messages(page, "hello", "Reply to: hello")
    assert len(server.history(session_of(page))) == 2


def test_a_first_message_that_is_refused_makes_no_session(
    page: Page, server: Server, refused: list[str]
) -> None:
    long = "much too long " * 10
    send(page, long)
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The message was not sent.")
    session = session_of(page)
    assert session not in server.sessions()
    button(page, "Discard").click()
    expect(page.get_by_role("article")).to_have_count(0)
    send(page, "a short one")
    expect_messages(page, "a short one", "Reply to: a short one")
    wait_until_answered(page)
    refused += ["413"]
    assert session_of(page) in server.sessions()


def test_a_message_that_was_refused_by_a_full_queue_can_be_sent_again_later(
    page: Page, server: Server, upstream: Upstream, pace: Pace, refused: list[str]
) -> None:
    refused += ["429"]
    slow = Answer(["word ", "by ", "word"], pace=pace.semaphore)
    upstream.script = replying(
        lambda call: slow if call.messages[-1][1] == "first" else polite(call)
    )
    send(page, "first")
    pace.write(1)
    expect(answers(page)).to_contain_text("word")
    send(page, "second")
    expect(questions(page).last).to_contain_text("Queued")
    send(page, "third")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The message was not sent.")
    expect_messages(page, "first", "word", "second", "third")
    pace.write(1_000)
    expect(answers(page).last).to_contain_text("Reply to: second")
    expect(note).to_be_visible()

    note.get_by_role("button", name="Try again").click()
    expect(note).to_have_count(0)
    expect(answers(page).last).to_contain_text("Reply to: third")
    expect_messages(
        page, "first", "word by word", "second", "Reply to: second", "third", "Reply to: third"
    )
    wait_until_answered(page)
    assert len(server.history(session_of(page))) == 6


def test_a_failure_does_not_change_the_text_in_the_field(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(["one ", "two "], pace=pace.semaphore, cut_after=2))
    send(page, "tell me")
    pace.write(1)
    expect(answers(page)).to_contain_text("one")
    field(page).press_sequentially("and the next")
    pace.write(1_000)
    expect(page.get_by_role("alert")).to_be_visible()
    page.keyboard.type(" thing")
    expect(field(page)).to_have_value("and the next thing")
