"""No answer stops the page, however dear its Markdown is to read, while it is written and after."""

import threading
from collections.abc import Callable
from itertools import islice

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.costly_answers import COSTS
from tests.browser.page import answers, replying, send, wait_until_answered
from tests.browser.session_list import StoredSession, store
from tests.process import Server
from tests.upstream import Answer, Upstream

LIMIT_SECONDS = 20
"""Processor seconds of the page's main thread for one answer. What is linear takes less than one,
or five where it is tens of thousands of elements; what grows with the square of the length takes
a minute, and what is exponential never ends. Unlike the time that passes, it does not depend on
what else the machine does."""

PIECE, PIECE_SECONDS = 25_000, 0.02
"""Characters that the model writes at a time, and how long that takes."""
EVERY = 6
"""In a normal run one of so many is tried."""


class Processor:
    """What the main thread of a page has used of the processor."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(row["value"] for row in metrics if row["name"] == "ThreadTime"))


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
    open_page: OpenPage,
    server: Server,
    upstream: Upstream,
    full: bool,
    summarise: Callable[[str], None],
) -> None:
    page = open_page()
    processor = Processor(page)
    costs: dict[str, float] = {}
    for name, text in islice(COSTS.items(), 0, None, 1 if full else EVERY):
        upstream.script = replying(lambda _, text=text: written_slowly(text))
        page.goto("#/")
        expect(answers(page)).to_have_count(0)
        before = processor.seconds()
        send(page, name)
        wait_until_answered(page)
        costs[name] = processor.seconds() - before
        assert costs[name] < LIMIT_SECONDS, f"{name} took the page {costs[name]:.1f} s"
    worst = sorted(costs, key=lambda name: -costs[name])[:3]
    summarise(f"{len(costs)} answers: {', '.join(f'{n} {costs[n]:.1f} s' for n in worst)} at most")


@pytest.mark.own_context
def test_no_stored_answer_stops_the_page(
    open_page: OpenPage, server: Server, full: bool, summarise: Callable[[str], None]
) -> None:
    names = list(islice(COSTS, 1, None, 1 if full else EVERY))
    store(server, *(StoredSession(f"stored {name}", messages=("a", COSTS[name])) for name in names))
    page = open_page()
    processor = Processor(page)
    costs: dict[str, float] = {}
    for name in names:
        before = processor.seconds()
        page.goto(f"#/stored {name}")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"stored {name}")
        expect(answers(page).last).to_be_attached()
        page.evaluate("() => new Promise(requestIdleCallback)")
        costs[name] = processor.seconds() - before
        assert costs[name] < LIMIT_SECONDS, f"{name} took the page {costs[name]:.1f} s"
    worst = sorted(costs, key=lambda name: -costs[name])[:3]
    summarise(f"{len(costs)} answers: {', '.join(f'{n} {costs[n]:.1f} s' for n in worst)} at most")
