"""A real server process, started as its users start it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2

START_SECONDS = 120
PATIENCE = 300
"""Seconds that a test waits for an answer: a loaded machine is slow, not wrong."""


class Server:
    """`chatkeep serve` on a free port, with its data in `folder`."""

    def __init__(
        self,
        folder: Path,
        env: dict[str, str] | None = None,
        *,
        program: tuple[str, ...] = ("chatkeep",),
    ) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CHATKEEP_", "OPENAI_"))}
        root = {"PYTHONPATH": str(Path(__file__).parent.parent)}
        self.env = {**clean, **root, "CHATKEEP_DATA_DIR": str(folder), **(env or {})}
        self.folder = folder
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
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
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.program, "serve", "--port", "0"],
                env=self.env,
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            said = self.log.read_bytes()[before:].decode()
            if "Chatkeep answers on " in said:
                self.url = said.split("Chatkeep answers on ")[1].split(" ")[0]
                return
            if self.process.poll() is not None:
                raise AssertionError(f"the server did not start:\n{said}")
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
        return httpx2.Client(base_url=self.url, timeout=PATIENCE, **options)

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
        found: list[dict[str, Any]] = self.get(f"/history/{quote(session_id, safe='')}")
        return found

    def contents(self, session_id: str) -> list[str]:
        return [message["content"] for message in self.history(session_id)]

    def sessions(self) -> dict[str, dict[str, Any]]:
        return {session["session_id"]: session for session in self.get("/sessions")}


def files_with(folder: Path, words: str) -> list[str]:
    """The files of a folder that hold these words, in any case."""
    sought = words.lower().encode()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.name for path in files if sought in path.read_bytes().lower()]


def until(check: Any) -> Any:
    """Ask again until `check` returns something true; return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found
