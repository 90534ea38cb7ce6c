"""The page in a browser: its size, its start, what it holds, and how smoothly an answer grows.

What does not work ends the measurement: the list has to show, and the answer to grow.
"""

import itertools
import statistics
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx2
from playwright.sync_api import Browser

from benchmarks import texts
from benchmarks.chromium import LONG_MS, Memory, Tab, Tasks, chromium, tab
from benchmarks.filling import fill
from benchmarks.processes import server

LISTED, QUICK_LISTED = 100_000, 1_000
SHORT, LONG, QUICK_LONG = 10, 10_000, 200
ROUNDS, QUICK_ROUNDS = 5, 1
STREAMED_SECONDS, QUICK_STREAMED_SECONDS = 20, 1
SCROLLING_SECONDS = 60
"""After that the list has been scrolled enough."""

KINDS = {"prose": texts.prose, "code": texts.code}
"""What is written, 200 tokens a second."""

FAR = 10_000_000
"""Pixels by which the wheel is turned."""


# When something can be written and the list is there, what it shows is drawn with the next frame.
READY = """
new MutationObserver((_, observer) => {
  const field = document.querySelector('textarea#message:not(:disabled)');
  const list = document.querySelector('nav [data-session], nav .list > p');
  if (!field || !list) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => (window.readyAfter = performance.now())));
}).observe(document, { childList: true, subtree: true });
"""
SIZES = """
[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(({ initiatorType }) => initiatorType !== 'fetch')
  .map(({ name, encodedBodySize }) => [name, encodedBodySize])
"""
IN_VIEW = """(key) => {
  const row = document.querySelector(`[data-key="${key}"]`);
  if (!row || !row.checkVisibility({ visibilityProperty: true })) return false;
  const { top, bottom } = row.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}"""
OPEN = f"""([session, key]) => new Promise((resolve) => {{
  const inView = {IN_VIEW};
  const began = performance.now();
  location.hash = `#/${{session}}`;
  const check = () => {{
    if (!inView(key)) return requestAnimationFrame(check);
    setTimeout(() => resolve(performance.now() - began));
  }};
  check();
}})"""


class Start(NamedTuple):
    """A page that has just become usable: milliseconds, and what it holds."""

    ms: float
    memory: Memory


class Figures(NamedTuple):
    """What was measured; each by the name under which it is printed."""

    sizes: dict[str, int]
    starts: dict[str, Start]
    opened: dict[str, Start]
    scrolled: dict[str, Memory]
    streamed: dict[str, Tasks]


class Sizes(NamedTuple):
    """How much is measured."""

    listed: int
    long: int
    rounds: int
    seconds: int


def run(folder: Path, model_url: str, *, quick: bool) -> Figures:
    """Measure the page before an empty database, and before a full one."""
    sizes = Sizes(LISTED, LONG, ROUNDS, STREAMED_SECONDS)
    if quick:
        sizes = Sizes(QUICK_LISTED, QUICK_LONG, QUICK_ROUNDS, QUICK_STREAMED_SECONDS)
    figures = Figures({}, {}, {}, {}, {})
    full = _made(folder / "full")
    fill(
        full / "chatkeep.db",
        histories=(SHORT, sizes.long),
        listed=sizes.listed,
        texts=texts.messages(),
    )
    with chromium() as browser:
        with server(_made(folder / "empty"), model_url) as (client, _pid):
            client.delete("/sessions/warm-up").raise_for_status()
            _first_view(browser, client, figures)
            _starts("no conversation", browser, client, sizes, figures)
        kinds = [f"openai:{kind}-{sizes.seconds}" for kind in KINDS]
        with server(full, model_url, CHATKEEP_MODELS=",".join(kinds)) as (client, _pid):
            _starts(f"{sizes.listed:,} conversations", browser, client, sizes, figures)
            _list_to_its_end(browser, client, sizes, figures)
            for length in (SHORT, sizes.long):
                _conversation(browser, client, length, sizes, figures)
    _show_streams(figures.streamed)
    return figures


def _first_view(browser: Browser, client: httpx2.Client, figures: Figures) -> None:
    with tab(browser, READY) as opened:
        _ready(opened, client)
        for address, size in opened.page.evaluate(SIZES):
            figures.sizes[urlsplit(address).path] = size
    print(f"\nThe page's first view: {sum(figures.sizes.values()) / 1_024:.1f} KiB, compressed")
    for path, size in figures.sizes.items():
        print(f"  {path:26}{size / 1_024:>8.1f}")
    print(f"\n{'Until it is usable':40}{'ms':>8}{'heap MiB':>11}{'DOM nodes':>11}")


def _starts(
    what: str, browser: Browser, client: httpx2.Client, sizes: Sizes, figures: Figures
) -> None:
    """Open the page in a new profile each time."""
    took: list[Start] = []
    for _ in range(sizes.rounds):
        with tab(browser, READY) as opened:
            took.append(Start(_ready(opened, client), opened.memory()))
    figures.starts[what] = _middle(took)
    _show(what, figures.starts[what])


def _list_to_its_end(
    browser: Browser, client: httpx2.Client, sizes: Sizes, figures: Figures
) -> None:
    with tab(browser, READY) as opened:
        pages: list[str] = []
        opened.page.on("response", lambda answer: pages.append(answer.url))
        _ready(opened, client)
        last = opened.page.locator('[data-session="listed-0"]')
        opened.page.locator(".sessions").hover()
        began = time.monotonic()
        while not last.count() and time.monotonic() - began < SCROLLING_SECONDS:
            opened.page.mouse.wheel(0, FAR)
        took = time.monotonic() - began
        limits = [
            parse_qs(urlsplit(url).query)["limit"][0] for url in pages if "pinned=false" in url
        ]
        rows = min(sum(map(int, limits)), sizes.listed)
        if rows < QUICK_LISTED:
            raise SystemExit(f"the list does not scroll on: it has {rows} rows")
        what = f"  scrolled to row {rows:,}"
        figures.scrolled[what] = opened.memory()
    _show(what, Start(took * 1_000, figures.scrolled[what]))


def _conversation(
    browser: Browser, client: httpx2.Client, length: int, sizes: Sizes, figures: Figures
) -> None:
    """Open it, each time in a new profile, and go on in the last one."""
    session = f"history-{length}"
    keys = [message["id"] for message in client.get(f"/history/{session}").json()]
    what = f"a conversation of {length:,} messages"
    took: list[Start] = []
    for last in (number == sizes.rounds for number in range(1, sizes.rounds + 1)):
        with tab(browser, READY) as opened:
            _ready(opened, client)
            ms = opened.page.evaluate(OPEN, [session, keys[-1]])
            took.append(Start(ms, opened.memory()))
            if last:
                figures.opened[what] = _middle(took)
                _show(what, figures.opened[what])
                _conversed(browser, client, opened, keys, sizes, figures)


def _conversed(
    browser: Browser,
    client: httpx2.Client,
    opened: Tab,
    keys: list[str],
    sizes: Sizes,
    figures: Figures,
) -> None:
    """Read all of the conversation that is open, and have answers written at its end."""
    if len(keys) != SHORT:
        what = "  scrolled to its beginning"
        ms = _to_its_beginning(opened, keys[0])
        figures.scrolled[what] = opened.memory()
        _show(what, Start(ms, figures.scrolled[what]))
        opened.page.get_by_role("button", name="Go to the end").click()
        opened.page.wait_for_function(IN_VIEW, arg=keys[-1])
    for kind in KINDS:
        session, what = f"history-{len(keys)}", f"{kind}, below {len(keys):,} messages"
        figures.streamed[what] = _stream(browser, client, opened, session, kind, sizes.seconds)


def _to_its_beginning(opened: Tab, key: str) -> float:
    """Press Home until there is no more before the first message; milliseconds."""
    opened.page.get_by_role("region", name="Messages").focus()
    began = time.monotonic()
    while not opened.page.evaluate(IN_VIEW, key):
        opened.page.keyboard.press("Home")
        if time.monotonic() - began > 4 * SCROLLING_SECONDS:
            raise SystemExit("the page does not scroll to the first message")
    return (time.monotonic() - began) * 1_000


def _stream(
    browser: Browser, client: httpx2.Client, opened: Tab, session: str, kind: str, seconds: int
) -> Tasks:
    """Have an answer written at the end of the conversation that is open."""
    page = opened.page
    model = {"model": f"openai:{kind}-{seconds}"}
    client.patch(f"/sessions/{session}", json=model).raise_for_status()
    with opened.traced(browser) as traces:
        page.get_by_role("textbox", name="Message", exact=True).fill("Write on.")
        page.keyboard.press("Enter")
        page.locator("article[aria-busy=true] .markdown").wait_for()
        # Whoever waits in the page for the end would be measured too.
        page.wait_for_timeout(seconds * 1_000)
        answer = page.get_by_role("article", name="Answer").last
        answer.get_by_role("button", name="Regenerate", exact=True).wait_for()
    reply = client.get(f"/history/{session}", params={"limit": 1}).json()[0]["content"]
    if reply != "".join(itertools.islice(KINDS[kind](), seconds * 200)):
        raise SystemExit(f"another reply than the model wrote: {reply[:200]}")
    return traces[0]


def _ready(opened: Tab, client: httpx2.Client) -> float:
    """Open the page; after how many milliseconds something could be written in it."""
    opened.page.goto(f"{client.base_url}/")
    waited = opened.page.wait_for_function("() => window.readyAfter")
    field = opened.page.get_by_role("textbox", name="Message", exact=True)
    field.fill("It can be used.")
    field.fill("")
    for newest in client.get("/sessions", params={"limit": 1}).json():
        opened.page.locator(f'[data-session="{newest["session_id"]}"]').wait_for()
    return float(waited.json_value())


def _middle(took: list[Start]) -> Start:
    return Start(
        statistics.median(one.ms for one in took),
        Memory(
            statistics.median(one.memory.heap_mib for one in took),
            round(statistics.median(one.memory.nodes for one in took)),
        ),
    )


def _show(what: str, start: Start) -> None:
    ms, (heap, nodes) = start
    print(f"  {what:38}{ms:>8.0f}{heap:>11.1f}{nodes:>11,}", flush=True)


def _show_streams(streamed: dict[str, Tasks]) -> None:
    print("\n200 tokens a second: tasks of the page's main thread, milliseconds")
    print(f"{'':40}{'longest':>8}{'most CPU':>10}{'p99':>7}{f'over {LONG_MS}':>9}{'busy':>7}")
    for what, (longest, cpu, late, long, busy) in streamed.items():
        print(f"  {what:38}{longest:>8.1f}{cpu:>10.1f}{late:>7.1f}{long:>9}{busy:>7.0%}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
