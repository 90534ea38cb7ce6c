"""uvicorn as both kinds of server run it: `chatkeep serve`, and a command's own."""

import logging
from typing import Any

import uvicorn

from chatkeep.domain.errors import ChatError


class Server(uvicorn.Server):
    """A server that raises the `ChatError` for which its application could not start.

    Of a stream whose reader is gone it logs nothing: that is no error.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        """Take the configuration, whose `app` is the application itself."""
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(self._is_news)

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Start the application. Raises `ChatError`, and `SystemExit` after a bug was logged."""
        try:
            await super().startup(sockets)
        except SystemExit:
            if self._failure is not None:
                raise self._failure from None
            raise

    @property
    def _failure(self) -> ChatError | None:
        state: Any = self.config.app.state  # type: ignore[union-attr]  # an application of FastAPI
        failure: ChatError | None = state.lifecycle.failure
        return failure

    def _is_news(self, record: logging.LogRecord) -> bool:
        return self._failure is None and "without completing response" not in record.getMessage()
