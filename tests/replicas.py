"""Several servers at one PostgreSQL."""

import threading
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.process import PATIENCE, Server, until
from tests.sse import STREAM, Event, parse
from tests.upstream import Upstream

LEASE_SECONDS = max(1, PATIENCE // 100)
"""On a busy machine a process may stand still for a second without being dead."""


class Replicas:
    """Servers that share a database, and nothing else."""

    def __init__(
        self,
        folder: Path,
        database: str,
        upstream: Upstream,
        count: int = 3,
        *,
        program: tuple[str, ...] = ("chatkeep",),
        **env: str,
    ) -> None:
        self.env = {
            **upstream.env,
            "CHATKEEP_MODEL": "openai:scripted",
            "CHATKEEP_DATABASE_URL": database,
            "CHATKEEP_LEASE_SECONDS": str(LEASE_SECONDS),
            "CHATKEEP_HEARTBEAT_SECONDS": "1",
            "CHATKEEP_SHUTDOWN_DELAY": "0",
            **env,
        }
        self.servers = [
            Server(folder / f"replica{number}", self.env, program=program)
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.__exit__()


class Reader:
    """Reads a turn's stream in a thread of its own."""

    def __init__(
        self, server: Server, method: str, path: str, *, may_break: bool = False, **more: object
    ) -> None:
        self.events: list[Event] = []
        self.has_begun = threading.Event()
        self.has_ended = threading.Event()
        self._is_leaving = False
        self._may_break = may_break
        # A test that fails does not wait for it.
        self._thread = threading.Thread(
            target=self._read, args=(server, method, path, more), daemon=True
        )
        self._thread.start()

    def _read(self, server: Server, method: str, path: str, more: dict[str, Any]) -> None:
        try:
            self._read_events(server, method, path, more)
        except httpx2.HTTPError:
            if not self._may_break:
                raise

    def _read_events(self, server: Server, method: str, path: str, more: dict[str, Any]) -> None:
        headers = {**STREAM, **more.pop("headers", {})}
        with (
            server.client() as client,
            client.stream(method, path, headers=headers, **more) as response,
        ):
            assert response.status_code == 200, response.read()
            if path != "/events":
                self.has_begun.set()
            block: list[str] = []
            for line in response.iter_lines():
                # The first line of `/events` is a comment: from there on nothing is missed.
                self.has_begun.set()
                if self._is_leaving:
                    return
                block.append(line)
                if not line:
                    self.events += parse(block)
                    block = []
        self.has_ended.set()

    def leave(self) -> None:
        """Go away with the next line."""
        self._is_leaving = True

    def join(self) -> None:
        """Wait until nothing comes any more."""
        self._thread.join()

    def wait(self) -> list[Event]:
        until(self.has_ended.is_set)
        self._thread.join()
        return self.events

    @property
    def text(self) -> str:
        return "".join(e.data["text"] for e in self.events if e.name == "message.delta")


def post(
    server: Server,
    session: str,
    message: str = "hello",
    *,
    may_break: bool = False,
    **more: object,
) -> Reader:
    body = {"session_id": session, "message": message, **more}
    return Reader(server, "POST", "/chat", may_break=may_break, json=body)


def turn_of(reader: Reader) -> str:
    return str(until(lambda: reader.events, "no event came")[0].data["turn_id"])
