"""Actions on the page and the elements that tests look at."""

from collections.abc import Callable
from urllib.parse import unquote

from playwright.sync_api import Locator, Page, Route, expect

from tests.process import until
from tests.upstream import Answer, Call, polite


def field(page: Page) -> Locator:
    """The field for a new message."""
    return page.get_by_role("textbox", name="Message", exact=True)


def send(page: Page, text: str) -> None:
    field(page).fill(text)
    page.keyboard.press("Enter")


def questions(page: Page) -> Locator:
    return page.get_by_role("article", name="Your message")


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Answer")


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def expect_messages(page: Page, *texts: str) -> None:
    """Expect exactly these messages on the page, questions and answers, in this order."""
    expect(page.get_by_role("article")).to_contain_text(list(texts))


def wait_until_answered(page: Page) -> None:
    """Wait until no answer is running and the newest message is a stored answer."""
    newest = page.get_by_role("article").last
    expect(newest.get_by_role("button", name="Regenerate", exact=True)).to_be_visible()
    expect(button(page, "Stop")).to_have_count(0)


def wait_until_stored(page: Page) -> None:
    """Wait until the newest answer is shown as it is stored, with its usage."""
    wait_until_answered(page)
    expect(answers(page).last.locator(".figures")).to_be_visible()


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold the requests to an address from now on; the list has those that have arrived."""
    routes: list[Route] = []
    page.route(pattern, lambda route: routes.append(route))
    return routes


def wait_until_held(page: Page, routes: list[Route]) -> None:
    """Wait for the first request; Playwright delivers it while another call to the page runs."""
    until(lambda: page.evaluate("1") and routes)


def release(page: Page, pattern: str, routes: list[Route]) -> None:
    """Continue the requests that were held, and hold no more.

    The pattern is removed last: with the last one, Playwright itself continues what is held.
    """
    for route in routes:
        route.fallback()
    page.unroute(pattern)


def session_of(page: Page) -> str:
    """The id of the session that a page shows; empty before the first message is sent."""
    return unquote(page.url.partition("#/")[2].partition("?")[0])


def replying(answer: Answer | Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    """A script that gives this answer to every message, and titles as `polite` does."""

    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        return answer(call) if callable(answer) else answer

    return script


def only_first(answer: Answer) -> Callable[[Call], Answer]:
    """A script that gives this answer once, and answers as `polite` does afterwards."""
    remaining = [answer]
    return replying(lambda call: remaining.pop() if remaining else polite(call))
