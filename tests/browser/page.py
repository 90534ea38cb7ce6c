"""What a person does on the page, and where they look."""

from collections.abc import Callable
from urllib.parse import unquote

from playwright.sync_api import Locator, Page, Route, expect

from tests.process import until
from tests.upstream import Answer, Call, polite


def field(page: Page) -> Locator:
    """Where a message is written."""
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


def shows(page: Page, *texts: str) -> None:
    """The messages on the page, questions and answers, are these, in this order."""
    expect(page.get_by_role("article")).to_contain_text(list(texts))


def ended(page: Page) -> None:
    """Nothing is being answered any more, and the newest message is an answer that is stored."""
    newest = page.get_by_role("article").last
    expect(newest.get_by_role("button", name="Regenerate", exact=True)).to_be_visible()
    expect(button(page, "Stop")).to_have_count(0)


def stored(page: Page) -> None:
    """The newest answer is shown as it is stored: what it took is there."""
    ended(page)
    expect(answers(page).last.locator(".figures")).to_be_visible()


def hold(page: Page, pattern: str) -> list[Route]:
    """Hold the requests to an address from now on; the list has those that have arrived."""
    routes: list[Route] = []
    page.route(pattern, lambda route: routes.append(route))
    return routes


def wait_until_held(page: Page, routes: list[Route]) -> None:
    """Wait for the first request; Playwright delivers it while a page is asked for something."""
    until(lambda: page.evaluate("1") and routes)


def session_of(page: Page) -> str:
    """The session that a page shows; a new one has a name once its first message is sent."""
    return unquote(page.url.partition("#/")[2].partition("?")[0])


def replying(answer: Answer | Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    """A model that answers like this, and names sessions politely."""

    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        return answer(call) if callable(answer) else answer

    return script


def only_first(answer: Answer) -> Callable[[Call], Answer]:
    """A model that answers like this once, and politely ever after."""
    left = [answer]
    return replying(lambda call: left.pop() if left else polite(call))
