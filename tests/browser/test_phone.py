"""A small screen that is touched: nothing is too wide, the list is a drawer, fingers suffice."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import answers, button, field, questions
from tests.browser.session_list import StoredSession, links, store
from tests.process import PATIENCE, Server

WIDE = "\n\n".join(
    (
        "A word: " + "Donaudampfschifffahrt" * 12,
        "https://example.com/" + "path" * 60,
        "```python\nprint(" + "'a long line of code', " * 20 + ")\n```",
        "| " + " | ".join(f"heading{n}" for n in range(14)) + " |\n" + "|--" * 14 + "|\n"
        "| " + " | ".join(f"{n * 1_000_000}" for n in range(14)) + " |",
        "$$\n" + " + ".join(f"x_{{{n}}}^{{2}}" for n in range(40)) + "\n$$",
        "> - deep\n>   - and `" + "unbroken" * 20 + "`",
        "# " + "Heading" * 15,
    )
)


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """The profile of a phone."""
    with browser.new_context(
        viewport={"width": 390, "height": 844},
        device_scale_factor=2,
        has_touch=True,
        is_mobile=True,
        base_url=server.url,
        reduced_motion="reduce",
    ) as context:
        context.set_default_timeout(PATIENCE * 1_000)
        yield context


@pytest.fixture(scope="module", autouse=True)
def _stored(running_server: Server) -> None:
    long_title = "A title " + "ofonelongword" * 10
    store(
        running_server,
        StoredSession("wide", title=long_title, messages=("x" * 300, WIDE)),
        StoredSession("plain", title="Plain"),
    )


def fits(page: Page) -> bool:
    """Whether all is as wide as the screen: nothing can be scrolled sideways but by itself."""
    is_fitting: bool = page.evaluate(
        """() => [document.documentElement, document.body, document.querySelector('main'),
            document.querySelector('[aria-label=Messages]')].every(
            (element) => element === null || element.scrollWidth <= element.clientWidth
        ) && visualViewport.scale === 1 && innerWidth === 390"""
    )
    return is_fitting


def drawer(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Conversations")


def is_open(page: Page) -> None:
    """The list can be seen and used, and what is behind it cannot."""
    expect(drawer(page)).to_be_in_viewport()
    expect(page.locator("[inert]").locator(drawer(page))).to_have_count(0)
    expect(page.locator("main[inert]")).to_have_count(1)


def is_closed(page: Page) -> None:
    expect(drawer(page)).not_to_be_in_viewport()
    expect(page.locator("[inert]").locator(drawer(page))).to_have_count(1)
    expect(page.locator("main[inert]")).to_have_count(0)


def test_nothing_wide_makes_the_page_wide(open_page: OpenPage, server: Server) -> None:
    page = open_page("wide")
    expect(answers(page).locator("math")).to_be_attached()
    assert fits(page)
    for wide in (answers(page).get_by_role("table"), answers(page).locator("pre")):
        wide.first.scroll_into_view_if_needed()
        reached = wide.first.evaluate(
            """(element) => {
                for (let one = element; one.matches('article *'); one = one.parentElement) {
                    one.scrollLeft = 100_000;
                    if (one.scrollLeft > 0) return true;
                }
                return false;
            }"""
        )
        assert reached
    assert fits(page)

    page = open_page("wide", server.history("wide")[0]["id"])
    expect(questions(page)).to_be_in_viewport()
    assert fits(page)
    box = questions(page).locator(".bubble").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    button(page, "Open the list").tap()
    is_open(page)
    assert fits(page)


def test_the_list_is_a_drawer_that_closes_on_choosing_a_session(page: Page) -> None:
    is_closed(page)
    button(page, "Open the list").tap()
    is_open(page)

    links(page).filter(has_text="Plain").tap()
    expect(page.get_by_role("heading", level=1)).to_have_text("Plain")
    is_closed(page)
    # Choosing the one that is shown closes it too.
    button(page, "Open the list").tap()
    links(page).filter(has_text="Plain").tap()
    is_closed(page)


def test_the_drawer_can_be_closed_in_three_ways(page: Page) -> None:
    ways: tuple[Callable[[], None], ...] = (
        lambda: page.keyboard.press("Escape"),
        lambda: drawer(page).get_by_role("button", name="Close the list").tap(),
        lambda: page.touchscreen.tap(370, 400),
    )
    for close in ways:
        button(page, "Open the list").tap()
        is_open(page)
        expect(page.locator(":focus").and_(drawer(page).locator("*"))).to_have_count(1)
        close()
        is_closed(page)
        expect(button(page, "Open the list")).to_be_focused()


def test_no_key_is_shown_where_there_are_none(page: Page) -> None:
    button(page, "Open the list").tap()
    expect(button(page, "Search")).to_be_visible()


def test_a_session_is_pinned_from_its_menu_in_the_drawer(page: Page) -> None:
    button(page, "Open the list").tap()
    drawer(page).get_by_role("button", name="Options for Plain").tap()
    page.get_by_role("menuitem", name="Pin").tap()
    expect(drawer(page).get_by_role("heading", name="Pinned")).to_be_visible()
    is_open(page)


def test_enter_begins_a_line_and_the_button_sends(page: Page, server: Server) -> None:
    field(page).tap()
    page.keyboard.type("one line")
    page.keyboard.press("Enter")
    page.keyboard.type("and another")
    expect(field(page)).to_have_value("one line\nand another")
    button(page, "Send").tap()
    expect(answers(page)).to_contain_text("Reply to: one line")
    expect(questions(page)).to_contain_text("one line\nand another", use_inner_text=True)
    expect(field(page)).to_have_value("")
    assert fits(page)


def test_every_button_is_large_enough_for_a_finger(open_page: OpenPage) -> None:
    page = open_page("plain")
    expect(answers(page)).to_be_visible()
    button(page, "Open the list").tap()
    is_open(page)
    for target in page.locator("button:visible, nav a:visible").all():
        box = target.bounding_box()
        assert box is not None
        # WCAG 2.2, 2.5.8.
        assert min(box["width"], box["height"]) >= 24, target.evaluate("one => one.outerHTML")
