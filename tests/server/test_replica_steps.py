"""Steps, reasoning and pictures of turns that another replica runs."""

import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import until
from tests.replicas import Reader, Replicas, post, turn_of
from tests.sse import Transcript
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

PICTURE = b"\x89PNG\r\n\x1a\n" + b"a picture"


@pytest.fixture
def replicas(tmp_path: Path, postgres_url: str, upstream: Upstream) -> Iterator[Replicas]:
    upstream.script = polite
    env = {
        "CHATKEEP_MODEL": "staged=python:tests.agents:staged",
        "CHATKEEP_MODELS": "agent=python:tests.agents:agent,openai:scripted",
        "CHATKEEP_DRAIN_SECONDS": "1",
        "NOTES": str(tmp_path / "notes"),
    }
    with Replicas(tmp_path, postgres_url, upstream, **env) as running:
        yield running
        (tmp_path / "pace").unlink(missing_ok=True)


def together(reader: Reader) -> Transcript:
    transcript = Transcript()
    for event in list(reader.events):
        transcript.take(event)
    return transcript


def test_an_agents_steps_are_read_through_every_replica_while_they_come(
    replicas: Replicas, tmp_path: Path
) -> None:
    pace = tmp_path / "pace"

    def let(pieces: int) -> None:
        (tmp_path / "new").write_text(str(pieces))
        (tmp_path / "new").rename(pace)

    let(0)
    one, other, third = replicas.servers
    first = post(one, "s", "Is it green?")
    turn = turn_of(first)
    readers = [Reader(server, "GET", f"/turns/{turn}/events") for server in (other, third)]
    for pieces, is_there in (
        (3, lambda t: t.reasoning == "I should look 🎈 "),
        (6, lambda t: t.text == "Let me look."),
        (8, lambda t: len(t.steps) == 2),
        (11, lambda t: len(t.steps) == 3 and t.text == "So it is "),
    ):
        let(pieces)
        for reader in readers:
            until(lambda reader=reader, is_there=is_there: is_there(together(reader)))
    let(1_000)
    for reader in (first, *readers):
        reader.wait()
    history = third.history("s")
    for reader in (first, *readers):
        transcript = together(reader)
        assert transcript.steps == history[1:-1]
        assert transcript.text == history[-1]["content"] == "So it is grün 🎈."


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "stopped"])
def test_a_turn_whose_replica_ends_in_a_tool_is_run_again_by_another(
    replicas: Replicas, upstream: Upstream, tmp_path: Path, is_killed: bool
) -> None:
    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        hold = ToolCall("hold", {"seconds": 3_600}, "call_1")
        return Answer([], tool_calls=[hold]) if is_first.is_set() else Answer(["Done."])

    is_first = threading.Event()
    is_first.set()
    upstream.script = script
    one, other, _ = replicas.servers
    turn = turn_of(post(one, "a", "Hold on.", may_break=True, model="agent"))
    notes = tmp_path / "notes"
    until(notes.exists)
    reader = Reader(other, "GET", f"/turns/{turn}/events")
    until(lambda: together(reader).steps)
    is_first.clear()
    if is_killed:
        one.kill()
    else:
        assert one.stop() == 0
    reader.wait()
    record = other.get(f"/turns/{turn}")
    assert (record["status"], record["attempt"]) == ("completed", 2)
    assert (together(reader).steps, together(reader).text) == ([], "Done.")
    assert [message["content"] for message in other.history("a")] == ["Hold on.", "Done."]
    # Nobody has ended it, or begun it again.
    assert notes.read_text() == "hold\n"


def test_a_picture_that_one_replica_was_sent_is_sent_again_by_another(
    replicas: Replicas, upstream: Upstream
) -> None:
    one, other, third = replicas.servers
    image = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
    assert one.chat("p", "Look.", model="openai:scripted", images=[image]).is_success
    assert other.chat("p", "And?", model="openai:scripted").is_success
    assert [image.data for image in upstream.replies[-1].images] == [PICTURE]
    file_id = third.history("p")[0]["blocks"][1]["file_id"]
    with third.client() as client:
        assert client.get(f"/files/p/{file_id}").content == PICTURE
        assert client.delete("/sessions/p").status_code == 202
        until(lambda: client.get(f"/files/p/{file_id}").status_code == 404)
