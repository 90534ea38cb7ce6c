"""What clients talk to: a proxy in front of one server or several replicas, which fails on cue."""

import itertools
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.process import Server, until
from tests.proxy import Proxy, Request
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

HELLO = "Hello."
QUESTION = "What is the weather in Oslo?"
THANKS = "Thank you."
MESSAGES = [HELLO, QUESTION, THANKS]
"""A conversation; the second one needs the tool `get_weather`, which answers `WEATHER`."""
WEATHER = "7 degrees"
REPLIES = ["This is message 1: Hello.", "It is 7 degrees there.", "This is message 3: Thank you."]
"""Answers to MESSAGES: the model has counted what it was sent."""
ROLES = ["user", "assistant", "user", "assistant", "tool", "assistant", "user", "assistant"]
"""Of the messages that are stored of such a conversation."""
OBJECT = {"city": "Oslo", "degrees": 7}
"""The answer to whoever asks for JSON."""
LONG = "Count to twelve."
LONG_REPLY = "one two three four five six seven eight nine ten eleven twelve"

EVENTS_BEFORE_A_CUT = {"/v1/responses": 8, "/v1/chat/completions": 2}
"""So many events have some of the text of `LONG_REPLY`. Pieces of chat completions may be long."""


def assistant(call: Call) -> Answer:
    """Counts the user's messages, calls a tool that it is offered, and answers JSON if it must."""
    if call.is_title:
        return polite(call)
    role, text = call.messages[-1]
    if role == "tool":
        return _spoken(f"It is {text} there.")
    if isinstance(call.body.get("tool_choice"), dict):
        return Answer([], tool_calls=[ToolCall(call.tools[-1], OBJECT, "call_forced")])
    if call.body.get("response_format", {}).get("type") == "json_schema":
        return Answer(['{"city": "Oslo",', ' "degrees": 7}'])
    if call.tools and "weather" in text:
        tool = ToolCall("get_weather", {"city": "Oslo"}, f"call_{len(call.messages)}")
        return Answer([], reasoning=["I should ", "look."], tool_calls=[tool])
    if text == LONG:
        return _spoken(LONG_REPLY)
    count = sum(role == "user" for role, _ in call.messages)
    return _spoken(f"This is message {count}: {text}")


def _spoken(text: str) -> Answer:
    return Answer(re.findall(r"\s*\S+", text))


@dataclass(frozen=True)
class Fault:
    """What happens to one answer.

    `drop`: none of it passes, and the connection breaks when the model has the request. `lose`:
    none passes, and it breaks when the server has answered. `cut`: so many events pass.
    """

    kind: Literal["drop", "lose", "cut"]
    path: str
    """A pattern of the whole path, without its query."""
    events: int = 0


class Border(Proxy):
    """The one address of these servers; each connection goes to the next of them."""

    def __init__(self, servers: Sequence[Server], upstream: Upstream) -> None:
        super().__init__(servers[0].url, limit=self._begin)
        self.servers = servers
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.has_retried = threading.Event()
        """Set when a request comes for a path of which an answer has failed."""
        self._failed: list[str] = []
        self._urls = itertools.cycle([server.url for server in servers])
        self._current = threading.local()

    def clear(self) -> None:
        """Forget the requests and faults of an earlier test."""
        self.requests.clear()
        self.faults.clear()
        self._failed.clear()
        self.has_retried.clear()

    def will(
        self, kind: Literal["drop", "lose", "cut"], path: str, *, events: int | None = None
    ) -> None:
        """Let the answer to the next such request that has no fault yet fail.

        `drop` is for the first request of a test that the model gets. `cut` is by default where
        some of the text of `LONG_REPLY` has passed.
        """
        events = EVENTS_BEFORE_A_CUT.get(path, 0) if events is None else events
        self.faults.append(Fault(kind, path, events))

    def posts(self, path: str) -> list[Request]:
        return [r for r in self.requests if r.method == "POST" and re.fullmatch(path, r.path)]

    def history(self, session_id: str) -> list[dict[str, Any]]:
        return self.servers[-1].history(session_id)

    def roles(self, session_id: str) -> list[str]:
        return [message["role"] for message in self.history(session_id)]

    def session_of(self, response_id: str) -> str:
        """The session of a response, by the native API."""
        turn = response_id.replace("resp_", "turn_")
        return str(self.servers[-1].get(f"/turns/{turn}")["session_id"])

    def newest_sessions(self) -> set[str]:
        """The names of the newest sessions, archived ones too."""
        return {
            session["session_id"]
            for is_archived in ("true", "false")
            for session in self.servers[-1].get(f"/sessions?limit=100&archived={is_archived}")
        }

    def _connect(self, client: socket.socket) -> None:
        self.to = next(self._urls)
        super()._connect(client)

    def _begin(self, number: int) -> None:
        path = self.requests[number].path.partition("?")[0]
        if path in self._failed:
            self.has_retried.set()
        fault = next((f for f in self.faults if re.fullmatch(f.path, path)), None)
        if fault is not None:
            self.faults.remove(fault)
            self._failed.append(path)
        self._current.fault = fault

    def _pass_on(self, server: socket.socket, client: socket.socket, left: int | None) -> None:
        fault: Fault | None = self._current.fault
        if fault is None:
            super()._pass_on(server, client, left)
        elif fault.kind == "drop":
            until(lambda: self.upstream.replies)
        elif fault.kind == "lose":
            while server.recv(65_536):
                pass
        elif fault.kind == "cut":
            _pass_events(server, client, fault.events)


def _pass_events(server: socket.socket, client: socket.socket, count: int) -> None:
    """Pass on the head and so many events, each of which ends with an empty line.

    The head does not announce the end of the connection: then Node takes it for the answer's.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n") and (data := server.recv(1)):
        head += data
    client.sendall(re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head))
    passed = b""
    while passed.count(b"\n\n") < count and (data := server.recv(1)):
        client.sendall(data)
        passed += data
