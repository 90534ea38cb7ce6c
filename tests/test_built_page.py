"""The built page is of this state of its sources, whole, small, and asks nobody but its server."""

import gzip
import hashlib
import json
import re
from pathlib import Path

from chatkeep.api.routes.page import FOLDER

SOURCES = Path(__file__).parent.parent / "web"
MANIFEST = FOLDER / "SOURCES"
BUILD = "scripts/page"
SKIPPED = {"node_modules"}
SILENT = {".png", ".txt", ".woff2"}
"""Pictures, licences and fonts refer to no other file."""
MOST_GZIPPED_BYTES = 160_000
# Names of namespaces, a base for addresses without one, and where messages of errors lead.
HOSTS = {"www.w3.org", "server", "svelte.dev", "github.com"}


def assets() -> list[Path]:
    return sorted((FOLDER / "assets").iterdir())


def texts() -> list[Path]:
    """The files that may refer to others."""
    files = [FOLDER / "index.html", *assets()]
    return [path for path in files if path.suffix not in SILENT]


def referred(text: str) -> set[str]:
    """The files beside it that HTML, or a script at its start, asks for."""
    in_html = re.findall(r'(?:src|href)="\./([^"]+)"', text)
    in_script = re.findall(r'(?:from|import)\s*["`]\./([^"`]+)["`]', text)
    return {*in_html, *(f"assets/{name}" for name in in_script)}


def first_view() -> set[str]:
    """The page and what it loads before anything is done with it."""
    referenced, left = {"index.html"}, ["index.html"]
    while left:
        file = left.pop()
        if not file.endswith((".html", ".js")):
            continue
        fresh = referred((FOLDER / file).read_text()) - referenced
        referenced |= fresh
        left += fresh
    return referenced


def test_the_page_was_built_from_these_sources() -> None:
    assert MANIFEST.is_file(), f"The page was not built. Build it: {BUILD}"
    then = dict(line.split("  ", 1)[::-1] for line in MANIFEST.read_text().splitlines())
    now = {
        path.relative_to(SOURCES).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in SOURCES.rglob("*")
        if path.is_file() and not SKIPPED & set(path.relative_to(SOURCES).parts)
    }
    changed = sorted(path for path in now.keys() | then.keys() if now.get(path) != then.get(path))
    assert changed == [], f"Since the page was built, these have changed. Build it again: {BUILD}"


def test_every_file_that_the_page_asks_for_is_there_and_no_other() -> None:
    files = {f"assets/{path.name}" for path in assets()}
    index = referred((FOLDER / "index.html").read_text())
    assert {"assets/theme.js", "assets/index.js", "assets/index.css"} <= index <= files

    text = "".join(path.read_text() for path in texts())
    licences = {file for file in files if file.endswith(".txt")}
    assert [file for file in sorted(files - licences) if Path(file).name not in text] == []
    named = set(re.findall(r"[\"'`(]\./(?:assets/)?([\w-]+\.(?:js|css|svg|woff2))\b", text))
    assert {f"assets/{name}" for name in named} <= files


def test_the_first_view_is_small() -> None:
    sizes = {file: len(gzip.compress((FOLDER / file).read_bytes())) for file in first_view()}
    assert "assets/index.js" in sizes
    assert sum(sizes.values()) <= MOST_GZIPPED_BYTES, sizes


def test_no_script_runs_in_line() -> None:
    index = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=", index) == []


def test_no_file_names_a_host_to_ask() -> None:
    named: dict[str, set[str]] = {}
    for path in texts():
        hosts = re.findall(r"(?:https?|wss?)://([\w.-]+)", path.read_text())
        hosts += re.findall(r"[\"'`(]//([\w-]+\.[\w.-]+)/", path.read_text())
        if others := set(hosts) - HOSTS:
            named[path.name] = others
    assert named == {}
    # Where those lead that are allowed: nothing of it is ever fetched.
    text = "".join(path.read_text() for path in texts())
    assert not re.search(r"(?:fetch|import|open|src\s*=)\s*\(?\s*[\"'`]https?:", text)
    assert "sourceMappingURL" not in text


def test_the_lock_file_names_no_host() -> None:
    text = (SOURCES / "package-lock.json").read_text()
    lock = json.loads(text)
    assert "registry" not in text
    assert lock["packages"]
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
        assert package.get("integrity") or name == "", name
