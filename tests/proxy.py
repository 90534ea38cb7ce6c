"""A proxy between a client and the server that drops connections on cue."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Proxy:
    """Passes each request on whole. `limit` says by its number how much of the answer passes.

    It is called when the server has the request; then the connection is dropped. While there is
    no server, and while it `is_closed`, every connection is.
    """

    def __init__(self, url: str, *, limit: Callable[[int], int | None]) -> None:
        self.to = url
        self.is_closed = False
        self._limit = limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def drop(self) -> None:
        """Break every connection that there is."""
        for connection in list(self._open):
            # It may have ended by itself.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                connection, _ = self._listener.accept()
                self._start(self._connect, connection)

    def _connect(self, client: socket.socket) -> None:
        # A client that has left meanwhile, or a server that died, is no error of the proxy.
        with client, contextlib.suppress(ConnectionError):
            if self.is_closed:
                return
            host, port = self.to.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as server:
                both = {client, server}
                self._open |= both
                try:
                    self._serve(client, server)
                finally:
                    self._open -= both

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        raw = b""
        while b"\r\n\r\n" not in raw:
            if not (data := client.recv(65_536)):
                return  # opened in advance, and not needed
            raw += data
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            if not (data := client.recv(65_536)):
                return
            body += data
        number = len(self.requests)
        method, path, _ = first.split(" ")
        self.requests.append(Request(method, path, headers, body))
        # One exchange for each connection, so that each end of it is seen.
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head) + b"\r\nConnection: close"
        server.sendall(head + b"\r\n\r\n" + body)
        self._pass_on(server, client, self._limit(number))

    def _pass_on(self, server: socket.socket, client: socket.socket, left: int | None) -> None:
        while left != 0 and (data := server.recv(65_536 if left is None else left)):
            client.sendall(data)
            left = None if left is None else left - len(data)
