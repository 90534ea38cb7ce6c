"""A server behind a proxy: its address stays the same after a restart."""

from pathlib import Path

import httpx2

from tests.process import PATIENCE, Server
from tests.proxy import Proxy


class ProxiedServer(Server):
    """`url` is the proxy's. The next `lost_responses` responses to `POST /chat` are dropped."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        super().__init__(folder, env)
        self.proxy = Proxy("", limit=self._limit)
        self.lost_responses = 0

    def start(self) -> None:
        super().start()
        self.proxy.to, self.url = self.url, self.proxy.url

    def restore(self) -> None:
        """Start the server and accept connections again, whatever a test has done."""
        self.proxy.is_closed = False
        self.lost_responses = 0
        if self.process is None or self.process.poll() is not None:
            self.start()

    def post(self, session_id: str, message: str) -> httpx2.Response:
        """Post a message directly to the server, not through the proxy."""
        body = {"session_id": session_id, "message": message}
        return httpx2.post(f"{self.proxy.to}/chat", json=body, timeout=PATIENCE)

    def _limit(self, number: int) -> int | None:
        request = self.proxy.requests[number]
        if self.lost_responses == 0 or (request.method, request.path) != ("POST", "/chat"):
            return None
        self.lost_responses -= 1
        return 0
