"""The goals, and the figures as a table, as JSON and as a picture."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

DIRECT, LANGCHAIN = "Chatkeep, direct client", "Chatkeep, langchain client"
UPSTREAM = "the upstream itself"
BASELINE = "baseline: LangChain's client alone"
TUTORIAL = "tutorial: RunnableWithMessageHistory"
RIVALS = (TUTORIAL, "LangGraph with its SQLite checkpointer", "Agno AgentOS", "GraphServe")
UNSYNCED = f"{TUTORIAL}, synchronous OFF"
STREAMS = 500


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, or one for each number of clients, and what it may be."""

    words: str
    limit: float
    values: Callable[[Figures], dict[str, float]]
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


def _cpu(one: str, other: str) -> Callable[[Figures], dict[str, float]]:
    def values(figures: Figures) -> dict[str, float]:
        turns = figures["turns"]
        return {
            f"{clients} clients": measured["cpu_ms"] / turns[other][clients]["cpu_ms"]
            for clients, measured in turns[one].items()
            if clients.isdecimal()
        }

    return values


def _token(figures: Figures, how: str) -> dict[str, float]:
    tokens = figures["tokens"]
    return {how.replace("_us", "").replace("_", " "): tokens[DIRECT][how] / tokens[BASELINE][how]}


def _rate(figures: Figures) -> dict[str, float]:
    turns = figures["turns"]
    rates = [turns[name]["64"]["turns_per_second"] for name in (DIRECT, UNSYNCED)]
    return {"": rates[0] / rates[1]}


def _lengths(figures: Figures) -> dict[str, float]:
    lengths = figures["lengths"]
    return {"": lengths["100000"] / lengths["10"]}


def _keys(figures: Figures) -> dict[str, float]:
    return {
        f"{clients} clients{', a user' if 'user' in how else ''}": ratio
        for clients, ratios in figures["keys"].items()
        for how, ratio in ratios.items()
        if how.startswith("with a key")
    }


def _postgres_cpu(figures: Figures) -> dict[str, float]:
    measured = figures["postgres"]
    return {
        f"{clients} clients": measured[clients]["PostgreSQL"]["cpu_ms"]
        / measured[clients]["SQLite"]["cpu_ms"]
        for clients in ("16", "64")
    }


def _workers(figures: Figures) -> dict[str, float]:
    measured = figures["postgres"]["64"]
    two, one = measured["PostgreSQL, two workers"], measured["PostgreSQL"]
    return {"": two["turns_per_second"] / one["turns_per_second"]}


def _postgres(part: str, figure: str) -> Callable[[Figures], dict[str, float]]:
    return lambda figures: {"": figures["postgres"][part][figure]}


def _rows(figures: Figures) -> dict[str, float]:
    rows = figures["rows"]
    return {
        name: sizes["1000000"]["cpu_ms"] / sizes["1000"]["cpu_ms"] for name, sizes in rows.items()
    }


def _streams(figure: str) -> Callable[[Figures], dict[str, float]]:
    def values(figures: Figures) -> dict[str, float]:
        streams = figures["streams"]
        # A quick run opens fewer: they meet what is meant for all of them.
        return {"": streams[figure]} if streams["streams"] == STREAMS else {}

    return values


GOALS = (
    Goal("CPU of a turn: LangChain's client / baseline", 1.3, _cpu(LANGCHAIN, BASELINE)),
    Goal("CPU of a turn: direct client / baseline", 1 / 3, _cpu(DIRECT, BASELINE)),
    Goal("CPU of a streamed token / baseline", 0.1, lambda f: _token(f, "at_once_us")),
    Goal("CPU of a streamed token / baseline", 0.1, lambda f: _token(f, "alone_us")),
    *(Goal(f"CPU of a turn / {name}", 0.1, _cpu(DIRECT, name)) for name in RIVALS),
    Goal("turns a second at 64 clients / tutorial without sync", 3, _rate, at_least=True),
    Goal("CPU of a turn: 100,000 messages / 10", 1.1, _lengths),
    Goal("CPU of a turn: with a key / without", 1.05, _keys),
    Goal("CPU of a turn: PostgreSQL / SQLite", 2, _postgres_cpu),
    Goal("turns a second: two workers / one", 1.5, _workers, at_least=True),
    Goal("round trips of a turn to PostgreSQL", 5, _postgres("round_trips", "turn")),
    Goal("ms later through another replica, p99", 100, _postgres("remote_ms", "p99")),
    Goal("CPU of a page: 1,000,000 rows / 1,000", 1.5, _rows),
    Goal("500 streams: tokens that fell behind", 0, _streams("tokens_behind")),
    Goal("500 streams: KiB each", 60, _streams("kib_per_stream")),
    Goal("500 streams: share of a core", 0.6, _streams("share_of_a_core")),
    Goal("syncs in a turn, 64 clients", 0.2, lambda f: {"": f["turns"]["syncs_per_turn"]["64"]}),
    Goal("seconds from start to ready", 1.5, lambda f: {"": f["starts"]["ready_seconds"]}),
)


def summary(figures: Figures) -> list[dict[str, Any]]:
    """Each goal with what was measured; nothing where it was not."""
    rows = []
    for goal in GOALS:
        try:
            values = goal.values(figures)
        except KeyError:
            values = {}
        met = {name: goal.is_met(value) for name, value in values.items()}
        rows.append(
            {"figure": goal.words, "goal": goal.limit, "at_least": goal.at_least}
            | {"values": values, "met": met}
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the goals."""
    print(f"\n{'figure':58}{'goal':>10}  measured")
    for row in rows:
        words = "at least" if row["at_least"] else "at most"
        shown = [
            f"{value:.3g}{f' ({name})' if name else ''}{'' if row['met'][name] else ' MISSED'}"
            for name, value in row["values"].items()
        ]
        limit = f"{words[3:]} {row['goal']:.3g}"
        print(f"{row['figure']:58}{limit:>10}  {', '.join(shown) or 'not measured'}")


def machine() -> Figures:
    """Where and with what it was measured."""
    packages = ("chatkeep", "fastapi", "langchain-core", "langchain-openai", "uvicorn")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "processor": _processor(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _processor() -> str:
    """What the system calls it (proc_cpuinfo(5)), where it says so."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return model[1] if model else ""


def _each(figures: Figures, figure: str) -> dict[str, float]:
    return {name: one[figure] for name, one in figures.items()}


WIDTH, BAR, LABEL, LINE = 760, 360, 300, 26


def picture(figures: Figures) -> str:
    """Bars of what a turn and a token cost, as SVG for light and dark pages."""
    turn = {
        name: one["16"]["cpu_ms"]
        for name, one in figures.get("turns", {}).items()
        if name != "syncs_per_turn" and "16" in one
    }
    tokens = figures.get("tokens", {})
    charts = (
        ("CPU time of a turn at 16 clients, milliseconds", turn),
        ("CPU time of a streamed token, microseconds", _each(tokens, "at_once_us")),
        ("CPU time of a streamed token that comes alone, microseconds", _each(tokens, "alone_us")),
    )
    lines: list[str] = []
    top = 0
    for title, values in charts:
        # The upstream has no process of its own to be charged for.
        shown = {name: value for name, value in values.items() if name != UPSTREAM}
        if not shown:
            continue
        top += LINE + 8
        lines.append(f'<text x="0" y="{top}" font-weight="bold">{escape(title)}</text>')
        most = max(shown.values())
        for name, value in sorted(shown.items(), key=lambda pair: pair[1]):
            top += LINE
            length = max(2, value / most * BAR)
            figure = f"{value:.0f}" if value >= 10 else f"{value:.1f}"
            colour = "#0a7d5c" if name.startswith("Chatkeep") else "#8a8f98"
            lines += [
                f'<text x="{LABEL - 8}" y="{top}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{LABEL}" y="{top - 13}" width="{length:.0f}" height="17" rx="3" '
                f'fill="{colour}"/>',
                f'<text x="{LABEL + length + 8:.0f}" y="{top}">{figure}</text>',
            ]
        top += 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + LINE}" '
        'font-family="system-ui, sans-serif" font-size="14" role="img">\n'
        "<title>What a turn and a streamed token cost</title>\n"
        "<style>text { fill: #24292f } @media (prefers-color-scheme: dark) "
        "{ text { fill: #e6edf3 } }</style>\n" + "\n".join(lines) + "\n</svg>\n"
    )
