"""A real server process, forked from one that has imported the program already.

Importing takes longer than all that a server does in most tests. `test_stops.py` and
`test_edges.py` start servers and commands as users do.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2

QUIET_PATIENCE = 30
PATIENCE = int(os.environ.get("TEST_PATIENCE_SECONDS", QUIET_PATIENCE))
"""Seconds that a test waits for what must happen. A busy machine needs more than a quiet one."""

START_SECONDS = PATIENCE

MODEL_PATIENCE = 10 * PATIENCE
"""Seconds for an answer of the embedded model."""

IMPORTED = (
    "aiohttp",
    "chatkeep.app",
    "chatkeep.cli.server.foreground",
    "chatkeep.cli.server.protocol",
    "httpx2",
    "langchain_core.language_models.chat_models",
    "pytest",
)
"""What every server needs, and this module and its caller."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(IMPORTED))


def _umask() -> int:
    # There is no other way to read it.
    os.umask(umask := os.umask(0))
    return umask


@dataclass(frozen=True)
class _Command:
    """A command as `python -m` takes it, and what its process has of its surroundings."""

    arguments: list[str]
    env: dict[str, str]
    folder: Path
    output: Path
    errors: Path
    input: Path = Path(os.devnull)
    umask: int = field(default_factory=_umask)

    def run(self) -> None:
        """Become this command, in a process that was just forked."""
        assert sys.modules.keys() >= set(IMPORTED), "a module was renamed: see IMPORTED"
        os.environ.clear()
        os.environ.update(self.env)
        os.chdir(self.folder)
        os.umask(self.umask)
        for number, file in enumerate((self.input, self.output, self.errors)):
            opened = os.open(file, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        sys.argv = list(self.arguments)
        runpy.run_module(self.arguments[0], run_name="__main__", alter_sys=True)

    def start(self) -> "Process":
        forked = _FORKS.Process(target=self.run, daemon=True)
        forked.start()
        return Process(forked)


class Process:
    """A forked process, with the members of `subprocess.Popen`."""

    def __init__(self, forked: ForkServerProcess) -> None:
        self._forked = forked
        self.pid: int = forked.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._forked.exitcode

    def poll(self) -> int | None:
        return self._forked.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._forked.join(timeout)
        if (code := self._forked.exitcode) is None:
            raise subprocess.TimeoutExpired(["chatkeep"], timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """`chatkeep serve` on a free port, with its data in `folder`.

    Its clients wait for an answer for `patience` seconds.
    """

    def __init__(
        self,
        folder: Path,
        env: dict[str, str] | None = None,
        *,
        program: tuple[str, ...] = ("chatkeep",),
        patience: float = PATIENCE,
    ) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CHATKEEP_", "OPENAI_"))}
        root = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        self.env = {**clean, **root, "CHATKEEP_DATA_DIR": str(folder), **(env or {})}
        self.folder = folder
        self.program = program
        self.patience = patience
        self.process: Process | None = None
        self.port = 0
        """Where it listens; 0 for any free port."""
        self.url = ""
        self.log = folder / "server.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.log.stat().st_size if self.log.exists() else 0
        self.log.touch()
        self.process = _Command(
            [*self.program, "serve", "--port", str(self.port)],
            self.env,
            self.folder,
            output=Path(os.devnull),
            errors=self.log,
        ).start()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = self.log.read_bytes()[before:].decode()
            if "Chatkeep answers on " in text:
                self.url = text.split("Chatkeep answers on ")[1].split(" ")[0]
                return
            if self.process.poll() is not None:
                raise AssertionError(f"the server did not start:\n{text}")
            time.sleep(0.02)
        raise AssertionError(f"the server was not ready in time:\n{self.log.read_text()}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=START_SECONDS)

    def client(self, **options: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=self.patience, **options)

    def chat(self, session_id: str, message: str, **more: Any) -> httpx2.Response:
        with self.client() as client:
            body = {"session_id": session_id, "message": message, **more}
            return client.post("/chat", json=body)

    def get(self, path: str) -> Any:
        with self.client() as client:
            response = client.get(path)
            assert response.status_code == 200, response.text
            return response.json()

    def history(self, session_id: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.get(f"/history/{quote(session_id, safe='')}")
        return messages

    def contents(self, session_id: str) -> list[str]:
        return [message["content"] for message in self.history(session_id)]

    def sessions(self) -> dict[str, dict[str, Any]]:
        return {session["session_id"]: session for session in self.get("/sessions")}


def run_command(
    *arguments: str, env: dict[str, str], folder: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `chatkeep` with these arguments to its end, forked as a server is."""
    with tempfile.TemporaryDirectory() as streams:
        files = [Path(streams, name) for name in ("input", "output", "errors")]
        for file in files:
            file.write_text(stdin if file is files[0] else "")
        command = _Command(
            ["chatkeep", *arguments],
            env,
            folder,
            input=files[0],
            output=files[1],
            errors=files[2],
        )
        process = command.start()
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        output, errors = (file.read_bytes().decode() for file in files[1:])
        return subprocess.CompletedProcess(["chatkeep", *arguments], code, output, errors)


def files_with(folder: Path, words: str) -> list[str]:
    """The files of a folder that hold these words, in any case."""
    lowered = words.lower().encode()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.name for path in files if lowered in path.read_bytes().lower()]


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def until(check: Any, failure: str = "it did not happen in time", *, seconds: float = 0) -> Any:
    """Call `check` until it returns something true; return that.

    Fails with the text of `failure` after so many seconds, `PATIENCE` by default.
    """
    deadline = time.monotonic() + (seconds or PATIENCE)
    while not (result := check()):
        assert time.monotonic() < deadline, failure
        time.sleep(0.02)
    return result
