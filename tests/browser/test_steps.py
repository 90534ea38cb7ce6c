"""Calls of tools, their results and reasoning: on the way to a reply, folded, seen as it comes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.block_sessions import (
    TEXT,
    BlockMessage,
    BlockSession,
    call,
    reasoning,
    result,
)
from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    field,
    questions,
    replying,
    send,
    session_of,
    wait_until_answered,
    wait_until_stored,
)
from tests.browser.session_list import store
from tests.browser.test_access import AccessibilityReport
from tests.browser.test_html_export import exported, opened
from tests.process import Server
from tests.upstream import Answer, Call, ToolCall, Upstream

LONG_RESULT = "\n".join(f"day {day}: 24 degrees" for day in range(200))
HOSTILE = "<img src=x onerror=window.hacked=true><script>window.hacked=true</script>"
TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]

EXCHANGE = (
    BlockMessage("user", "How will the weather be?"),
    BlockMessage(
        "assistant",
        "Let me look *twice*.",
        [
            reasoning("The person wants to know the **weather**."),
            TEXT,
            call("1", "get_weather", city="Lisbon", days=200),
            call("2", "search", query="storms"),
        ],
        seconds=1,
    ),
    BlockMessage("tool", LONG_RESULT, [result("1")], seconds=2.5),
    BlockMessage("tool", f"no network {HOSTILE}", [result("2", status="error")], seconds=9),
    BlockMessage("assistant", "book({})", [call("3", "book")], seconds=10),
    BlockMessage("assistant", "It will be **sunny**.", None, seconds=12),
    BlockMessage("user", "Thanks."),
    BlockMessage("assistant", "You are welcome."),
)


def fold(page: Page | Locator, name: str) -> Locator:
    """A part of an answer that can be opened, by a word of its line."""
    return page.locator("details").filter(has=page.locator("summary", has_text=name))


def line(page: Page | Locator, name: str) -> Locator:
    """What is shown of a fold that is closed."""
    return page.locator("summary", has_text=name)


@pytest.fixture(scope="module", autouse=True)
def _stored(running_server: Server) -> None:
    store(running_server, BlockSession("steps", title="Weather in Lisbon", blocks=EXCHANGE))


@pytest.fixture
def stored(open_page: OpenPage) -> Page:
    """A page with an exchange of calls and results."""
    page = open_page("steps")
    expect(answers(page).last).to_contain_text("You are welcome.")
    return page


def test_steps_are_folded_lines_in_the_answer_that_they_lead_to(stored: Page) -> None:
    expect_messages(
        stored,
        "How will the weather be?",
        "It will be sunny.",
        "Thanks.",
        "You are welcome.",
    )
    answer = answers(stored).first
    expect(answer.locator("summary")).to_have_text(
        [
            "Reasoning 7 words",
            "get_weather city: Lisbon, days: 200 1.5 s",
            "search storms Failed",
            "book Not answered",
        ]
    )
    expect(answer.get_by_text("Let me look twice.")).to_be_visible()
    expect(answer.locator("em", has_text="twice")).to_be_visible()
    expect(answer.get_by_text("day 199: 24 degrees")).to_be_hidden()
    expect(answer.locator("strong", has_text="weather")).to_be_hidden()
    expect(answers(stored).get_by_role("button", name="Copy the answer")).to_have_count(2)


def test_an_open_step_shows_arguments_and_the_result(stored: Page) -> None:
    line(stored, "get_weather").click()
    step = fold(stored, "get_weather")
    assert json.loads(step.locator("code").inner_text()) == {"city": "Lisbon", "days": 200}
    expect(step.locator(".hljs-attr").first).to_be_visible()
    shown = step.get_by_role("group", name="Result")
    expect(shown).to_have_text(LONG_RESULT)
    box = shown.bounding_box()
    assert box is not None
    assert box["height"] < 400
    shown.press("End")
    expect(step.get_by_role("heading", name="Result")).to_contain_text("1.5 s")

    line(stored, "search").click()
    failed = fold(stored, "search")
    expect(failed.get_by_role("group", name="Result")).to_have_text(f"no network {HOSTILE}")
    expect(failed.get_by_role("heading", name="Result")).to_contain_text("Failed")
    assert stored.evaluate("window.hacked") is None

    line(stored, "book").click()
    expect(fold(stored, "book").get_by_role("paragraph")).to_have_text(["(empty)", "Not answered"])


def test_steps_open_and_close_by_the_keyboard(stored: Page) -> None:
    line(stored, "get_weather").focus()
    stored.keyboard.press("Enter")
    expect(fold(stored, "get_weather").get_by_role("group", name="Result")).to_be_visible()
    stored.keyboard.press("Space")
    expect(fold(stored, "get_weather").get_by_role("group", name="Result")).to_be_hidden()
    stored.keyboard.press("Tab")
    expect(line(stored, "search")).to_be_focused()


def test_axe_finds_nothing_in_steps(stored: Page) -> None:
    report = AccessibilityReport(stored)
    report.check("steps")
    for name in ("Reasoning", "get_weather", "search", "book"):
        line(stored, name).click()
    expect(fold(stored, "get_weather").locator(".hljs-attr").first).to_be_visible()
    report.check("open steps")
    assert not report.violations, "\n\n".join(report.violations)


def test_open_steps_fit_on_a_phone(stored: Page) -> None:
    stored.set_viewport_size({"width": 390, "height": 844})
    for name in ("Reasoning", "get_weather", "search"):
        line(stored, name).click()
    expect(line(stored, "search")).to_contain_text("Failed")
    for name in ("get_weather", "search"):
        box = line(stored, name).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    assert stored.evaluate("document.querySelector('.view').scrollWidth") <= 390


def test_a_search_hit_in_a_step_opens_it_at_the_word(stored: Page) -> None:
    stored.keyboard.press("Control+k")
    stored.get_by_role("combobox").fill("network")
    hit = stored.get_by_role("option").filter(has_text="no network")
    hit.click()
    shown = fold(stored, "search").get_by_role("group", name="Result")
    expect(shown).to_be_in_viewport()
    assert stored.evaluate(
        "[...CSS.highlights.get('search-match')].map(range => range.toString())"
    ) == ["network"]
    expect(fold(stored, "get_weather").get_by_role("group", name="Result")).to_be_hidden()


@pytest.fixture
def copying(context: BrowserContext, server: Server) -> Iterator[None]:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    yield
    context.clear_permissions()


def test_copying_an_answer_leaves_its_steps_out(stored: Page, copying: None) -> None:
    answers(stored).first.hover()
    button(stored, "Copy the answer").first.click()
    expect(button(stored, "Copied")).to_be_visible()
    assert stored.evaluate("navigator.clipboard.readText()") == "It will be **sunny**."


def test_a_conversation_with_steps_is_exported_as_html(
    stored: Page, browser: Browser, tmp_path: Path, page_errors: list[str]
) -> None:
    path = exported(stored, "Weather in Lisbon", tmp_path)
    page = opened(browser, path, page_errors)
    expect(page.get_by_role("article")).to_have_count(4)
    expect(page.get_by_text("8 messages")).to_be_visible()
    answer = page.get_by_role("article").nth(1)
    expect(answer.locator("summary")).to_have_text(
        ["Reasoning", "get_weather · 1.5 s", "search · Failed · 8 s", "book · Not answered"]
    )
    expect(answer.get_by_text("Let me look twice.")).to_be_visible()
    for number in range(4):
        answer.locator("summary").nth(number).click()
    results = answer.get_by_role("group", name="Result")
    expect(results).to_have_text([LONG_RESULT, f"no network {HOSTILE}"])
    assert page.evaluate("window.hacked") is None
    report = AccessibilityReport(page)
    report.check("the file")
    assert not report.violations, "\n\n".join(report.violations)
    page.close()


def test_a_long_conversation_with_steps_scrolls_to_its_beginning(
    open_page: OpenPage, server: Server
) -> None:
    messages = [
        message
        for number in range(120)
        for message in (
            BlockMessage("user", f"Question {number}."),
            BlockMessage("assistant", "look({})", [call("1", "look", at=number)]),
            BlockMessage("tool", f"seen {number}", [result("1")]),
            BlockMessage("assistant", f"Reply {number}."),
        )
    ]
    store(server, BlockSession("many steps", blocks=messages))
    page = open_page("many steps")
    expect(page.get_by_text("Reply 119.")).to_be_visible()
    page.locator(".view").hover()
    for _ in range(300):
        page.mouse.wheel(0, -2_000)
        if page.get_by_text("Question 0.").count():
            break
        page.wait_for_function("() => new Promise(requestAnimationFrame)")
    expect(page.get_by_text("Question 0.")).to_be_visible()
    first = answers(page).first
    expect(first).to_contain_text("Reply 0.")
    expect(first.locator("summary")).to_have_text(["look 0"])
    line(first, "look").click()
    expect(first.get_by_role("group", name="Result")).to_have_text("seen 0")


def test_reasoning_is_seen_while_it_comes_and_folds_when_the_answer_comes(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    answer = Answer(
        ["It is ", "four."], reasoning=[f"Two {HOSTILE} and ", "**two**."], pace=pace.semaphore
    )
    upstream.script = replying(answer)
    send(page, "What is two and two?")
    thinking = fold(page, "Reasoning")
    pace.write(1)
    expect(thinking.get_by_text("Two ")).to_be_visible()
    pace.write(1)
    expect(thinking.locator("strong")).to_have_text("two")
    expect(thinking.locator("strong")).to_be_visible()
    pace.write(1)
    expect(page.get_by_text("It is")).to_be_visible()
    expect(thinking.locator("strong")).to_be_hidden()
    pace.write(100)
    wait_until_stored(page)
    before = answers(page).locator("summary").inner_text()
    assert "Reasoning" in before
    assert page.evaluate("window.hacked") is None

    page.reload()
    wait_until_stored(page)
    assert answers(page).locator("summary").inner_text() == before
    expect(thinking.locator("strong")).to_be_hidden()
    line(page, "Reasoning").click()
    expect(thinking.locator("strong")).to_be_visible()


def test_reasoning_that_was_opened_by_hand_stays_open(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    answer = Answer(["It is ", "four."], reasoning=["Two and ", "two."], pace=pace.semaphore)
    upstream.script = replying(answer)
    send(page, "What is two and two?")
    pace.write(2)
    words = page.get_by_text("Two and two.")
    expect(words).to_be_visible()
    line(page, "Reasoning").click()
    expect(words).to_be_hidden()
    line(page, "Reasoning").click()
    expect(words).to_be_visible()
    pace.write(100)
    wait_until_stored(page)
    expect(answers(page)).to_contain_text("It is four.")
    expect(words).to_be_visible()


@pytest.fixture
def calling(upstream: Upstream) -> None:
    """A model that calls a tool first, and answers by its result."""

    def script(request: Call) -> Answer:
        if request.tool_results:
            number = len(upstream.replies)
            return Answer([f"Reply {number}: {request.tool_results[-1][1]}"])
        return Answer(["One moment."], tool_calls=[ToolCall("find_order", {"number": "1001"}, "a")])

    upstream.script = replying(script)


def post(server: Server, session_id: str, **body: Any) -> dict[str, Any]:
    with server.client() as client:
        response = client.post("/chat", json={"session_id": session_id, **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


def test_a_call_is_answered_from_elsewhere_while_the_page_looks_on(
    open_page: OpenPage, server: Server, session: str, calling: None
) -> None:
    post(server, session, message="Where is my order?", tools=TOOLS)
    page = open_page(session)
    expect(line(page, "find_order")).to_have_text("find_order 1001 Not answered")
    results = [{"tool_call_id": "a", "content": "It is packed."}]
    post(server, session, tool_results=results, tools=TOOLS)
    wait_until_stored(page)
    expect_messages(page, "Where is my order?", "Reply 2: It is packed.")
    expect(answers(page)).to_contain_text("One moment.")
    expect(line(page, "find_order")).not_to_contain_text("Not answered")
    line(page, "find_order").click()
    expect(page.get_by_role("group", name="Result")).to_have_text("It is packed.")
    expect(button(page, "Regenerate")).to_have_count(1)


def test_the_receipt_shows_calls_results_and_tools(
    open_page: OpenPage, server: Server, session: str, calling: None
) -> None:
    post(server, session, message="Where is my order?", tools=TOOLS)
    results = [{"tool_call_id": "a", "content": "It is packed."}]
    post(server, session, tool_results=results, tools=TOOLS)
    page = open_page(session)
    wait_until_stored(page)
    button(page, "What was sent to the model").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("tools: find_order")
    expect(dialog.get_by_text('find_order({ "number": "1001" })')).to_be_visible()
    expect(dialog.get_by_role("heading", name="Tool")).to_be_visible()
    expect(dialog.get_by_text("It is packed.")).to_be_visible()


def test_a_call_is_read_out(page: Page, upstream: Upstream) -> None:
    tool_calls = [ToolCall("find_order", {"number": "1001"}, "a")]
    upstream.script = replying(Answer(["One ", "moment."], tool_calls=tool_calls))
    page.evaluate(
        """() => {
            window.spoken = [];
            const live = document.querySelector('[aria-live=polite].sr-only');
            new MutationObserver(() => window.spoken.push(live.textContent))
                .observe(live, { childList: true, characterData: true, subtree: true });
        }"""
    )
    # The page itself offers no tools.
    page.route(
        "**/chat",
        lambda route: route.continue_(post_data={**route.request.post_data_json, "tools": TOOLS}),
    )
    send(page, "Where is my order?")
    expect(line(page, "find_order")).to_have_text("find_order 1001 Not answered")
    wait_until_stored(page)
    assert " ".join(page.evaluate("spoken")) == "One moment. Calling find_order."


def test_branches_are_chosen_over_steps(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str, calling: None
) -> None:
    post(server, session, message="Where is my order?", tools=TOOLS)
    results = [{"tool_call_id": "a", "content": "It is packed."}]
    post(server, session, tool_results=results, tools=TOOLS)
    page = open_page(session)
    wait_until_stored(page)
    button(page, "Regenerate").click()
    expect_messages(page, "Where is my order?", "Reply 3: It is packed.")
    expect(answers(page)).to_contain_text("2/2")
    expect(line(page, "find_order")).to_have_count(1)
    button(page, "Previous branch").click()
    expect_messages(page, "Where is my order?", "Reply 2: It is packed.")
    expect(answers(page)).to_contain_text("1/2")

    upstream.script = replying(Answer(["I do not know."]))
    questions(page).hover()
    button(page, "Edit the message").click()
    page.get_by_role("textbox", name="Edit the message").fill("Where is it?")
    page.keyboard.press("Enter")
    expect_messages(page, "Where is it?", "I do not know.")
    expect(page.locator("summary")).to_have_count(0)
    wait_until_answered(page)
    questions(page).get_by_role("button", name="Previous branch").click()
    expect_messages(page, "Where is my order?", "Reply")
    expect(line(page, "find_order")).to_have_count(1)


def test_another_answer_to_a_call_is_a_branch_at_the_first_step(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str, calling: None
) -> None:
    post(server, session, message="Where is my order?", tools=TOOLS)
    page = open_page(session)
    expect(line(page, "find_order")).to_be_visible()
    upstream.script = replying(Answer(["I will not look."]))
    button(page, "Regenerate").click()
    expect_messages(page, "Where is my order?", "I will not look.")
    expect(line(page, "find_order")).to_have_count(0)
    expect(answers(page)).to_contain_text("2/2")
    button(page, "Previous branch").click()
    expect(line(page, "find_order")).to_be_visible()
    expect(answers(page)).to_contain_text("1/2")


def test_a_message_follows_a_call_that_nobody_has_answered(
    open_page: OpenPage, server: Server, session: str, calling: None, upstream: Upstream
) -> None:
    post(server, session, message="Where is my order?", tools=TOOLS)
    page = open_page(session)
    expect(line(page, "find_order")).to_be_visible()
    upstream.script = replying(Answer(["As you like."]))
    send(page, "Never mind.")
    wait_until_answered(page)
    expect_messages(page, "Where is my order?", "One moment.", "Never mind.", "As you like.")
    expect(line(page, "find_order")).to_contain_text("Not answered")
    expect(field(page)).to_be_focused()
    assert [m["role"] for m in server.history(session_of(page))] == ["user", "assistant"] * 2


def test_steps_are_german_in_a_german_browser(browser: Browser, server: Server) -> None:
    with browser.new_context(base_url=server.url, locale="de-DE") as context:
        page = context.new_page()
        page.goto("/#/steps")
        summaries = page.get_by_role("article", name="Antwort").first.locator("summary")
        expect(summaries).to_have_text(
            [
                "Gedankengang 7 Wörter",
                "get_weather city: Lisbon, days: 200 1,5 s",
                "search storms Fehlgeschlagen",
                "book Nicht beantwortet",
            ]
        )
        line(page, "get_weather").click()
        expect(page.get_by_role("heading", name="Argumente")).to_be_visible()
        expect(page.get_by_role("group", name="Ergebnis")).to_be_visible()
