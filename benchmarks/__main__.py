"""What Chatkeep costs on top of its model, at any size of the database, beside what else there is.

Every server is a real process, and Chatkeep has full durability; its model answers at once, so that
what is measured is everything but the model.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks import (
    comparison,
    dialect,
    keys,
    lengths,
    postgres,
    report,
    rows,
    searching,
    starting,
    streams,
    subjects,
)
from benchmarks.processes import CHROMIUM, upstream

Part = Callable[[Path, str, bool, bool], Any]


def main() -> None:
    """Measure, show, and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: does it work?")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure nothing else")
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument(
        "--rivals", action="store_true", default=None, help="with --quick, too: it takes minutes"
    )
    beside.add_argument(
        "--without-rivals", action="store_false", dest="rivals", help="Chatkeep and its baseline"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--picture", type=Path, help="where to write them as SVG")
    options = parser.parse_args()
    chosen = options.only or list(PARTS)
    rivals = not options.quick if options.rivals is None else options.rivals
    if {"turns", "tokens"} & set(chosen):
        if rivals:
            subjects.install_rivals()
        else:
            print("The rivals are left out: --rivals takes them in.")
    figures: dict[str, Any] = {"machine": report.machine()}
    with tempfile.TemporaryDirectory() as folder, upstream() as url:
        for name in chosen:
            figures[name] = PARTS[name](Path(folder) / name, url, options.quick, rivals)
    figures["goals"] = report.summary(figures)
    report.show(figures["goals"])
    if options.json:
        options.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
    if options.picture:
        options.picture.write_text(report.picture(figures), encoding="utf-8")


def _page(folder: Path, url: str, quick: bool, _rivals: bool) -> None:
    if importlib.util.find_spec("playwright") is None or not CHROMIUM.exists():
        print(f"\nThe page is not measured: it takes playwright and {CHROMIUM}.")
        return
    # Imported here: the other parts run without playwright.
    from benchmarks import page

    page.run(folder, url, quick=quick)


PARTS: dict[str, Part] = {
    "turns": lambda folder, url, quick, rivals: comparison.turns(
        folder, url, quick=quick, rivals=rivals
    ),
    "tokens": lambda folder, url, quick, rivals: comparison.tokens(
        folder, url, quick=quick, rivals=rivals
    ),
    "streams": lambda folder, url, quick, _: streams.turns(folder, url, quick=quick),
    "readers": lambda folder, url, quick, _: streams.readers(folder, url, quick=quick),
    "lengths": lambda folder, url, quick, _: lengths.run(folder, url, quick=quick),
    "keys": lambda folder, url, quick, _: keys.run(folder, url, quick=quick),
    "dialect": lambda folder, url, quick, _: dialect.run(folder, url, quick=quick),
    "postgres": lambda folder, url, quick, _: postgres.run(folder, url, quick=quick),
    "rows": lambda folder, url, quick, _: rows.run(folder, url, quick=quick),
    "starts": lambda folder, url, quick, _: starting.run(folder, url, quick=quick),
    "searching": lambda folder, url, quick, _: searching.run(folder, url, quick=quick),
    "page": _page,
}

if __name__ == "__main__":
    main()
