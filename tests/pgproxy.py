"""Stands between a server and PostgreSQL, and cuts or holds the connection at an exact message.

It knows the frames of the protocol (PostgreSQL, 55.7), so that a fault happens at a statement and
not at a time. It runs in a thread of the test.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from tests.postgres import Cluster, name_of

ROUND_TRIPS = {b"Q", b"S", b"H"}
"""What a client sends when it waits for an answer: Query, Sync and Flush."""


@dataclass(frozen=True)
class Frame:
    """A message: who sends it, on which connection, its type, and its body."""

    is_answer: bool
    application: str
    kind: bytes
    body: bytes

    @property
    def is_round_trip(self) -> bool:
        return not self.is_answer and self.kind in ROUND_TRIPS

    @property
    def is_committed(self) -> bool:
        """Whether the server says that a transaction is committed."""
        return self.is_answer and self.kind == b"C" and self.body.rstrip(b"\0") == b"COMMIT"

    @property
    def is_of_turns(self) -> bool:
        """Whether it belongs to a transaction of requests and turns."""
        return self.application == "chatkeep"


class Cut(Exception):
    """Raised by a watcher to end the connection instead of passing a frame on."""


class PostgresProxy:
    """`url` leads through it; `watch` sees each frame before that goes on, and may raise `Cut`."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self._socket = str(cluster.folder / ".s.PGSQL.5432")
        self._database = name_of(database)
        self._user = urlsplit(database).username
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self.watch: Callable[[Frame], None] = lambda _: None
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        where = f"{self._user}@127.0.0.1:{self.port}/{self._database}"
        return f"postgresql://{where}?sslmode=disable&gssencmode=disable"

    def hold(self) -> None:
        """Pass nothing on, from the next frame on; a watcher may call it."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def hold_now(self) -> None:
        """The same from within `watch`: the frame that it looks at is the first that is held."""
        self._open.clear()

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._open.set)

    def cut(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(lambda: [w.transport.abort() for w in self._writers])

    def _call(self, work: "asyncio.Future[None] | object") -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()  # type: ignore[arg-type]  # a coroutine

    async def _listen(self) -> None:
        self._open.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._open.set()
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, FileNotFoundError):
            length = await reader.readexactly(4)
            startup = await reader.readexactly(int.from_bytes(length) - 4)
            fields = startup[4:].split(b"\0")
            named = dict(zip(fields[::2], fields[1::2], strict=False))
            application = named.get(b"application_name", b"").decode()
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._socket)
            self._writers.add(upstream_writer)
            upstream_writer.write(length + startup)
            ways = (
                self._pass(reader, upstream_writer, application, is_answer=False),
                self._pass(upstream_reader, writer, application, is_answer=True),
            )
            tasks = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            upstream_writer.transport.abort()
            self._writers.discard(upstream_writer)
        writer.transport.abort()
        self._writers.discard(writer)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        application: str,
        *,
        is_answer: bool,
    ) -> None:
        with contextlib.suppress(Cut):
            while True:
                kind = await reader.readexactly(1)
                length = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(length) - 4)
                self.watch(Frame(is_answer, application, kind, body))
                await self._open.wait()
                writer.write(kind + length + body)
                await writer.drain()
