"""The view is where the reader left it: at the end while a text grows, or wherever they look."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.long_sessions import MESSAGES, import_long_session
from tests.browser.page import answers, button, hold, replying, send, wait_until_answered
from tests.process import Server, until
from tests.upstream import Answer, Upstream

LONG, SHORTER = "two thousand", "three hundred"
STILL = 2
"""Pixels that something may move by and count as being where it was."""


@pytest.fixture(scope="module", autouse=True)
def _stored(running_server: Server) -> None:
    import_long_session(running_server, LONG)
    import_long_session(running_server, SHORTER, 300)


def view(page: Page) -> Locator:
    return page.get_by_role("region", name="Messages")


def settle(page: Page) -> None:
    """Wait until nothing has moved for some pictures."""
    view(page).evaluate("""view => new Promise(done => {
        let [before, pictures] = ['', 0];
        const sample = () => {
            const now = `${view.scrollTop} ${view.scrollHeight} ${view.innerText.length}`;
            pictures = now === before ? pictures + 1 : 0;
            before = now;
            if (pictures === 6) done(); else requestAnimationFrame(sample);
        };
        sample();
    })""")


def wheel(page: Page, pixels: int) -> None:
    view(page).hover()
    page.mouse.wheel(0, pixels)
    settle(page)


def top(element: Locator) -> float:
    """Where on the screen it is."""
    box = element.bounding_box()
    assert box is not None
    return box["y"]


def message(page: Page, number: int) -> Locator:
    kind = "Question" if number % 2 else "Answer"
    return page.get_by_role("article").get_by_text(f"{kind} {number}.", exact=True)


def is_seen(page: Page, number: int) -> bool:
    """Whether a message begins within the upper part of the view."""
    row = message(page, number)
    return row.count() == 1 and 52 < top(row) < 600


def paragraph(page: Page, number: int) -> Locator:
    return answers(page).get_by_text(f"Paragraph {number},")


def paragraphs(count: int) -> list[str]:
    return [f"Paragraph {number}, which has some words in it.\n\n" for number in range(count)]


def test_a_long_session_opens_at_its_end_with_little_in_the_document(open_page: OpenPage) -> None:
    page = open_page(LONG)
    expect(message(page, MESSAGES)).to_be_in_viewport()
    settle(page)
    expect(message(page, MESSAGES)).to_be_in_viewport()
    assert page.get_by_role("article").count() < 60
    expect(button(page, "Go to the end")).to_have_count(0)
    for _ in range(6):
        wheel(page, -1_500)
        assert page.get_by_role("article").count() < 60
    expect(message(page, MESSAGES)).not_to_be_in_viewport()
    button(page, "Go to the end").click()
    expect(message(page, MESSAGES)).to_be_in_viewport()
    expect(button(page, "Go to the end")).to_have_count(0)


def test_older_messages_that_are_loaded_move_nothing(open_page: OpenPage) -> None:
    page = open_page(LONG)
    expect(message(page, MESSAGES)).to_be_in_viewport()
    settle(page)
    routes = hold(page, "**/history/*before=*")
    while not routes:
        wheel(page, -700)
    shown = [number for number in range(MESSAGES - 50, MESSAGES) if is_seen(page, number)]
    before = {number: top(message(page, number)) for number in shown}
    assert len(before) > 2
    height = view(page).evaluate("view => view.scrollHeight")
    routes[0].fallback()
    until(lambda: view(page).evaluate("view => view.scrollHeight") > height + 1_000)
    settle(page)
    for number, position in before.items():
        assert abs(top(message(page, number)) - position) <= STILL, number


def test_the_very_first_message_can_be_reached(open_page: OpenPage) -> None:
    page = open_page(SHORTER)
    expect(message(page, 300)).to_be_in_viewport()
    view(page).focus()
    for _ in range(300):
        page.keyboard.press("Home")
        settle(page)
        if is_seen(page, 1):
            break
    expect(message(page, 1)).to_be_in_viewport()
    page.keyboard.press("End")
    expect(message(page, 300)).to_be_in_viewport()


@pytest.mark.parametrize("number", [1, 777, 1990])
def test_an_address_opens_an_old_message(open_page: OpenPage, number: int) -> None:
    page = open_page(LONG, f"{LONG}-m{number}")
    expect(message(page, number)).to_be_in_viewport()
    settle(page)
    expect(message(page, number)).to_be_in_viewport()
    assert page.get_by_role("article").count() < 60
    button(page, "Go to the end").click()
    expect(message(page, MESSAGES)).to_be_in_viewport()


def test_the_view_stays_at_the_end_of_a_text_that_grows(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(paragraphs(60), pace=pace.semaphore))
    send(page, "write a lot")
    for number in range(9, 60, 10):
        pace.write(10)
        expect(paragraph(page, number)).to_be_in_viewport()
    expect(button(page, "Go to the end")).to_have_count(0)
    settle(page)
    last = paragraph(page, 59)
    before = top(last)
    pace.write(1_000)
    wait_until_answered(page)
    settle(page)
    assert abs(top(last) - before) <= STILL
    expect(last).to_be_in_viewport()


def test_the_view_stays_further_up_while_a_text_grows(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(paragraphs(60), pace=pace.semaphore))
    send(page, "write a lot")
    pace.write(30)
    expect(paragraph(page, 29)).to_be_in_viewport()
    wheel(page, -400)
    seen = paragraph(page, 14)
    expect(seen).to_be_in_viewport()
    before = top(seen)
    for number in range(39, 60, 10):
        pace.write(10)
        expect(answers(page)).to_contain_text(f"Paragraph {number},")
        settle(page)
        assert abs(top(seen) - before) <= STILL
    pace.write(1_000)
    wait_until_answered(page)
    settle(page)
    assert abs(top(seen) - before) <= STILL
    button(page, "Go to the end").click()
    expect(paragraph(page, 59)).to_be_in_viewport()


def test_the_view_follows_again_after_a_return_to_the_end(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(paragraphs(60), pace=pace.semaphore))
    send(page, "write a lot")
    pace.write(30)
    expect(paragraph(page, 29)).to_be_in_viewport()
    wheel(page, -400)
    pace.write(10)
    expect(answers(page)).to_contain_text("Paragraph 39,")
    expect(paragraph(page, 39)).not_to_be_in_viewport()
    wheel(page, 10_000)
    expect(button(page, "Go to the end")).to_have_count(0)
    pace.write(10)
    expect(paragraph(page, 49)).to_be_in_viewport()


@pytest.mark.parametrize("step", [5, 60])
def test_even_a_small_turn_of_the_wheel_stops_following(
    page: Page, upstream: Upstream, pace: Pace, step: int
) -> None:
    """A touchpad turns in many small steps, with words in between."""
    upstream.script = replying(Answer(paragraphs(60), pace=pace.semaphore))
    send(page, "write a lot")
    pace.write(30)
    expect(paragraph(page, 29)).to_be_in_viewport()
    settle(page)
    seen = paragraph(page, 20)
    before = top(seen)
    for number in range(30, 36):
        wheel(page, -step)
        pace.write(1)
        expect(answers(page)).to_contain_text(f"Paragraph {number},")
        settle(page)
    assert abs(top(seen) - before - 6 * step) <= STILL


def test_the_keyboard_scrolls_up_too_while_a_text_grows(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(paragraphs(60), pace=pace.semaphore))
    send(page, "write a lot")
    pace.write(30)
    expect(paragraph(page, 29)).to_be_in_viewport()
    view(page).focus()
    page.keyboard.press("PageUp")
    settle(page)
    expect(paragraph(page, 29)).not_to_be_in_viewport()
    seen = paragraph(page, 12)
    before = top(seen)
    pace.write(10)
    expect(answers(page)).to_contain_text("Paragraph 39,")
    settle(page)
    assert abs(top(seen) - before) <= STILL
    page.keyboard.press("End")
    settle(page)
    pace.write(10)
    expect(paragraph(page, 49)).to_be_in_viewport()


def test_sending_a_message_scrolls_to_the_end(open_page: OpenPage) -> None:
    page = open_page(SHORTER, f"{SHORTER}-m100")
    expect(message(page, 100)).to_be_in_viewport()
    send(page, "what about now?")
    expect(answers(page).last).to_contain_text("Reply to: what about now?")
    expect(answers(page).get_by_text("Reply to: what about now?")).to_be_in_viewport()
