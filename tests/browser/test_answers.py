"""An answer: how it looks, what it took, what the model was sent for it, and how it is copied."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import answers, button, replying, send, session_of, wait_until_answered
from tests.process import Server
from tests.upstream import Answer, Upstream, polite

MARKDOWN = """\
# A heading

Some **bold** and `code` and [a link](https://example.com/).

| hedgehogs | where |
|-----------|------:|
| two       | garden |

- first
  1. nested
- second

```python
def answer() -> int:
    return 42
```

The area is $\\pi r^2$, and

$$\\int_0^1 x \\, dx = \\frac{1}{2}$$

> a quote
"""


def clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


@pytest.fixture
def copying(context: BrowserContext, server: Server) -> Iterator[None]:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    yield
    context.clear_permissions()


def mark(element: Locator) -> None:
    """Know this very element again."""
    element.evaluate("element => { element.dataset.mark = 'here' }")


def pieces(text: str, length: int = 5) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


def test_markdown_is_shown_as_what_it_means(page: Page, upstream: Upstream, server: Server) -> None:
    upstream.script = replying(Answer(pieces(MARKDOWN)))
    send(page, "show me everything")
    wait_until_answered(page)
    answer = answers(page)
    for _ in range(2):
        expect(answer.get_by_role("heading", name="A heading")).to_be_visible()
        expect(answer.get_by_role("table").get_by_role("cell")).to_have_text(["two", "garden"])
        expect(answer.get_by_role("columnheader")).to_have_text(["hedgehogs", "where"])
        expect(answer.get_by_role("listitem")).to_have_count(3)
        expect(answer.locator("ul ol li")).to_have_text("nested")
        expect(answer.locator("pre")).to_have_text("def answer() -> int:\n    return 42")
        expect(answer.locator("pre span").filter(has_text=re.compile("^def$"))).to_be_visible()
        expect(answer.locator("math")).to_have_count(2)
        expect(answer.locator("math[display=block] mfrac")).to_be_visible()
        expect(answer.get_by_role("link", name="a link")).to_have_attribute(
            "href", "https://example.com/"
        )
        expect(answer.get_by_role("blockquote")).to_have_text("a quote")
        expect(answer).not_to_contain_text("**")
        page.reload()
    assert server.contents(session_of(page))[1] == MARKDOWN


def test_shown_blocks_are_not_rendered_again(page: Page, upstream: Upstream, pace: Pace) -> None:
    """Else a selection in it would be lost, and a long answer would cost ever more."""
    paragraphs = [f"Paragraph {number} of many.\n\n" for number in range(10)]
    code = ["```python\n", *(f"x = {number}\n" for number in range(10)), "```\n\n", "The end."]
    upstream.script = replying(Answer([*paragraphs, *code], pace=pace.semaphore))
    send(page, "write")
    pace.write(3)
    expect(answers(page)).to_contain_text("Paragraph 2")
    mark(answers(page))
    first = answers(page).get_by_text("Paragraph 0 of many.")
    mark(first)
    pace.write(9)
    block = answers(page).locator("pre")
    expect(block).to_contain_text("x = 0")
    mark(block)
    pace.write(5)
    expect(block).to_contain_text("x = 5")
    expect(first).to_have_attribute("data-mark", "here")
    pace.write(1_000)
    wait_until_answered(page)
    expect(answers(page)).to_contain_text("The end.")
    for element in (answers(page), first, block):
        expect(element).to_have_attribute("data-mark", "here")

    upstream.script = polite
    send(page, "and more")
    expect(answers(page).last).to_contain_text("Reply to: and more")
    wait_until_answered(page)
    for element in (answers(page).first, first, block):
        expect(element).to_have_attribute("data-mark", "here")


def test_what_is_selected_stays_selected_while_the_answer_grows(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(["Select me.\n\n", "More.\n\n", "End."], pace=pace.semaphore))
    send(page, "write")
    pace.write(2)
    expect(answers(page)).to_contain_text("More.")
    answers(page).get_by_text("Select me.").select_text()
    pace.write(1_000)
    wait_until_answered(page)
    expect(answers(page)).to_contain_text("End.")
    assert str(page.evaluate("getSelection().toString()")).strip() == "Select me."


def test_an_answer_shows_its_tokens_and_its_time(page: Page) -> None:
    send(page, "hello")
    figures = r"openai:scripted · 11 in, 7 out · [\d.,]+ s · [\d.,]+ tok/s"
    expect(answers(page)).to_contain_text(re.compile(figures))
    page.reload()
    expect(answers(page)).to_contain_text(re.compile(figures))


def test_an_answer_and_its_code_and_a_question_are_copied_as_they_were_written(
    page: Page, upstream: Upstream, copying: None
) -> None:
    upstream.script = replying(Answer([MARKDOWN]))
    send(page, "say *it*\nagain")
    wait_until_answered(page)
    button(page, "Copy the answer").click()
    expect(button(page, "Copied")).to_be_visible()
    assert clipboard(page) == MARKDOWN
    answers(page).locator("pre").hover()
    button(page, "Copy code").click()
    expect(answers(page)).to_contain_text("Copied")
    assert clipboard(page) == "def answer() -> int:\n    return 42"
    page.get_by_role("article", name="Your message").hover()
    button(page, "Copy the message").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert clipboard(page) == "say *it*\nagain"


def test_the_receipt_shows_what_the_model_was_sent_and_what_not(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str
) -> None:
    for number in range(4):
        if number == 3:
            upstream.script = replying(Answer(status=401))
            server.chat(session, "never answered")
        upstream.script = replying(Answer(["Yes."]))
        server.chat(session, f"question {number}")
    page = open_page(session)
    expect(answers(page)).to_have_count(4)
    button(page, "What was sent to the model").last.click()
    receipt = page.get_by_role("dialog", name="What was sent to the model")
    sent = upstream.replies[-1].messages
    expect(receipt.locator("pre")).to_have_text([text for _, text in sent])
    assert [text for _, text in sent[1:]] == [
        "Yes.",
        "question 1",
        "Yes.",
        "question 2",
        "Yes.",
        "question 3",
    ]
    expect(receipt.get_by_role("heading", level=3)).to_have_text(
        [
            "System prompt",
            *(role.capitalize() for role, _ in sent[1:]),
            "Not included",
        ]
    )
    expect(receipt).to_contain_text("openai:scripted")
    expect(receipt).to_contain_text("1 older message")
    expect(receipt).to_contain_text("1 unanswered message")
    page.keyboard.press("Escape")
    expect(receipt).to_have_count(0)
    expect(button(page, "What was sent to the model").last).to_be_focused()
