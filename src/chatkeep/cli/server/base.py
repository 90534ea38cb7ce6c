"""uvicorn as both kinds of server run it: `chatkeep serve`, and that of a command."""

import logging
from socket import socket

import uvicorn

from chatkeep.app import Lifecycle
from chatkeep.domain.errors import ChatError


class Server(uvicorn.Server):
    """A server that raises the `ChatError` for which its application could not start.

    It logs nothing about streams whose reader has gone: that is no error.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle) -> None:
        """Prepare a server of the application that `lifecycle` belongs to."""
        super().__init__(config)
        self._lifecycle = lifecycle
        logging.getLogger("uvicorn.error").addFilter(self._is_logged)

    @property
    def failure(self) -> ChatError | None:
        """Why the application could not start."""
        return self._lifecycle.failure

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start the application. Raises `ChatError`, and `SystemExit` after a bug was logged."""
        try:
            await super().startup(sockets)
        except SystemExit:
            if self.failure is not None:
                raise self.failure from None
            raise

    def _is_logged(self, record: logging.LogRecord) -> bool:
        return self.failure is None and "without completing response" not in record.getMessage()
