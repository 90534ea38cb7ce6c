"""What the models were used for: figures, a chart and tables that need no colours."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, Pace
from tests.browser.page import answers, button, replying, send
from tests.browser.session_list import choose_from_menu, expect_error
from tests.browser.test_access import AccessibilityReport
from tests.browser.test_keyboard import tab_to
from tests.process import Server
from tests.upstream import Answer, Upstream

SCRIPTED, OTHER = "openai:scripted", "openai:other"


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {**running_upstream.env, "CHATKEEP_MODEL": SCRIPTED, "CHATKEEP_MODELS": OTHER}
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Usage")


def row(page: Page, name: str) -> Locator:
    return dialog(page).get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def test_a_server_without_usage_shows_it(page: Page) -> None:
    choose_from_menu(page, "Usage")
    expect(dialog(page).get_by_text("No model was used in this period.")).to_be_visible()
    report = AccessibilityReport(page)
    report.check("no usage")
    assert not report.violations, "\n\n".join(report.violations)


def test_tokens_and_answers_are_shown_by_model_and_by_day(page: Page, server: Server) -> None:
    for number in range(2):
        server.chat(f"first {number}", "hello")
    server.chat("second", "hello", model=OTHER)
    rows = server.get("/usage?by=model")
    read, written = (sum(one[f"{way}_tokens"] for one in rows) for way in ("input", "output"))

    choose_from_menu(page, "Usage")
    figures = dialog(page).get_by_role("definition")
    expect(figures).to_have_text(["3", str(read), str(written)])
    for model, replies in ((SCRIPTED, "2"), (OTHER, "1")):
        of_model = [one for one in rows if one["model"] == model]
        sums = [str(sum(one[f"{way}_tokens"] for one in of_model)) for way in ("input", "output")]
        expect(row(page, model).get_by_role("cell")).to_have_text([replies, *sums])

    dialog(page).get_by_text("Day by day").click()
    today = f"{datetime.now(UTC):%b} {datetime.now(UTC).day}"
    cells = row(page, today).get_by_role("cell")
    expect(cells).to_have_text(["3", str(read), str(written)])


def test_the_period_is_chosen_and_each_day_has_a_bar(page: Page, server: Server) -> None:
    server.chat("bars", "hello")
    choose_from_menu(page, "Usage")
    bars = dialog(page).locator(".chart > *")
    for days in (30, 7, 90):
        dialog(page).get_by_role("radio", name=f"{days} days").check()
        expect(bars).to_have_count(days)
        first = datetime.now(UTC) - timedelta(days=days - 1)
        expect(dialog(page).locator(".axis")).to_contain_text(f"{first:%b} {first.day}")
    expect(bars.last).to_have_attribute("title", re.compile(r"answers, \d+ tokens in, \d+ out"))
    shown, of_day = bars.last.bounding_box(), bars.last.locator("> *").first.bounding_box()
    assert shown is not None
    assert of_day is not None
    # The busiest day is as high as the chart.
    assert abs(shown["y"] - of_day["y"]) < 2


def test_estimated_tokens_are_marked(
    page: Page, server: Server, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(["Half of it. ", "never"], pace=pace.semaphore))
    send(page, "Begin")
    pace.write(1)
    expect(answers(page)).to_contain_text("Half of it.")
    button(page, "Stop").click()
    expect(page.get_by_text("Stopped.")).to_be_visible()
    choose_from_menu(page, "Usage")
    expect(row(page, SCRIPTED).get_by_role("cell").last).to_contain_text("≈")
    expect(dialog(page).get_by_text("≈ includes estimates")).to_be_visible()


def test_usage_needs_only_the_keyboard(page: Page, server: Server) -> None:
    server.chat("keys", "hello")
    button(page, "More").press("Enter")
    expect(page.get_by_role("menuitem", name="Import…")).to_be_focused()
    page.keyboard.type("U")
    expect(page.get_by_role("menuitem", name="Usage")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog(page)).to_be_visible()
    tab_to(page, dialog(page).get_by_role("radio", checked=True))
    page.keyboard.press("ArrowRight")
    expect(dialog(page).get_by_role("radio", name="90 days")).to_be_checked()
    tab_to(page, dialog(page).locator("summary"))
    page.keyboard.press("Enter")
    expect(dialog(page).get_by_role("table")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(button(page, "More")).to_be_focused()


def test_usage_that_cannot_be_read_shows_the_reason(
    open_page: OpenPage, server: Server, page_errors: list[str]
) -> None:
    page = open_page()
    page.route("**/usage?**", lambda route: route.fulfill(status=503, json={"detail": "Busy."}))
    choose_from_menu(page, "Usage")
    expect(dialog(page).get_by_role("alert")).to_have_text("Busy.")
    expect_error(page_errors, "503")


def test_axe_finds_nothing_in_the_usage(page: Page, server: Server) -> None:
    server.chat("axe", "hello")
    choose_from_menu(page, "Usage")
    dialog(page).get_by_text("Day by day").click()
    expect(dialog(page).get_by_role("table")).to_have_count(2)
    report = AccessibilityReport(page)
    report.check("usage")
    assert not report.violations, "\n\n".join(report.violations)
