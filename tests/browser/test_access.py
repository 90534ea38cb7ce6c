"""The page for people who see, hear or move otherwise: what axe finds, what is read out."""

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import answers, button, questions, replying, send, wait_until_answered
from tests.browser.session_list import (
    StoredSession,
    choose_from_menu,
    choose_option,
    expect_error,
    link,
    store,
)
from tests.process import Server
from tests.upstream import Answer, Call, Upstream, polite

RICH = """# A heading

Some *words*, **strong** ones, `code`, ~~gone~~ and [a link](https://example.com).

- one
- [x] done
- [ ] to do

1. first
2. second

> A quote

| left | right |
|------|------:|
| a    | 1     |

```python
def long(name: str) -> str:  # a comment
    return f"A line of code that is far longer than the measure of the page is wide, {name}" * 100
```

Euler: $e^{i\\pi} + 1 = 0$, and

$$\\int_0^1 x^2 \\, dx = \\frac{1}{3}$$

![an image](https://example.com/image.png)
"""


class AccessibilityReport:
    """Runs axe in each state of a page: light, dark and with forced colours."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.axe = Axe()
        self.violations: list[str] = []

    def check(self, state: str, *, without: tuple[str, ...] = ()) -> None:
        contrast = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
        every = {"rules": {rule: {"enabled": False} for rule in without}}
        self._run(f"{state}, dark", contrast, color_scheme="dark")
        self._run(f"{state}, forced colours", every, forced_colors="active")
        self._run(f"{state}, light", every)

    def _run(self, state: str, rules: dict[str, Any], **media: Any) -> None:
        self.page.emulate_media(**{"color_scheme": "light", "forced_colors": "none", **media})
        options = {"resultTypes": ["violations"], **rules}
        for violation in self.axe.run(self.page, options=options).response["violations"]:
            for node in violation["nodes"]:
                where = f"{state}: {violation['id']} {node['target']}"
                self.violations.append(f"{where}\n{node['html'][:200]}\n{node['failureSummary']}")


def script(call: Call) -> Answer:
    if call.is_title:
        return polite(call)
    if "fail" in call.messages[-1][1]:
        return Answer(status=400, body=b"{}")
    return Answer([RICH])


def test_axe_finds_nothing_in_a_conversation(page: Page, upstream: Upstream) -> None:
    upstream.script = script
    report = AccessibilityReport(page)
    report.check("nothing yet")
    send(page, "Show me everything")
    wait_until_answered(page)
    expect(answers(page).locator("math").first).to_be_attached()
    report.check("an answer")
    questions(page).first.hover()
    button(page, "Edit the message").click()
    report.check("editing")
    page.keyboard.press("Escape")
    button(page, "What was sent to the model").click()
    expect(page.get_by_role("dialog").get_by_text("Nothing.")).to_be_visible()
    report.check("the receipt")
    page.keyboard.press("Escape")
    send(page, "Please fail")
    expect(page.get_by_role("alert")).to_be_visible()
    report.check("a failure")
    assert not report.violations, "\n\n".join(report.violations)


def test_axe_finds_nothing_in_the_notes_of_a_conversation(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str
) -> None:
    pasted = "\n".join(f"line {number}" for number in range(100))
    store(server, StoredSession(session, messages=(pasted, "Long.", *("short", "Yes.") * 3)))
    server.chat(session, "Tell me of the numbat")
    server.chat(session, "and of the bilby", parent_id=server.history(session)[-3]["id"])
    page = open_page(session)
    report = AccessibilityReport(page)
    expect(page.get_by_text("The model only reads the messages below")).to_be_visible()
    questions(page).first.scroll_into_view_if_needed()
    report.check("a line for the context, a day, a message in part")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search")).to_be_focused()
    page.keyboard.type("numbat")
    expect(page.get_by_role("option").get_by_text("another branch").first).to_be_visible()
    report.check("a hit on another branch")
    page.get_by_role("option").filter(has_text="Tell me").first.click()
    expect(button(page, "Continue here")).to_be_visible()
    report.check("another branch")
    assert not report.violations, "\n\n".join(report.violations)


def test_axe_finds_nothing_in_the_list_its_menus_and_toasts(
    open_page: OpenPage, server: Server, page_errors: list[str]
) -> None:
    store(server, *(StoredSession(f"session {number}") for number in range(3)))
    page = open_page("session 0")
    report = AccessibilityReport(page)
    choose_option(page, "session 1", "Pin")
    expect(page.get_by_role("heading", name="Pinned")).to_be_visible()
    page.get_by_role("navigation").get_by_role("button", name="Options for session 0").click()
    expect(page.get_by_role("menuitem")).to_have_count(8)
    # It stands at the end of the document, where nothing cuts it off, and has the focus.
    report.check("a menu", without=("region",))
    page.keyboard.press("Escape")
    link(page, "session 0").press("F2")
    expect(page.get_by_role("textbox", name="Title")).to_be_focused()
    report.check("renaming")
    page.keyboard.press("Escape")
    choose_option(page, "session 2", "Delete")
    expect(button(page, "Undo")).to_be_visible()
    report.check("a toast")
    button(page, "Undo").click()
    button(page, "More").click()
    expect(page.get_by_role("menuitemradio")).to_have_count(3)
    report.check("the menu below the list", without=("region",))
    page.keyboard.press("Escape")
    button(page, "Close the list").click()
    expect(button(page, "Open the list")).to_be_focused()
    report.check("the list hidden")
    button(page, "Open the list").click()
    choose_from_menu(page, "Archive")
    expect(page.get_by_text("The archive is empty.")).to_be_visible()
    report.check("the archive")
    page.goto("#/nobody")
    expect(page.get_by_text("It may have been deleted.")).to_be_visible()
    report.check("no such conversation")
    expect_error(page_errors, "404")
    assert not report.violations, "\n\n".join(report.violations)


def test_axe_finds_nothing_in_the_dialogs(page: Page, server: Server) -> None:
    store(server, StoredSession("found", messages=("axolotl", "An axolotl lives in water.")))
    report = AccessibilityReport(page)
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("axolotl")
    expect(page.get_by_role("option").locator("mark").first).to_be_visible()
    report.check("search")
    page.get_by_role("combobox").fill("nowheretobefound")
    expect(page.get_by_text("Nothing found.")).to_be_visible()
    report.check("nothing found")
    page.keyboard.press("Escape")
    button(page, "Conversation settings").click()
    page.get_by_role("radio", name="Custom").check()
    expect(page.get_by_role("textbox", name="System prompt")).to_be_visible()
    report.check("settings")
    page.keyboard.press("Escape")
    choose_from_menu(page, "Help")
    expect(page.get_by_role("dialog", name="Help")).to_be_visible()
    report.check("help")
    assert not report.violations, "\n\n".join(report.violations)


def test_axe_finds_nothing_on_a_small_screen(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("small", messages=("hello", RICH)))
    page = open_page("small")
    page.set_viewport_size({"width": 390, "height": 844})
    report = AccessibilityReport(page)
    expect(answers(page)).to_be_visible()
    report.check("a conversation")
    button(page, "Open the list").click()
    expect(page.get_by_role("complementary")).to_be_in_viewport()
    report.check("the list")
    assert not report.violations, "\n\n".join(report.violations)


def test_everything_that_can_be_used_has_a_name(page: Page, upstream: Upstream) -> None:
    upstream.script = script
    send(page, "Show me everything")
    wait_until_answered(page)
    tree = page.locator("body").aria_snapshot()
    roles = ("button", "link", "textbox", "combobox", "checkbox", "radio", "img", "region")
    lines = [line.strip().removeprefix("- ").strip("'") for line in tree.splitlines()]
    used = [line for line in lines if line.split(" ")[0].rstrip(":") in roles]
    assert len(used) > 15
    assert [line for line in used if '"' not in line and "/" not in line] == []


def test_an_answer_is_read_out_paragraph_by_paragraph(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    pieces = ["The first ", "paragraph.\n\n", "The *second* ", "one.\n\n", "The last"]
    upstream.script = replying(Answer(pieces, pace=pace.semaphore))
    # Every text of the live region: a screen reader may be slower than a model.
    page.evaluate(
        """() => {
            window.announcements = [];
            const region = document.querySelector('[aria-live=polite]:not([role])');
            const note = () => window.announcements.push(region.textContent);
            new MutationObserver(note).observe(region, { childList: true, characterData: true,
                subtree: true });
        }"""
    )
    send(page, "Read to me")
    pace.write(1)
    expect(answers(page)).to_contain_text("The first")
    assert page.evaluate("announcements") == []
    pace.write(2)
    expect(answers(page)).to_contain_text("The second")
    assert page.evaluate("announcements") == ["The first paragraph."]
    pace.write(1_000)
    wait_until_answered(page)
    announced = " ".join(page.evaluate("announcements"))
    assert announced == "The first paragraph. The second one. The last"


def test_nothing_moves_with_reduced_motion(page: Page, upstream: Upstream, pace: Pace) -> None:
    upstream.script = replying(Answer(["A", "B"], pace=pace.semaphore))
    running = "document.getAnimations().filter((one) => one.playState === 'running').length"
    send(page, "Hold on")
    expect(page.get_by_label("The model is thinking")).to_be_visible()
    assert page.evaluate(running) == 0
    expect(page.get_by_role("img", name="Answering")).to_be_visible()
    assert page.evaluate(running) == 0
    pace.write(1_000)
    wait_until_answered(page)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox")).to_be_focused()
    assert page.evaluate(running) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chosen_theme_wins_over_the_systems(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    dark = "() => getComputedStyle(document.body).backgroundColor"
    of_system = page.evaluate(dark)
    button(page, "More").click()
    # The menu stays open, so that one sees which it is to be.
    themes = page.get_by_role("group", name="Theme").get_by_role("menuitemradio")
    expect(themes.and_(page.locator("[aria-checked=true]"))).to_have_text("System")
    seen = {}
    for name in ("Light", "Dark", "System"):
        themes.filter(has_text=name).click()
        expect(themes.and_(page.locator("[aria-checked=true]"))).to_have_text(name)
        seen[name] = page.evaluate(dark)
    assert seen["Light"] != seen["Dark"]
    assert seen["System"] == of_system
    assert json.loads(page.evaluate("JSON.stringify(localStorage)")) == {}

    other = "dark" if scheme == "light" else "light"
    themes.filter(has_text=other.capitalize()).click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", other)
    assert page.evaluate(dark) != of_system
