"""What is measured: Chatkeep, its baseline, and what a user would write or install instead.

Each is a process of its own, with the same upstream, and a turn of each is one request.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import driver
from benchmarks.driver import Request, post
from benchmarks.processes import cpu_seconds, server

ROOT = Path(__file__).parent.parent
RIVALS = ROOT / ".venv-rivals"
"""The environment of what is not Chatkeep's."""

UPSTREAM = "the upstream itself"
START_SECONDS = 60

Drive = Callable[[list[list[str]], int, str], list[float]]
"""Post so many turns in each session, a list of which is a client's; the seconds of each turn."""

Firsts = Callable[[list[str], str], list[float]]
"""Stream a turn of each session, all at the same time; the seconds to the first token of each."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One of them, running."""

    name: str
    pid: int
    drive: Drive
    firsts: Firsts
    port: int = 0
    stream: Request | None = None
    """How a streamed turn is asked for; `None` if not by HTTP."""
    is_fast: bool = False

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return cpu_seconds(self.pid)


@contextmanager
def upstream_itself(url: str) -> Iterator[Subject]:
    """The upstream, called directly: what any subject's latency has below it."""
    port = int(url.rsplit(":", 1)[1].partition("/")[0])

    def request(_session: str, message: str) -> bytes:
        body = {"model": "instant", "stream": True, "messages": [{"content": message}]}
        return post("/v1/chat/completions", json.dumps(body).encode())

    def drive(sessions: list[list[str]], turns: int, message: str) -> list[float]:
        return driver.turns(port, request, sessions, turns, message)

    yield Subject(UPSTREAM, 0, drive, _streaming(port, request), port, request, is_fast=True)


@contextmanager
def baseline(url: str) -> Iterator[Subject]:
    """LangChain's client in a bare event loop."""
    env = os.environ | {"OPENAI_BASE_URL": url}
    command = [sys.executable, "-m", "benchmarks.baseline"]
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def call(clients: int, turns: int, message: str) -> list[tuple[float, float]]:
            assert process.stdin is not None
            assert process.stdout is not None
            params = {"clients": clients, "turns": turns, "message": message}
            process.stdin.write(f"{json.dumps(params)}\n")
            process.stdin.flush()
            took: list[tuple[float, float]] = json.loads(process.stdout.readline())
            return took

        def drive(sessions: list[list[str]], turns: int, message: str) -> list[float]:
            return [whole for _, whole in call(len(sessions), turns * len(sessions[0]), message)]

        def firsts(sessions: list[str], message: str) -> list[float]:
            return [first for first, _ in call(len(sessions), 1, message)]

        try:
            yield Subject("baseline: LangChain's client alone", process.pid, drive, firsts)
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def chatkeep(folder: Path, url: str, client: str) -> Iterator[Subject]:
    """Chatkeep with full durability, and one of its clients for OpenAI's protocol."""
    with server(folder, url, CHATKEEP_MODEL_CLIENT=client) as (http, pid):
        port = http.base_url.port or 0
        drive = _posting(port, chat_request("/chat"))
        stream = chat_request("/chat", accept="text/event-stream")
        firsts, is_fast = _streaming(port, stream), client == "direct"
        yield Subject(f"Chatkeep, {client} client", pid, drive, firsts, port, stream, is_fast)


@contextmanager
def rival(name: str, folder: Path, url: str, **env: str) -> Iterator[Subject]:
    """Something else."""
    folder.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "none",
        "MODEL": "instant",
        "PORT": str(port),
    }
    env = os.environ | settings | {"DATA_DIR": str(folder)} | env
    command = [str(RIVALS / "bin/python"), "-m", f"benchmarks.rivals.{name}"]
    words, plain, stream = RIVAL_TURNS[name]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=log, stderr=log)
        try:
            _wait(process, port, folder / "log")
            drive = _posting(port, plain)
            # Alone: the tutorial's first requests fight about who makes the tables.
            drive([["warm-up"]], 1, "Are you ready?")
            yield Subject(words, process.pid, drive, _streaming(port, stream), port, stream)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def everything(folder: Path, url: str, *, rivals: bool) -> Iterator[list[Subject]]:
    """All of them at the same time, Chatkeep first."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(chatkeep(folder / client, url, client))
            for client in ("direct", "langchain")
        ]
        running.append(stack.enter_context(baseline(url)))
        if rivals:
            running += [
                stack.enter_context(rival(name, folder / name, url)) for name in RIVAL_TURNS
            ]
        yield running


def install_rivals() -> None:
    """Make their environment, once."""
    if RIVALS.exists():
        return
    lock = ROOT / "benchmarks/rivals/requirements.lock"
    pip = [str(RIVALS / "bin/python"), "-m", "pip", "install", "--quiet"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(RIVALS)], check=True)
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(lock)], check=True)
    except BaseException:
        # Half of it would pass for all of it the next time.
        shutil.rmtree(RIVALS, ignore_errors=True)
        raise


def _posting(port: int, request: Request) -> Drive:
    def drive(sessions: list[list[str]], turns: int, message: str) -> list[float]:
        return driver.turns(port, request, sessions, turns, message)

    return drive


def _streaming(port: int, request: Request) -> Firsts:
    def firsts(sessions: list[str], message: str) -> list[float]:
        return [one.first for one in driver.streams(port, request, sessions, message)]

    return firsts


def chat_request(path: str, **headers: str) -> Request:
    """The request that Chatkeep has, and the tutorial took over."""

    def request(session: str, message: str) -> bytes:
        body = {"session_id": session, "message": message}
        return post(path, json.dumps(body).encode(), **headers)

    return request


def _form(streams: str) -> Request:
    def request(session: str, message: str) -> bytes:
        body = urlencode({"session_id": session, "message": message, "stream": streams}).encode()
        kind = "application/x-www-form-urlencoded"
        return post("/agents/chat/runs", body, **{"Content-Type": kind})

    return request


def _responses(*, streams: bool) -> Request:
    def request(session: str, message: str) -> bytes:
        name = md5(session.encode(), usedforsecurity=False).hexdigest()
        body = {"model": "chat", "conversation": f"conv_{name}", "input": message}
        return post("/v1/responses", json.dumps(body | {"stream": streams}).encode())

    return request


chat = chat_request("/chat")
"""A turn that is answered in one piece."""

RIVAL_TURNS: dict[str, tuple[str, Request, Request]] = {
    "tutorial": (
        "tutorial: RunnableWithMessageHistory",
        chat_request("/chat"),
        chat_request("/chat/stream"),
    ),
    "graph": (
        "LangGraph with its SQLite checkpointer",
        chat_request("/chat"),
        chat_request("/chat/stream"),
    ),
    "installed": ("Agno AgentOS", _form("false"), _form("true")),
    "served": ("GraphServe", _responses(streams=False), _responses(streams=True)),
}
"""What each is called, and how a turn of it is asked for, whole and streamed."""


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"it did not start: {log.read_text()[-2_000:]}")
