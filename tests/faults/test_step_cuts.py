"""A stream with reasoning, calls of tools, results and a reply is cut after every byte of it.

What a reader puts together of both its connections are the messages of the turn, while the turn
goes on, when it has ended, and after a restart.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process import Server, until
from tests.sse import STREAM, Transcript, events, parse, whole_events
from tests.upstream import Upstream

REPLY = "So it is grün 🎈."


class Stage:
    """A server whose model goes on by one piece at a time."""

    def __init__(self, folder: Path, url: str, upstream: Upstream) -> None:
        env = {
            **upstream.env,
            "CHATKEEP_MODEL": "staged=python:tests.agents:staged",
            "CHATKEEP_DATABASE_URL": url,
            "NOTES": str(folder / "notes"),
        }
        self.server = Server(folder, env)
        self._pace = folder / "pace"

    def let(self, pieces: int) -> None:
        new = self._pace.with_name("new")
        new.write_text(str(pieces))
        new.rename(self._pace)

    def begin(self) -> str:
        body = {"session_id": "s", "message": "Is it green?"}
        with (
            self.server.client() as client,
            client.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            return str(next(events(response)).data["turn_id"])

    def read(self, turn_id: str, after: str, count: int = 10_000) -> Iterator[Any]:
        headers = {"Last-Event-ID": after} if after else {}
        with (
            self.server.client() as client,
            client.stream("GET", f"/turns/{turn_id}/events", headers=headers) as response,
        ):
            if response.status_code == 204:
                return
            for _, event in zip(range(count), events(response), strict=False):
                yield event

    def raw(self, turn_id: str) -> bytes:
        """The whole body of a finished turn's stream, as one chunk (RFC 9112, section 7.1)."""
        with self.server.client() as client:
            body = client.get(f"/turns/{turn_id}/events").content
        return b"%x\r\n%s\r\n" % (len(body), body)


@pytest.fixture
def stage(tmp_path: Path, database: str, upstream: Upstream) -> Iterator[Stage]:
    made = Stage(tmp_path, database, upstream)
    made.let(0)
    with made.server:
        yield made
        made.let(1_000_000)


def check(stage: Stage, transcript: Transcript) -> None:
    history = stage.server.history("s")
    assert transcript.end is not None
    assert transcript.end.name == "turn.completed"
    assert transcript.end.data["response"] == transcript.text == history[-1]["content"] == REPLY
    assert transcript.steps == history[1:-1]
    assert [step["role"] for step in transcript.steps] == ["assistant", "tool", "tool"]
    blocks = transcript.steps[0]["blocks"]
    assert [b["type"] for b in blocks] == ["reasoning", "text", "tool_call", "tool_call"]
    assert blocks[0]["reasoning"] == "I should look 🎈 "


def test_a_stream_with_steps_is_cut_after_every_event_while_it_goes_on(stage: Stage) -> None:
    turn, transcript, pieces = stage.begin(), Transcript(), 0
    while transcript.end is None:
        pieces += 1
        stage.let(pieces)
        for event in stage.read(turn, transcript.after, 1):
            transcript.take(event)
    check(stage, transcript)


def test_a_finished_stream_with_steps_is_cut_after_every_byte(stage: Stage, summarise: Any) -> None:
    stage.let(1_000_000)
    turn = stage.begin()
    until(lambda: stage.server.get(f"/turns/{turn}")["status"] == "completed")
    for is_restarted in (False, True):
        if is_restarted:
            stage.server.kill()
            stage.server.start()
        raw = stage.raw(turn)
        # Those that end within the same event go on from the same one.
        by_position: dict[str, Transcript] = {}
        for length in range(len(raw)):
            transcript = Transcript()
            for event in parse(whole_events(raw[:length])):
                transcript.take(event)
            by_position[transcript.after] = transcript
        for position, transcript in by_position.items():
            for event in stage.read(turn, position):
                transcript.take(event)
            check(stage, transcript)
    summarise(f"cut after each of {len(raw)} bytes of a stream with {len(by_position)} events")


def test_a_position_within_each_piece_is_exact(stage: Stage) -> None:
    stage.let(1_000_000)
    turn = stage.begin()
    until(lambda: stage.server.get(f"/turns/{turn}")["status"] == "completed")
    whole = list(stage.read(turn, ""))
    for event in whole:
        attempt, _, rest = event.id.partition("-")
        if event.name not in {"reasoning.delta", "message.delta"}:
            continue
        flags = "t" if "t" in rest else ""
        end = int(rest.rstrip("te"))
        for offset in range(end - len(event.data["text"]) + 1, end):
            following = list(stage.read(turn, f"{attempt}-{offset}{flags}"))
            assert following[0].name == event.name
            assert following[0].data["text"] == event.data["text"][offset - end :]
            assert following[1:] == whole[whole.index(event) + 1 :]
