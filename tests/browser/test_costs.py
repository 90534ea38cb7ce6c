"""No answer stops the page, however dear its Markdown is to read, while it is written and after."""

import threading
from collections.abc import Callable
from itertools import islice

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.costs import COSTS
from tests.browser.listing import Stored, store
from tests.browser.page import answers, ended, replying, send
from tests.process import Server
from tests.upstream import Answer, Upstream

LIMIT_MS = 10_000
"""How long the page may do nothing else at a time. What is linear takes a blink, or 2 s where it
is tens of thousands of elements, so that a slow machine changes nothing; what grows with the square
of the length takes a minute, and what is exponential never ends. This is no measure of speed."""

PIECE, PIECE_SECONDS = 10_000, 0.02
"""Characters that the model writes at a time, and how long that takes."""
EVERY = 3
"""In a normal run one of so many is tried."""

WATCH = """
() => {
    window.longest = 0;
    let before = performance.now();
    const beat = () => {
        const now = performance.now();
        window.longest = Math.max(window.longest, now - before);
        before = now;
        setTimeout(beat, 0);
    };
    beat();
}
"""
"""Notes the longest time in which nothing else could be done on the page, in milliseconds."""


def written_slowly(text: str) -> Answer:
    """So that the page reads the text again and again while it grows."""
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    pace = threading.Semaphore(0)
    for number in range(len(pieces)):
        threading.Timer(number * PIECE_SECONDS, pace.release).start()
    # The last is for the end of the answer.
    threading.Timer(len(pieces) * PIECE_SECONDS, pace.release, [10]).start()
    return Answer(pieces, pace=pace)


@pytest.mark.own_context
def test_no_answer_stops_the_page_while_it_is_written(
    open_page: Open, server: Server, upstream: Upstream, full: bool, show: Callable[[str], None]
) -> None:
    page = open_page()
    page.evaluate(WATCH)
    longest: dict[str, float] = {}
    for name, text in islice(COSTS.items(), 0, None, 1 if full else EVERY):
        upstream.script = replying(lambda _, text=text: written_slowly(text))
        page.goto("#/")
        expect(answers(page)).to_have_count(0)
        page.evaluate("window.longest = 0")
        send(page, name)
        ended(page)
        longest[name] = page.evaluate("window.longest")
        assert longest[name] < LIMIT_MS, f"{name} stopped the page for {longest[name]:.0f} ms"
    worst = sorted(longest, key=lambda name: -longest[name])[:3]
    show(f"{len(longest)} answers: {', '.join(f'{n} {longest[n]:.0f} ms' for n in worst)} at most")


@pytest.mark.own_context
def test_no_stored_answer_stops_the_page(
    open_page: Open, server: Server, full: bool, show: Callable[[str], None]
) -> None:
    names = list(islice(COSTS, 1, None, 1 if full else EVERY))
    store(server, *(Stored(f"stored {name}", messages=("a", COSTS[name])) for name in names))
    page = open_page()
    page.evaluate(WATCH)
    longest: dict[str, float] = {}
    for name in names:
        page.evaluate("window.longest = 0")
        page.goto(f"#/stored {name}")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"stored {name}")
        expect(answers(page).last).to_be_attached()
        page.evaluate("() => new Promise(requestIdleCallback)")
        longest[name] = page.evaluate("window.longest")
        assert longest[name] < LIMIT_MS, f"{name} stopped the page for {longest[name]:.0f} ms"
    worst = sorted(longest, key=lambda name: -longest[name])[:3]
    show(f"{len(longest)} answers: {', '.join(f'{n} {longest[n]:.0f} ms' for n in worst)} at most")
