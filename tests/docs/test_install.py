"""Every way to install of the page about it works: a wheel is built, and runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.reader import ROOT, blocks
from tests.docs.test_readme import INSTALL_SECONDS, QUICK, SERVE, bash, serving
from tests.upstream import Upstream

REPOSITORY, WHEEL, PIP, PIPX, UVX, UVX_EMBEDDED = (
    block.text for block in blocks("install.md") if block.language == "sh"
)
TOOLS = ["uv", "pipx"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a copy of the repository, in which the wheel is built as the page says."""
    home = tmp_path_factory.mktemp("home")
    subprocess.run(["git", "clone", "--quiet", ROOT, home / "chatkeep"], check=True)
    bash(WHEEL, home / "chatkeep")
    bash(f"{sys.executable} -m venv tools && tools/bin/pip install --quiet {' '.join(TOOLS)}", home)
    return home


def response(machine: Path, commands: str, env: dict[str, str]) -> str:
    """Run the commands, the last of which serves, post a message, and load the page."""
    path = f"{machine}/tools/bin:{machine}/.local/bin:{os.environ['PATH']}"
    env = {"HOME": str(machine), "XDG_DATA_HOME": "", "PATH": path, **QUICK, **env}
    with serving(commands, machine / "chatkeep", env, INSTALL_SECONDS) as url:
        body = '{"session_id": "s", "message": "Say hello to me, please", "max_tokens": 8}'
        return bash(f"curl -sSf {url}/chat --json '{body}' && curl -sSf {url}/", machine)


def test_the_wheel_runs_as_it_is_installed(machine: Path, full: bool, upstream: Upstream) -> None:
    """A normal run installs it once, by uv and without the embedded model; `--full` in each way."""
    for commands in (PIP, UVX_EMBEDDED, PIPX) if full else ():
        assert '"model":"local:smollm2-135m-instruct"' in response(machine, commands, {})
    without_weights = response(machine, UVX, {"OLLAMA_HOST": upstream.url})
    assert '"response":"Reply to: Say hello to me, please"' in without_weights
    assert "<!doctype html>" in without_weights


def test_the_way_from_the_repository_is_the_one_of_the_readme() -> None:
    assert [line.strip() for line in REPOSITORY.splitlines()] == SERVE.strip().split(" && ")
