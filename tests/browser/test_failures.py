"""What goes wrong is said in the server's words, and can be tried again in its place."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Pace
from tests.browser.page import (
    answers,
    button,
    ended,
    field,
    hold,
    only_first,
    questions,
    replying,
    send,
    session_of,
    shows,
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
def test_a_failed_turn_is_told_and_tried_again_in_its_place(
    page: Page, server: Server, upstream: Upstream, case: str
) -> None:
    answer, words = FAILURES[case]
    upstream.script = only_first(answer)
    send(page, "does it work?")
    note = page.get_by_role("alert")
    expect(note).to_contain_text(words)
    expect(note).not_to_contain_text("sk-")
    shows(page, "does it work?")
    page.reload()
    expect(note).to_contain_text(words)
    shows(page, "does it work?")

    note.get_by_role("button", name="Try again").click()
    shows(page, "does it work?", "Reply to: does it work?")
    expect(note).to_have_count(0)
    ended(page)
    session = session_of(page)
    assert server.contents(session) == ["does it work?", "Reply to: does it work?"]


def test_a_conversation_that_is_too_long_leads_to_what_helps(
    page: Page, upstream: Upstream
) -> None:
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


def test_a_failure_keeps_the_text_that_had_come(
    page: Page, server: Server, upstream: Upstream
) -> None:
    upstream.script = only_first(Answer(["half an ", "answer", " lost"], cut_after=3))
    send(page, "tell me all")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The answer broke off: the connection to the model was lost.")
    shows(page, "tell me all", "half an answer")
    page.reload()
    shows(page, "tell me all", "half an answer")
    expect(note).to_contain_text("The answer broke off: the connection to the model was lost.")

    note.get_by_role("button", name="Try again").click()
    shows(page, "tell me all", "Reply to: tell me all")
    expect(note).to_have_count(0)
    expect(answers(page)).to_contain_text("2/2")
    button(page, "Previous branch").click()
    shows(page, "tell me all", "half an answer")
    expect(note).to_be_visible()


def test_another_answer_that_fails_leaves_the_one_before(
    page: Page, server: Server, upstream: Upstream
) -> None:
    send(page, "hello")
    shows(page, "hello", "Reply to: hello")
    upstream.script = replying(Answer(status=401))
    button(page, "Regenerate").click()
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The new answer failed.")
    expect(note).to_contain_text("Check OPENAI_API_KEY on the server.")
    shows(page, "hello", "Reply to: hello")

    upstream.script = replying(Answer(["Another one"]))
    note.get_by_role("button", name="Try again").click()
    shows(page, "hello", "Another one")
    expect(note).to_have_count(0)
    ended(page)
    assert server.contents(session_of(page)) == ["hello", "Another one"]


def test_another_answer_that_fails_never_hides_the_one_before(
    page: Page, upstream: Upstream
) -> None:
    """Not even until the history was read again, which may take its time."""
    send(page, "hello")
    shows(page, "hello", "Reply to: hello")
    ended(page)
    upstream.script = replying(Answer(status=401))
    routes = hold(page, "**/history/**")
    button(page, "Regenerate").click()
    expect(page.get_by_role("alert")).to_contain_text("The new answer failed.")
    shows(page, "hello", "Reply to: hello")
    for route in routes:
        route.fallback()


def test_a_failure_between_answers_is_still_told_afterwards(page: Page, upstream: Upstream) -> None:
    send(page, "one")
    ended(page)
    upstream.script = replying(Answer(status=401))
    send(page, "two")
    expect(page.get_by_role("alert")).to_contain_text("OPENAI_API_KEY")
    upstream.script = polite
    send(page, "three")
    shows(page, "one", "Reply to: one", "two", "three", "Reply to: three")
    ended(page)
    # It calls nobody any more, and can be tried again.
    expect(page.get_by_role("alert")).to_have_count(0)
    past = page.get_by_role("status").filter(has_text="OPENAI_API_KEY")
    expect(past.get_by_role("button", name="Try again")).to_be_visible()


def test_a_failure_in_one_tab_is_told_in_the_other(
    page: Page, open_page: Open, upstream: Upstream, pace: Pace
) -> None:
    send(page, "one")
    ended(page)
    second = open_page(session_of(page))
    shows(second, "one", "Reply to: one")
    upstream.script = replying(Answer(status=401))
    send(page, "two")
    for tab in (page, second):
        shows(tab, "one", "Reply to: one", "two")
        expect(tab.get_by_role("alert")).to_contain_text("OPENAI_API_KEY")


@pytest.fixture
def refused(complaints: list[str]) -> Iterator[list[str]]:
    """A browser's console tells of every refusal; this is what this test's ones are."""
    yield (expected := [])
    for line in complaints:
        assert re.search(r"the server responded with a status of (\d+)", line), line
    found = [re.findall(r"status of (\d+)", line)[0] for line in complaints]
    assert found == expected
    complaints.clear()


def test_another_answer_that_is_refused_leaves_the_one_before(
    page: Page, upstream: Upstream, pace: Pace, refused: list[str]
) -> None:
    refused += ["429"]
    send(page, "hello")
    shows(page, "hello", "Reply to: hello")
    ended(page)
    upstream.script = replying(Answer(["slow"], pace=pace.semaphore))
    send(page, "second")
    expect(button(page, "Stop")).to_be_visible()
    send(page, "third")
    expect(page.get_by_text("Queued")).to_be_visible()
    answers(page).first.hover()
    button(page, "Regenerate").first.click()
    expect(page.get_by_role("alert")).to_contain_text("The new answer failed.")
    shows(page, "hello", "Reply to: hello", "second", "", "third")
    expect(page.get_by_role("alert")).to_have_count(1)


def test_a_message_that_is_refused_can_be_discarded(
    page: Page, server: Server, refused: list[str]
) -> None:
    refused += ["413"]
    send(page, "hello")
    ended(page)
    long = "much too long " * 10
    send(page, long)
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The message was not sent.")
    expect(note).to_contain_text(f"{MOST}")
    expect(questions(page).last).to_contain_text(long.strip())
    button(page, "Discard").click()
    shows(page, "hello", "Reply to: hello")
    expect(note).to_have_count(0)
    page.reload()
    shows(page, "hello", "Reply to: hello")
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
    shows(page, "a short one", "Reply to: a short one")
    ended(page)
    refused += ["413"]
    assert session_of(page) in server.sessions()


def test_a_message_that_found_the_queue_full_is_sent_again_when_there_is_room(
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
    shows(page, "first", "word", "second", "third")
    pace.write(1_000)
    expect(answers(page).last).to_contain_text("Reply to: second")
    expect(note).to_be_visible()

    note.get_by_role("button", name="Try again").click()
    expect(note).to_have_count(0)
    expect(answers(page).last).to_contain_text("Reply to: third")
    shows(page, "first", "word by word", "second", "Reply to: second", "third", "Reply to: third")
    ended(page)
    assert len(server.history(session_of(page))) == 6


def test_what_is_being_written_is_left_alone_by_a_failure(
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
