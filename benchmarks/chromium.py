"""A real Chromium: its pages, what they hold in memory, and what keeps their main thread busy."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.processes import CHROMIUM

# It is to ask nobody but our server.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MIB = 1_048_576
LONG_MS = 50
"""A task that takes longer is a long one (W3C, Long Tasks API)."""

PATIENCE_MS = 60_000


class Memory(NamedTuple):
    """What is left after a garbage collection."""

    heap_mib: float
    nodes: int


class Tasks(NamedTuple):
    """What the main thread did, in milliseconds."""

    longest: float
    longest_cpu: float
    """The most CPU time of one task: without the time in which others had the core."""
    late: float
    """The 99th percentile."""
    long: int
    """Tasks longer than LONG_MS."""
    busy: float
    """Share of the time."""


@dataclass(frozen=True)
class Tab:
    """A page of a profile of its own."""

    page: Page
    cdp: CDPSession
    complaints: list[str]

    def memory(self) -> Memory:
        """What the page holds once its garbage is collected."""
        # What finalisers let go of is collected by the second.
        for _ in range(2):
            self.cdp.send("HeapProfiler.collectGarbage")
        heap = self.cdp.send("Runtime.getHeapUsage")["usedSize"]
        return Memory(heap / MIB, self.cdp.send("Memory.getDOMCounters")["nodes"])

    @contextmanager
    def traced(self, browser: Browser) -> Iterator[list[Tasks]]:
        """Fill a list with what the main thread did meanwhile."""
        traces: list[Tasks] = []
        browser.start_tracing(
            page=self.page, categories=["disabled-by-default-devtools.timeline", "__metadata"]
        )
        try:
            yield traces
        finally:
            trace = browser.stop_tracing()
        traces.append(_tasks(json.loads(trace)["traceEvents"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; it belongs to this thread, which cannot run an event loop of its own meanwhile."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET) as browser,
    ):
        yield browser


@contextmanager
def tab(browser: Browser, script: str) -> Iterator[Tab]:
    """A tab that knows nothing yet, with a script that runs before the page's own."""
    with browser.new_context(
        viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
    ) as context:
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(script)
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield Tab(page, context.new_cdp_session(page), complaints)
        if complaints:
            raise SystemExit(f"the page failed: {complaints}")


def _tasks(events: list[dict[str, Any]]) -> Tasks:
    """Those of the main thread that had most to do: other pages are empty."""
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks_of: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        # The last one may have been cut off.
        if (
            event["name"] == "RunTask"
            and "dur" in event
            and (event["pid"], event["tid"]) in threads
        ):
            tasks_of[event["pid"], event["tid"]].append(event)
    tasks = max(tasks_of.values(), key=lambda those: sum(task["dur"] for task in those))
    took = sorted(task["dur"] / 1_000 for task in tasks)
    ends = max(task["ts"] + task["dur"] for task in tasks) / 1_000
    return Tasks(
        longest=took[-1],
        longest_cpu=max(task.get("tdur", 0) for task in tasks) / 1_000,
        late=took[len(took) * 99 // 100],
        long=sum(one > LONG_MS for one in took),
        busy=sum(took) / (ends - min(task["ts"] for task in tasks) / 1_000),
    )
