"""With many models, one is chosen by a search for its name."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Pace
from tests.browser.page import answers, button, replying, send
from tests.browser.test_access import AccessibilityReport
from tests.browser.test_keyboard import tab_to
from tests.process import Server
from tests.upstream import Answer, Upstream

FIRST = "openai:scripted"
OTHERS = [f"openai:{name}-{size}" for name in ("alpha", "beta") for size in ("s", "m", "l", "xl")]
LONG = "ollama:" + "a-very-long-name-" * 6


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": FIRST,
        "CHATKEEP_MODELS": ",".join([*OTHERS, LONG]),
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def picker(page: Page) -> Locator:
    return page.get_by_role("button", name="Model: ")


def search(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Find a model")


def options(page: Page) -> Locator:
    return page.get_by_role("option")


def test_a_model_is_found_by_parts_of_its_name(page: Page, upstream: Upstream) -> None:
    expect(picker(page)).to_have_text(FIRST)
    picker(page).click()
    expect(search(page)).to_be_focused()
    expect(options(page)).to_have_count(len(OTHERS) + 2)
    search(page).fill("L Beta")
    expect(options(page)).to_have_text(["openai:beta-l", "openai:beta-xl"])
    options(page).last.click()
    expect(options(page)).to_have_count(0)
    expect(picker(page)).to_have_text("openai:beta-xl")
    send(page, "hello")
    expect(answers(page)).to_contain_text("openai:beta-xl")
    assert upstream.replies[-1].body["model"] == "beta-xl"


def test_a_model_is_chosen_with_the_keyboard_alone(page: Page) -> None:
    tab_to(page, picker(page))
    page.keyboard.press("Enter")
    expect(search(page)).to_be_focused()
    # It begins at the one that answers now.
    chosen = options(page).and_(page.locator("[aria-selected=true]"))
    expect(chosen).to_have_text(FIRST)
    page.keyboard.press("ArrowUp")
    expect(chosen).to_have_text(LONG)
    expect(chosen).to_be_in_viewport()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(chosen).to_have_text(OTHERS[0])
    page.keyboard.press("Enter")
    expect(picker(page)).to_have_text(OTHERS[0])
    expect(picker(page)).to_be_focused()

    page.keyboard.press("Enter")
    expect(search(page)).to_be_focused()
    page.keyboard.type("nothing is called so")
    expect(page.get_by_text("No such model.")).to_be_visible()
    page.keyboard.press("Enter")
    expect(search(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(options(page)).to_have_count(0)
    expect(picker(page)).to_have_text(OTHERS[0])
    expect(picker(page)).to_be_focused()


def test_escape_closes_the_models_and_stops_no_answer(
    page: Page, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(["One ", "two."], pace=pace.semaphore))
    send(page, "hello")
    pace.write(1)
    expect(answers(page)).to_contain_text("One")
    picker(page).click()
    expect(search(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(options(page)).to_have_count(0)
    pace.write(100)
    expect(answers(page)).to_contain_text("One two.")


def test_a_long_model_name_fits_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    picker(page).click()
    search(page).fill("very long")
    page.keyboard.press("Enter")
    expect(picker(page)).to_have_text(LONG)
    expect(button(page, "Send")).to_be_in_viewport(ratio=1)
    picker(page).click()
    box = page.get_by_role("dialog", name="Model").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")


def test_axe_finds_nothing_in_the_search_for_a_model(page: Page) -> None:
    report = AccessibilityReport(page)
    report.check("the button")
    picker(page).click()
    expect(search(page)).to_be_focused()
    report.check("models")
    search(page).fill("nothing is called so")
    expect(page.get_by_text("No such model.")).to_be_visible()
    report.check("no such model")
    search(page).fill("beta")
    report.check("models")
    assert not report.violations, "\n\n".join(report.violations)
