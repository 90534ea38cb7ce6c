"""One turn as a client reads it: each event once, whatever happens to the connection."""

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import httpx2

from chatkeep.cli.client import Client, refusal
from chatkeep.cli.errors import CommandError
from chatkeep.domain.events import EventType

MEDIA_TYPE = "text/event-stream"
TERMINAL_EVENTS = {
    EventType.TURN_COMPLETED,
    EventType.TURN_FAILED,
    EventType.TURN_CANCELLED,
    EventType.TURN_INTERRUPTED,
}

RETRY_SECONDS = (0.2, 0.5, 1, 2, 3, 4, 5, 5, 5, 5)
"""Waited between attempts to reconnect; half a minute in all."""

TIMEOUT = httpx2.Timeout(10, read=60)
"""The server sends a comment much more often than this."""

MAX_EVENT_BYTES = None
"""The last event has the whole answer, whose limit is a setting of the server."""

CANCEL_SECONDS = 45
"""The server responds once the stopped turn is stored."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a turn, with the JSON object that is its data."""

    id: str
    name: str
    data: Mapping[str, object]


class Turn:
    """A turn to be created, and its events."""

    def __init__(self, client: Client, session_id: str, **options: object) -> None:
        """Prepare a turn; nothing is sent before `events` is iterated.

        Args:
            client: The server.
            session_id: Of the session, which may be new.
            options: Further members of the body of `POST /chat`.

        """
        self._client = client
        self.body: dict[str, object] = {"session_id": session_id, **options}
        # With it the request is safe to retry: the server finds the turn that it has created.
        self.idempotency_key = uuid.uuid4().hex
        self._last_event_id = ""
        self._is_first_attempt = True
        self._left = threading.Event()
        self.turn_id: str | None = None

    def join(self, earlier: "Turn") -> None:
        """Become the same turn as an earlier one that may not have arrived, if the bodies agree."""
        if self.body == earlier.body:
            self.idempotency_key = earlier.idempotency_key

    def events(self) -> Iterator[Event | None]:
        """Create the turn and read its events to the last.

        Yields `None` where the connection is lost, before it waits and reconnects.

        Raises:
            CommandError: The turn was not created, or its events can no longer be read.

        """
        delays = iter(RETRY_SECONDS)
        while not self._left.is_set():
            failure = CommandError("The answer was cut off.")
            try:
                for event in self._connect():
                    delays = iter(RETRY_SECONDS)
                    yield event
                    if event.name in TERMINAL_EVENTS or self._left.is_set():
                        return
            except httpx2.TransportError as error:
                failure = self._client.unanswered(error)
                if self._is_first_attempt and isinstance(error, httpx2.ConnectError):
                    raise failure from None
            except httpx2.RequestError as error:
                raise self._client.unanswered(error) from None
            except _Unavailable as error:
                failure = CommandError(str(error), status=error.status)
            self._is_first_attempt = False
            delay = next(delays, None)
            if delay is None:
                raise failure
            yield None
            self._left.wait(delay)

    def cancel(self) -> None:
        """Cancel the turn, whose first event was read. Raises `CommandError`."""
        for delay in RETRY_SECONDS:
            with contextlib.suppress(httpx2.TransportError):
                path = f"/turns/{self.turn_id}/cancel"
                response = self._client.http.post(path, timeout=CANCEL_SECONDS)
                if response.is_success:
                    return
                if not response.is_server_error:
                    raise refusal(response)
            if self._left.wait(delay):
                return

    def leave(self) -> None:
        """Stop reading events in every thread. The turn goes on in the server."""
        self._left.set()

    def _connect(self) -> Iterator[Event]:
        with self._request() as source:
            self._check(source.response)
            for message in source:
                if not message.data:
                    continue
                event = Event(message.id, message.event, cast("dict[str, object]", message.json()))
                self._last_event_id = event.id
                if event.name == EventType.TURN_STARTED:
                    self.turn_id = str(event.data["turn_id"])
                yield event

    def _request(self) -> contextlib.AbstractContextManager[httpx2.EventSource]:
        if self.turn_id is None:
            return self._client.http.sse(
                "/chat",
                method="POST",
                json=self.body,
                headers={"Idempotency-Key": self.idempotency_key},
                timeout=TIMEOUT,
                max_event_size=MAX_EVENT_BYTES,
            )
        # The turn was created: continue after the last event that was read.
        return self._client.http.sse(
            f"/turns/{self.turn_id}/events",
            headers={"Last-Event-ID": self._last_event_id},
            timeout=TIMEOUT,
            max_event_size=MAX_EVENT_BYTES,
        )

    def _check(self, response: httpx2.Response) -> None:
        if not response.is_success:
            response.read()
            error = refusal(response)
            if response.is_server_error and not self._is_first_attempt:
                raise _Unavailable(str(error), status=error.status)
            raise error
        if not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
            raise self._client.not_chatkeep()


class _Unavailable(CommandError):
    """A server that starts or stops, or a proxy in front of it, cannot respond now."""
