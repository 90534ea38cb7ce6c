"""The two environments of clients that development does not need: made when a test asks for one.

Both hold exactly what their lock files name. A change of a lock file makes its environment again.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.process import PATIENCE

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VENV = ROOT / ".venv-clients"
NODE = HERE / "node"
INSTALL_SECONDS = 20 * PATIENCE


class Client:
    """An interpreter and the folder of the programs that it runs."""

    def __init__(self, interpreter: str, programs: Path) -> None:
        self.interpreter = interpreter
        self.programs = programs

    def run(self, program: str, *arguments: str, url: str, folder: Path) -> Any:
        """Run a program to its end; return the JSON that it prints.

        Args:
            program: A file name in the folder of the programs.
            arguments: The first says what to do, by the program's own list.
            url: Of the server, without `/v1`.
            folder: The home directory of the program, where it may write.
        """
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LLM_USER_PATH": str(folder),
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": "not-needed",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "PYTHONPYCACHEPREFIX": str(VENV / "pycache"),
        }
        command = [self.interpreter, str(self.programs / program), *arguments]
        done = subprocess.run(
            command,
            env=env,
            cwd=folder,
            capture_output=True,
            check=False,
            text=True,
            timeout=4 * PATIENCE,
        )
        assert done.returncode == 0, f"{program} {arguments}:\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])


def python_client() -> Client:
    """Python with the clients whose bounds exclude packages of the development environment."""
    interpreter = VENV / "bin" / "python"

    def make() -> None:
        shutil.rmtree(VENV, ignore_errors=True)
        _install([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet"]
        _install([*pip, "--no-deps", "--no-compile", "-r", str(HERE / "requirements.lock")])

    _make_once(VENV, HERE / "requirements.lock", make)
    return Client(str(interpreter), HERE / "programs")


def development_client() -> Client:
    """The development environment's own Python, in a process of its own."""
    return Client(sys.executable, HERE / "programs")


def node_client() -> Client:
    """Node with the clients of `node/package.json`."""

    def make() -> None:
        command = ["npm", "--prefix", str(NODE), "ci", "--no-audit", "--no-fund"]
        _install([*command, "--ignore-scripts"])

    _make_once(NODE / "node_modules", NODE / "package-lock.json", make)
    return Client("node", NODE / "programs")


def _make_once(folder: Path, lock: Path, make: Callable[[], None]) -> None:
    """Make a folder from its lock file, unless it is there: one process does, others wait."""
    digest = sha256(lock.read_bytes()).hexdigest()
    mark = folder / ".made-from"
    with _exclusive(lock):
        if mark.exists() and mark.read_text() == digest:
            return
        make()
        mark.write_text(digest)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, check=False, text=True, timeout=INSTALL_SECONDS
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
