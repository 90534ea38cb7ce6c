"""What a conversation says of itself: what the model reads of it, its days, its long messages."""

from datetime import UTC, datetime, timedelta

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    questions,
    replying,
    send,
    wait_until_answered,
)
from tests.browser.session_list import StoredSession, store
from tests.process import Server
from tests.upstream import Answer, Upstream


def line(page: Page) -> Locator:
    return page.get_by_text("The model only reads the messages below")


def after_line(page: Page) -> list[str]:
    """The messages below the line, as the model is sent them with the next one."""
    texts: list[str] = line(page).evaluate("""line => {
        const all = [...document.querySelectorAll('article')];
        const position = Node.DOCUMENT_POSITION_FOLLOWING;
        const below = all.filter((one) => line.compareDocumentPosition(one) & position);
        return below.map((one) => one.querySelector('.bubble, .markdown').innerText);
    }""")
    return texts


def test_a_separator_shows_where_the_context_begins(page: Page, upstream: Upstream) -> None:
    for text in ("one", "two"):
        send(page, text)
        expect(answers(page).last).to_contain_text(f"Reply to: {text}")
        wait_until_answered(page)
    expect(line(page)).to_have_count(0)
    send(page, "three")
    expect(answers(page).last).to_contain_text("Reply to: three")
    wait_until_answered(page)
    below = after_line(page)
    assert below == ["Reply to: one", "two", "Reply to: two", "three", "Reply to: three"]
    send(page, "four")
    expect(answers(page).last).to_contain_text("Reply to: four")
    assert [text for _, text in upstream.replies[-1].messages[1:-1]] == below


def test_a_message_without_an_answer_is_not_counted_and_shows_it(
    page: Page, upstream: Upstream
) -> None:
    send(page, "one")
    wait_until_answered(page)
    upstream.script = replying(Answer(status=400))
    send(page, "in vain")
    expect(page.get_by_role("alert")).to_have_count(1)
    upstream.script = replying(lambda call: Answer([f"Reply to: {call.messages[-1][1]}"]))
    for text in ("two", "three"):
        send(page, text)
        expect(answers(page).last).to_contain_text(f"Reply to: {text}")
        wait_until_answered(page)
    assert after_line(page)[0] == "Reply to: one"
    # It is no longer the newest, and still says why nothing follows.
    expect(
        page.get_by_role("status").filter(has_text="did not give a complete answer")
    ).to_be_attached()
    send(page, "four")
    expect(answers(page).last).to_contain_text("Reply to: four")
    read = [text for _, text in upstream.replies[-1].messages[1:-1]]
    assert read == ["Reply to: one", "two", "Reply to: two", "three", "Reply to: three"]


def test_the_context_can_be_enlarged_at_the_separator(
    open_page: OpenPage, server: Server, session: str
) -> None:
    for number in range(4):
        server.chat(session, f"message {number}")
    page = open_page(session)
    expect(line(page)).to_be_visible()
    button(page, "Include more").click()
    size = page.get_by_role("dialog").get_by_label("Context: previous messages to include")
    expect(size).to_have_attribute("placeholder", "Default (5)")
    size.fill("100")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(line(page)).to_have_count(0)

    button(page, "Conversation settings").click()
    size.fill("0")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(line(page)).to_be_visible()
    assert after_line(page) == []


def test_days_are_separated_and_every_answer_has_its_time(
    open_page: OpenPage, server: Server, session: str
) -> None:
    then = datetime.now(UTC) - timedelta(days=400)
    store(server, StoredSession(session, messages=("long ago", "Yes."), at=then))
    page = open_page(session)
    heading = page.locator("p.day")
    expect(heading).to_have_text(f"{then.astimezone():%B} {then.astimezone().day}, {then.year}")
    expect(answers(page).locator("time")).to_be_visible()
    send(page, "and now")
    expect(heading).to_have_count(2)
    expect(heading.last).to_have_text("Today")
    expect_messages(page, "long ago", "Yes.", "and now", "Reply to: and now")


def test_a_very_long_message_is_shown_in_part(
    open_page: OpenPage, server: Server, session: str
) -> None:
    lines = "\n".join(f"line {number}" for number in range(1_283))
    store(server, StoredSession(session, messages=(lines, "That is long.")))
    page = open_page(session)
    bubble = questions(page).locator(".bubble")
    more = questions(page).get_by_role("button", name="Show all (1,283 lines)")
    expect(more).to_have_attribute("aria-expanded", "false")
    assert bubble.evaluate("bubble => bubble.clientHeight") < 500
    more.press("Enter")
    assert bubble.evaluate("bubble => bubble.clientHeight") > 10_000
    questions(page).get_by_role("button", name="Show less").click()
    assert bubble.evaluate("bubble => bubble.clientHeight") < 500


def test_a_model_that_pauses_in_an_answer_shows_that_the_page_waits(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(["It begins ", "and ends."], pace=pace.semaphore))
    send(page, "tell me")
    pace.write(1)
    expect(answers(page)).to_contain_text("It begins")
    expect(answers(page).get_by_text("Still waiting ·")).to_be_visible()
    pace.write(1_000)
    wait_until_answered(page)
    expect(page.get_by_text("Still waiting ·")).to_have_count(0)
