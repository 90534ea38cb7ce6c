"""Markdown beyond paragraphs: headings, parts that open, footnotes, alerts, formulas' brackets."""

from itertools import count

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import answers, button, replying, send, wait_until_answered
from tests.browser.session_list import StoredSession, store
from tests.browser.test_access import AccessibilityReport
from tests.process import Server, until
from tests.upstream import Answer, Upstream

DETAILS = """\
Before.

<details>
<summary>How it **works**</summary>

### The steps

- first
- second

```python
print("</details>")
```

The area is $x^2$.

<details><summary>Deeper</summary>

At the bottom.

</details>

</details>

After.
"""
NOTES = """\
One claim[^1], another[^source], the first again[^1], and one without its note[^missing].

[^1]: Where *one* is from.
[^source]: Where the other is from, with `code`.

    And a second paragraph.

The end.
"""
ALERTS = """\
> [!NOTE]
> Worth **knowing**.

> [!TIP]
> Useful.

> [!IMPORTANT]
> Needed.

> [!WARNING]
> - a list

> [!CAUTION]
>
> Risky.

> [!OTHER]
> A quote.
"""


_numbers = count(1)


def shown(open_page: OpenPage, server: Server, text: str) -> Page:
    """A page at a conversation whose answer is this text."""
    name = f"markdown {next(_numbers)}"
    store(server, StoredSession(name, messages=("hello", text)))
    page = open_page(name)
    expect(answers(page).locator(".markdown")).to_be_visible()
    return page


def top(element: Locator) -> float:
    return float(element.evaluate("element => element.getBoundingClientRect().top"))


def bottom(element: Locator) -> float:
    return float(element.evaluate("element => element.getBoundingClientRect().bottom"))


def test_a_heading_is_nearer_to_its_text_than_to_the_text_before(
    open_page: OpenPage, server: Server
) -> None:
    page = shown(open_page, server, "Before.\n\n## A heading\n\nIts text.\n")
    heading = answers(page).get_by_role("heading", name="A heading")
    above = top(heading) - bottom(answers(page).get_by_text("Before."))
    below = top(answers(page).get_by_text("Its text.")) - bottom(heading)
    assert above > 2 * below > 0


def test_details_contain_all_the_markdown_up_to_their_end(
    open_page: OpenPage, server: Server
) -> None:
    page = shown(open_page, server, DETAILS)
    answer = answers(page)
    summary = answer.locator("summary").first
    expect(summary).to_have_text("How it works")
    expect(summary.locator("strong")).to_have_text("works")
    inside = answer.get_by_role("heading", name="The steps")
    expect(inside).to_be_hidden()
    expect(answer.get_by_text("After.")).to_be_visible()
    summary.press("Enter")
    expect(inside).to_be_visible()
    details = answer.locator("details").first
    expect(details.get_by_role("listitem")).to_have_text(["first", "second"])
    expect(details.locator("pre")).to_have_text('print("</details>")')
    expect(button(page, "Copy code")).to_be_visible()
    expect(details.locator("math")).to_be_visible()
    expect(details).not_to_contain_text("After.")
    deeper = details.locator("details")
    expect(deeper.get_by_text("At the bottom.")).to_be_hidden()
    deeper.locator("summary").click()
    expect(deeper.get_by_text("At the bottom.")).to_be_visible()


def test_details_are_open_while_they_are_written_and_stay_open(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    pieces = [
        "Before.\n\n<details>\n",
        "<summary>Mo",
        "re</summary>\n\nThe first ",
        "paragraph.\n\n- an item\n",
        "\n</det",
        "ails>\n\nAfter.",
    ]
    upstream.script = replying(Answer(pieces, pace=pace.semaphore))
    send(page, "write")
    details = answers(page).locator("details")
    pace.write(3)
    expect(details.locator("summary")).to_have_text("More")
    expect(details.get_by_text("The first")).to_be_visible()
    pace.write(2)
    expect(details.get_by_role("listitem")).to_have_text("an item")
    expect(details.get_by_role("listitem")).to_be_visible()
    expect(answers(page)).not_to_contain_text("</det")
    before = top(details.get_by_role("listitem"))
    pace.write(100)
    wait_until_answered(page)
    expect(details).not_to_contain_text("After.")
    expect(details.get_by_role("listitem")).to_be_visible()
    # Only what the page scrolls moves it, and there is nothing to scroll here.
    assert top(details.get_by_role("listitem")) == before


def test_details_without_an_end_hide_nothing(open_page: OpenPage, server: Server) -> None:
    page = shown(open_page, server, "<details>\n<summary>More</summary>\n\nThe rest\n\nof it all.")
    expect(answers(page).get_by_text("of it all.")).to_be_visible()


def test_a_footnote_and_its_references_are_linked_for_mouse_and_keyboard(
    open_page: OpenPage, server: Server
) -> None:
    page = shown(open_page, server, NOTES)
    answer = answers(page)
    address = page.url
    notes = answer.locator(".md-notes").get_by_role("listitem")
    expect(notes).to_have_count(2)
    expect(answer.get_by_role("heading", name="Footnotes")).to_be_visible()
    expect(notes.first).to_contain_text("Where one is from.")
    expect(notes.last).to_contain_text("And a second paragraph.")
    expect(answer).to_contain_text("without its note[^missing].")
    expect(answer.get_by_role("link", name="Footnote 1")).to_have_count(2)

    again = answer.get_by_role("link", name="Footnote 1").last
    again.click()
    expect(notes.first).to_be_focused()
    page.keyboard.press("Tab")
    expect(notes.first.get_by_role("link", name="Back to the text")).to_be_focused()
    page.keyboard.press("Enter")
    expect(again).to_be_focused()

    answer.get_by_role("link", name="Footnote 2").press("Enter")
    expect(notes.last).to_be_focused()
    notes.last.get_by_role("link", name="Back to the text").click()
    expect(answer.get_by_role("link", name="Footnote 2")).to_be_focused()
    assert page.url == address


def test_footnotes_of_one_message_lead_to_none_of_another(
    open_page: OpenPage, server: Server
) -> None:
    messages = ("a", "First[^1].\n\n[^1]: Of the first.", "b", "Second[^1].\n\n[^1]: Of the last.")
    store(server, StoredSession("two with footnotes", messages=messages))
    page = open_page("two with footnotes")
    for answer, text in ((answers(page).first, "the first"), (answers(page).last, "the last")):
        answer.get_by_role("link", name="Footnote 1").click()
        expect(answer.get_by_role("listitem")).to_be_focused()
        expect(answer.get_by_role("listitem")).to_contain_text(f"Of {text}.")


def test_a_long_message_is_scrolled_to_its_footnote_and_back(
    open_page: OpenPage, server: Server
) -> None:
    middle = "\n\n".join(f"Paragraph {number}." for number in range(100))
    page = shown(open_page, server, f"A claim[^1].\n\n{middle}\n\n[^1]: Its source.")
    reference = answers(page).get_by_role("link", name="Footnote 1")
    note = answers(page).get_by_role("listitem")
    expect(note).to_be_in_viewport()
    page.get_by_role("region", name="Messages").press("Home")
    expect(reference).to_be_in_viewport()
    reference.press("Enter")
    expect(note).to_be_in_viewport()
    expect(reference).not_to_be_in_viewport()
    note.get_by_role("link", name="Back to the text").press("Enter")
    expect(reference).to_be_in_viewport()
    expect(note).not_to_be_in_viewport()


def test_references_look_alike_before_and_after_their_footnotes_come(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    pieces = ["A claim[^1], one more[^2].\n\n", "More text.\n\n", "[^1]: Its source."]
    upstream.script = replying(Answer(pieces, pace=pace.semaphore))
    send(page, "write")
    pace.write(2)
    expect(answers(page)).to_contain_text("More text.")
    expect(answers(page).locator("sup")).to_have_text(["1", "2"])
    expect(answers(page).get_by_role("link")).to_have_count(0)
    pace.write(100)
    wait_until_answered(page)
    expect(answers(page).get_by_role("link", name="Footnote 1")).to_be_visible()
    expect(answers(page)).to_contain_text("one more[^2].")
    expect(answers(page).get_by_role("listitem")).to_contain_text("Its source.")


def test_alerts_have_a_word_for_what_their_colour_means(
    open_page: OpenPage, server: Server
) -> None:
    page = shown(open_page, server, ALERTS)
    notes = answers(page).get_by_role("note")
    texts = ["Worth knowing.", "Useful.", "Needed.", "a list", "Risky."]
    for at, name in enumerate(["Note", "Tip", "Important", "Warning", "Caution"]):
        expect(notes.nth(at)).to_have_text(f"{name} {texts[at]}")
    expect(notes).to_have_count(5)
    expect(answers(page)).not_to_contain_text("[!NOTE]")
    expect(answers(page).get_by_role("blockquote")).to_contain_text("[!OTHER]")
    colours = notes.evaluate_all(
        "notes => notes.map((note) => getComputedStyle(note).borderInlineStartColor)"
    )
    assert len(set(colours)) == 5


def test_an_alert_and_details_read_from_the_right_where_their_text_does(
    open_page: OpenPage, server: Server
) -> None:
    text = "> [!WARNING]\n> تحذير مهم هنا.\n\n<details open><summary>المزيد</summary>نص</details>"
    page = shown(open_page, server, text)
    for element in (answers(page).get_by_role("note"), answers(page).locator("details")):
        assert element.evaluate("element => getComputedStyle(element).direction") == "rtl"


def test_the_brackets_of_a_matrix_grow_with_it_in_a_font_of_the_pages_own(
    open_page: OpenPage, server: Server
) -> None:
    store(server, StoredSession("no formula", messages=("hello", "No formula.")))
    fonts: list[str] = []
    page = open_page("no formula")
    page.on("request", lambda request: fonts.append(request.url))
    expect(answers(page)).to_contain_text("No formula.")
    assert not [url for url in fonts if url.endswith(".woff2")]
    rows = r" \\ ".join(["a"] * 6)
    text = f"$$\\begin{{pmatrix}} {rows} \\end{{pmatrix}}$$"
    store(server, StoredSession("matrix", messages=("hello", text)))
    page.goto("#/matrix")
    bracket = answers(page).locator("mo").first
    expect(bracket).to_have_text("(")
    until(lambda: page.evaluate("document.fonts.check('1rem \"STIX Two Math\"')"))
    assert [url for url in fonts if url.endswith("/assets/stix-two-math.woff2")]
    table = answers(page).locator("mtable")
    height = "element => element.getBoundingClientRect().height"
    assert bracket.evaluate(height) > 0.8 * table.evaluate(height)


CARET = """
(answer) => [...answer.querySelectorAll('*')]
    .filter((element) => getComputedStyle(element, '::after').content === '""')
    .map((element) => element.textContent)
"""


def test_a_dot_follows_the_last_word_only_while_the_answer_grows(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    pieces = ["A paragraph.\n\n", "- one\n- two", "\n\n```\nx = 1", "\n```\n\n", "The end."]
    upstream.script = replying(Answer(pieces, pace=pace.semaphore))
    send(page, "write")
    for text in ("A paragraph.", "two", "x = 1"):
        pace.write(1)
        expect(answers(page)).to_contain_text(text)
        assert answers(page).evaluate(CARET) == [text]
    pace.write(100)
    wait_until_answered(page)
    assert answers(page).evaluate(CARET) == []


def test_axe_finds_nothing_in_them(open_page: OpenPage, server: Server) -> None:
    page = shown(open_page, server, f"# First\n\n## Second\n\n{DETAILS}\n\n{ALERTS}\n\n{NOTES}")
    report = AccessibilityReport(page)
    report.check("all of it closed")
    answers(page).locator("summary").first.click()
    answers(page).get_by_role("link", name="Footnote 1").first.click()
    report.check("all of it open")
    assert not report.violations, "\n\n".join(report.violations)
