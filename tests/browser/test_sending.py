"""A conversation as a person has it: write, send, read along, stop, come back in the middle."""

import threading

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
    release,
    replying,
    send,
    session_of,
    wait_until_answered,
)
from tests.process import Server, until
from tests.upstream import Answer, Upstream

WORDS = [f"word{number} " for number in range(40)]


def test_a_first_message_is_answered_and_named(page: Page, server: Server) -> None:
    send(page, "hello dear world")
    expect(answers(page)).to_contain_text("Reply to: hello dear world")
    expect(page.get_by_role("heading", level=1)).to_have_text("hello dear world")
    expect(page.get_by_role("link", name="hello dear world")).to_have_attribute(
        "aria-current", "page"
    )


def test_an_answer_goes_on_after_a_reload_and_in_a_second_tab(
    page: Page, open_page: OpenPage, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(WORDS, pace=pace.semaphore))
    send(page, "count some words")
    pace.write(10)
    expect(answers(page)).to_contain_text("word9")

    page.reload()
    expect(answers(page)).to_contain_text("word9")
    second = open_page()
    second.get_by_role("link", name="count some words").click()
    pace.write(10)
    for tab in (page, second):
        expect(answers(tab)).to_contain_text("word19")
    pace.write(1_000)
    for tab in (page, second):
        expect(answers(tab)).to_contain_text("word39")
        expect(button(tab, "Regenerate")).to_be_visible()


@pytest.mark.parametrize("way", ["the button", "Escape"])
def test_a_stopped_answer_contains_what_was_written(
    page: Page, server: Server, upstream: Upstream, pace: Pace, way: str
) -> None:
    upstream.script = replying(Answer(WORDS, pace=pace.semaphore))
    send(page, "write until I stop you")
    pace.write(3)
    expect(answers(page)).to_contain_text("word2")

    if way == "Escape":
        page.keyboard.press("Escape")
    else:
        button(page, "Stop").click()

    expect(answers(page)).to_contain_text("Stopped.")
    expect(answers(page)).to_contain_text("word0 word1 word2")
    expect(button(page, "Stop")).to_have_count(0)
    stored = server.history(session_of(page))[-1]
    assert (stored["content"].strip(), stored["status"]) == ("word0 word1 word2", "cancelled")
    page.reload()
    expect(answers(page)).to_contain_text("word0 word1 word2")
    expect(answers(page)).to_contain_text("Stopped.")


def test_another_answer_that_is_stopped_before_its_first_word_leaves_the_one_before(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    send(page, "hello")
    expect_messages(page, "hello", "Reply to: hello")
    wait_until_answered(page)
    upstream.script = replying(Answer(["Another one"], pace=pace.semaphore))
    button(page, "Regenerate").click()
    expect(page.get_by_label("The model is thinking")).to_be_visible()
    expect(button(page, "Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect_messages(page, "hello", "Reply to: hello")
    wait_until_answered(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(button(page, "Try again")).to_have_count(0)


def test_an_answer_that_is_stopped_before_its_first_word_can_be_retried(
    page: Page, server: Server, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = only_first(Answer(["Never"], pace=pace.semaphore))
    send(page, "hello")
    expect(page.get_by_label("The model is thinking")).to_be_visible()
    # Stopped before it was asked, the model would give that answer to the next request.
    until(lambda: upstream.replies)
    button(page, "Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.reload()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    button(page, "Try again").click()
    expect_messages(page, "hello", "Reply to: hello")
    wait_until_answered(page)
    expect(page.get_by_text("Stopped.")).to_have_count(0)
    assert server.contents(session_of(page)) == ["hello", "Reply to: hello"]


def test_escape_in_a_dialog_closes_it_and_stops_nothing(
    page: Page, server: Server, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(WORDS, pace=pace.semaphore))
    send(page, "write it all")
    pace.write(3)
    expect(answers(page)).to_contain_text("word2")
    button(page, "Conversation settings").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("spinbutton").first.focus()

    page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)
    expect(button(page, "Stop")).to_be_visible()
    pace.write(1_000)
    wait_until_answered(page)
    assert server.history(session_of(page))[-1]["status"] == "completed"


def test_what_another_client_posts_is_shown_live(
    open_page: OpenPage, server: Server, upstream: Upstream, pace: Pace, session: str
) -> None:
    server.chat(session, "from long ago")
    page = open_page(session)
    expect(answers(page)).to_contain_text("Reply to: from long ago")
    upstream.script = replying(Answer(WORDS, pace=pace.semaphore))
    other = threading.Thread(target=server.chat, args=(session, "from the command line"))
    other.start()

    pace.write(5)
    expect(questions(page).last).to_contain_text("from the command line")
    expect(answers(page).last).to_contain_text("word4")
    expect(answers(page).last).not_to_contain_text("word5")
    pace.write(1_000)
    other.join()
    expect(answers(page).last).to_contain_text("word39")
    wait_until_answered(page)
    expect(page.get_by_role("article")).to_have_count(4)


def test_what_is_typed_and_not_sent_survives_a_reload_and_another_session(
    open_page: OpenPage, server: Server
) -> None:
    for name in ("draft one", "draft two"):
        server.chat(name, f"about {name}")
    page = open_page("draft one")
    field(page).fill("half a thought")
    page.reload()
    expect(field(page)).to_have_value("half a thought")

    page.get_by_role("link", name="about draft two").click()
    expect(questions(page)).to_contain_text("about draft two")
    expect(field(page)).to_have_value("")
    field(page).fill("another thought")
    page.get_by_role("link", name="about draft one").click()
    expect(field(page)).to_have_value("half a thought")
    page.keyboard.press("Enter")
    expect(answers(page).last).to_contain_text("Reply to: half a thought")
    page.get_by_role("link", name="about draft two").click()
    expect(field(page)).to_have_value("another thought")
    page.get_by_role("link", name="about draft one").click()
    expect(questions(page).last).to_contain_text("half a thought")
    expect(field(page)).to_have_value("")


def test_shift_and_enter_begin_a_new_line(page: Page, server: Server) -> None:
    field(page).press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(field(page)).to_have_value("one\ntwo")
    expect(page.get_by_role("article")).to_have_count(0)
    page.keyboard.press("Enter")
    wait_until_answered(page)
    assert server.contents(session_of(page))[0] == "one\ntwo"


def test_enter_that_ends_a_composition_does_not_send(page: Page, upstream: Upstream) -> None:
    """Who writes Japanese chooses a word with Enter."""
    field(page).fill("にほん")
    composing = {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    field(page).dispatch_event("keydown", composing)
    expect(field(page)).to_have_value("にほん")
    expect(page.get_by_role("article")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("Reply to: にほん")


def test_a_message_of_blanks_cannot_be_sent(page: Page, upstream: Upstream) -> None:
    field(page).fill("  \n ")
    expect(button(page, "Send")).to_be_disabled()
    page.keyboard.press("Enter")
    field(page).fill("something")
    button(page, "Send").click()
    expect(answers(page)).to_contain_text("Reply to: something")
    assert len(upstream.replies) == 1


def test_every_letter_of_a_message_arrives(page: Page, server: Server) -> None:
    text = (
        '  <b>&amp;</b> "quotes" \\ back 🦔👩‍👩‍👧 \u202eright\u202c\n\n\ttab,  two  blanks\nשלום  '
    )
    send(page, text)
    wait_until_answered(page)
    session = session_of(page)
    assert until(lambda: server.contents(session))[0] == text
    expect(questions(page).locator(".bubble")).to_have_text(text, use_inner_text=True)


def test_a_message_that_is_sent_before_the_session_was_loaded_is_at_its_end(
    open_page: OpenPage, server: Server, session: str
) -> None:
    server.chat(session, "an old tale")
    page = open_page()
    routes = hold(page, "**/history/**")
    page.get_by_role("link", name="an old tale").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("an old tale")
    send(page, "at once")
    expect(answers(page).last).to_contain_text("Reply to: at once")
    release(page, "**/history/**", routes)
    expect_messages(page, "an old tale", "Reply to: an old tale", "at once", "Reply to: at once")
    wait_until_answered(page)
