"""The documentation is true: its reference is current, its site is whole, its examples run."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from chatkeep.app import create_app
from chatkeep.cli import cli
from chatkeep.cli.chat_conversation import COMMANDS
from chatkeep.settings import PREFIX, Settings
from chatkeep.store.tables import metadata
from tests.docs.reader import DOCS, ROOT, Block, Reader, blocks, pages
from tests.process import files_with
from tests.upstream import Upstream

RUN_ELSEWHERE = "streaming.md"
RUNS = ("bash", "python", "sql")
SHOWS = ("json", "text", "toml", "ini", "nginx", "javascript")
NOT_RUN = {
    "pip install": "it installs; the README's is run by its own test",
    "sudo ": "it changes the machine; of a service the test stops and starts its server",
    "_API_KEY=": "it needs a provider's key",
    "OLLAMA_HOST=": "it needs an Ollama",
    "chatkeep serve": "it serves until it is stopped",
    "chatkeep chat\n": "it talks with a person",
    "chatkeep sessions delete": "it asks a person",
    "/events\n": "it has no end",
    "sqlite3 ": "the program need not be there",
    "-m benchmarks": "it takes a while; the README's is run by its own test",
}
"""Why a block in `sh` is not run: what is in it, and the reason."""

PAGES = pages()
EXAMPLES = [page for page in PAGES if {block.language for block in blocks(page)} & set(RUNS)]
EXAMPLES.remove(RUN_ELSEWHERE)

Check = Callable[[Reader], None]


# --- The reference ---


def reference(folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "scripts" / "reference.py"
    return subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, check=False, text=True
    )


def test_the_reference_is_current() -> None:
    """`python scripts/reference.py` makes it so."""
    checked = reference(ROOT)
    assert checked.returncode == 0, checked.stderr


def test_a_reference_that_lacks_something_is_stale(tmp_path: Path) -> None:
    shutil.copytree(DOCS / "reference", tmp_path / "docs" / "reference")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    page = tmp_path / "docs" / "reference" / "settings.md"
    lines = page.read_text().splitlines(keepends=True)
    page.write_text("".join(line for line in lines if "CHATKEEP_PORT" not in line))

    checked = reference(tmp_path)

    assert checked.returncode == 1
    assert "settings.md is stale" in checked.stderr
    assert "api.md" not in checked.stderr


def test_every_setting_route_and_command_is_in_the_reference() -> None:
    settings = (DOCS / "reference" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        own = field.validation_alias is not None
        assert f"| `{'' if own else PREFIX}{name.upper()}` | `{name}` |" in settings
    api = (DOCS / "reference" / "api.md").read_text()
    for route in routes():
        assert f"\n### `{route}`\n" in api
    commands = (DOCS / "reference" / "commands.md").read_text()
    for name in command_names(typer.main.get_command(cli), "chatkeep"):
        assert f"## `{name}`\n" in commands


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("routes")
    app = create_app(Settings.model_construct(data_dir=folder, model="openai:any"))
    app.state.store.close()
    return app.openapi()


def command_names(command: Any, name: str) -> Iterator[str]:
    yield name
    for below, child in getattr(command, "commands", {}).items():
        yield from command_names(child, f"{name} {below}")


# --- The site ---


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a broken link or anchor is an error."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"],
        cwd=folder,
        capture_output=True,
        check=False,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"
