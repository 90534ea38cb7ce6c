"""One turn as its client sees it: each event once, whatever happens to the connection.

It shows nothing and asks nobody.
"""

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2

from chatkeep.cli.chat.api import ERRORS_FROM, Refused, refusal, unreachable

STREAM = "text/event-stream"
STARTED, RESTARTED, COMPLETED = "turn.started", "turn.restarted", "turn.completed"
DELTA, TITLED = "message.delta", "session.titled"
CANCELLED = "turn.cancelled"
LAST = {COMPLETED, CANCELLED, "turn.failed", "turn.interrupted"}

PAUSES_SECONDS = (0.2, 0.5, 1, 2, 3, 4, 5, 5, 5, 5)
"""Between the tries to go on after the connection broke; half a minute in all."""

TIMEOUT = httpx2.Timeout(10, read=60)
"""The server sends a comment much more often than it would be given up here."""

CANCEL_SECONDS = 45
"""A stopped turn is answered when it is stored as such."""


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a turn."""

    id: str
    name: str
    data: dict[str, Any]


class Turn:
    """A message that is sent, or a reply that is asked for once more, and its events."""

    def __init__(self, client: httpx2.Client, session_id: str, **options: str | None) -> None:
        """Take what `POST /chat` is to be sent; nothing is sent before `events` is read."""
        self._client = client
        self.body = {"session_id": session_id, **options}
        # The key makes the post safe to repeat: it finds the turn that it has made.
        self.key = uuid.uuid4().hex
        self._position = ""
        self._is_first = True
        self._left = threading.Event()
        self.turn_id: str | None = None

    def join(self, other: "Turn") -> None:
        """Be the same turn as one that may not have arrived, if this asks for the same."""
        if self.body == other.body:
            self.key = other.key

    def events(self) -> Iterator[Event | None]:
        """The turn's events to the last; `None` when the connection is lost and tried again.

        Raises `Refused`: the turn was not begun, or can no longer be read.
        """
        pauses = iter(PAUSES_SECONDS)
        while not self._left.is_set():
            trouble = Refused("The answer was cut off.")
            try:
                for event in self._connect():
                    pauses = iter(PAUSES_SECONDS)
                    yield event
                    if event.name in LAST or self._left.is_set():
                        return
            except httpx2.TransportError as error:
                trouble = unreachable(self._client, error)
                if self._is_first and isinstance(error, httpx2.ConnectError):
                    raise trouble from None
            except httpx2.RequestError as error:
                raise unreachable(self._client, error) from None
            except _Unavailable as error:
                trouble = Refused(str(error), status=error.status)
            self._is_first = False
            pause = next(pauses, None)
            if pause is None:
                raise trouble
            yield None
            self._left.wait(pause)

    def cancel(self) -> None:
        """Stop the turn, which has begun. Raises `Refused`."""
        for pause in PAUSES_SECONDS:
            with contextlib.suppress(httpx2.TransportError):
                path = f"/turns/{self.turn_id}/cancel"
                response = self._client.post(path, timeout=CANCEL_SECONDS)
                if response.status_code < ERRORS_FROM:
                    return
                if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise refusal(response)
            if self._left.wait(pause):
                return

    def leave(self) -> None:
        """Read no more. The turn goes on in the server."""
        self._left.set()

    def _connect(self) -> Iterator[Event]:
        with self._request() as response:
            self._check(response)
            for event in _parse(response.iter_bytes()):
                self._position = event.id
                if event.name == STARTED:
                    self.turn_id = str(event.data["turn_id"])
                yield event

    def _request(self) -> contextlib.AbstractContextManager[httpx2.Response]:
        if self.turn_id is None:
            headers = {"Accept": STREAM, "Idempotency-Key": self.key}
            return self._client.stream(
                "POST", "/chat", json=self.body, headers=headers, timeout=TIMEOUT
            )
        # It has begun: it is read on from the last event, not begun again.
        headers = {"Accept": STREAM, "Last-Event-ID": self._position}
        path = f"/turns/{self.turn_id}/events"
        return self._client.stream("GET", path, headers=headers, timeout=TIMEOUT)

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code >= ERRORS_FROM:
            response.read()
            refused = refusal(response)
            is_passing = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            if is_passing and not self._is_first:
                raise _Unavailable(str(refused), status=refused.status)
            raise refused
        if not response.headers.get("content-type", "").startswith(STREAM):
            raise Refused(f"What answers at {self._client.base_url} is not Chatkeep.")


class _Unavailable(Refused):
    """A server that starts or stops, or a proxy before it, says that it cannot answer now."""


def _parse(pieces: Iterator[bytes]) -> Iterator[Event]:
    """The events in these bytes; comments, and one that is cut off, are none.

    A line ends where the standard says: `iter_lines` would end it at U+2028 too, inside a text.
    """
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            lines = (line.partition(": ") for line in block.decode().split("\n"))
            fields = {name: value for name, _, value in lines}
            if "data" in fields:
                yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
