"""Runs the examples of the documentation: every block of a page, in order and unchanged.

Each page has a home folder with an empty data folder, and a server, of its own.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from chatkeep import examples
from tests.process import PATIENCE, Server
from tests.upstream import Upstream

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
DEFAULT_URL = "http://127.0.0.1:8000"
DATA_FOLDER = ".local/share/chatkeep"
MODELS = {
    "CHATKEEP_MODEL": examples.OPENAI,
    "CHATKEEP_MODELS": f"{examples.ANTHROPIC},{examples.OLLAMA}",
}

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)

# The Python blocks of a page share a namespace, as in a notebook.
_SESSION = """\
import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    text, mark = json.loads(line)
    exec(compile(text, "<page>", "exec"), names)
    print(mark, flush=True)
"""
_MARK = "-- end of block --"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str


def pages() -> list[str]:
    """The paths of all pages, relative to `docs/`."""
    return sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page. Fails if the pattern misses a fence."""
    text = (DOCS / page).read_text()
    fenced = [Block(kind, textwrap.dedent(body)) for _, kind, body in _FENCE.findall(text)]
    assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(fenced), page
    return fenced


class Reader:
    """Runs blocks with a home folder and a server of its own; `outputs` has what each printed."""

    def __init__(self, home: Path, upstream: Upstream, more: dict[str, str]) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**upstream.env, **MODELS, "HOME": str(home), "PATH": path, **more}
        self.home = home
        self.server = Server(home / DATA_FOLDER, env)
        self.outputs: list[str] = []
        self._session: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None:
            self._session.communicate(timeout=PATIENCE)
        self.server.kill()

    def run(self, block: Block) -> None:
        """Run a block. Commands that stop or start the service stop or start the server."""
        text = block.text.replace(DEFAULT_URL, self.server.url)
        if block.language == "bash":
            self.outputs.append(self._bash(text))
        elif block.language == "python":
            self.outputs.append(self._python(text))
        elif block.language == "sql":
            self.outputs.append(self._sql(text))
        elif block.text == "sudo systemctl stop chatkeep\n":
            assert self.server.stop() == 0
        elif block.text == "sudo systemctl start chatkeep\n":
            self.server.start()

    def _bash(self, text: str) -> str:
        completed = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.home,
            env=self.server.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            # A block has several commands, and each starts a process.
            timeout=PATIENCE * len(text.splitlines()),
        )
        assert completed.returncode == 0, f"{text}\n{completed.stdout}\n{completed.stderr}"
        return completed.stdout

    def _python(self, text: str) -> str:
        if self._session is None:
            self._session = subprocess.Popen(
                [sys.executable, "-c", _SESSION],
                cwd=self.home,
                env=self.server.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        alarm = threading.Timer(PATIENCE, self._session.kill)
        alarm.start()
        try:
            self._session.stdin.write(json.dumps([text, _MARK]) + "\n")
            self._session.stdin.flush()
            printed: list[str] = []
            for line in self._session.stdout:
                if line == f"{_MARK}\n":
                    return "".join(printed)
                printed.append(line)
        finally:
            alarm.cancel()
        raise AssertionError(f"{text}\n{''.join(printed)}")

    def _sql(self, text: str) -> str:
        path = self.home / DATA_FOLDER / "chatkeep.db"
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
            return "".join(f"{row}\n" for row in conn.execute(text))
