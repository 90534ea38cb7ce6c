"""Objects of one's own as models: their steps, what they promise of side effects, their limits."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.process import Server, until
from tests.sse import STREAM, Transcript, events
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

MODELS = (
    "once=python:tests.agents:agent?rerun=false,graph=python:tests.agents:graph,"
    "echo=python:tests.agents:echo,fails=python:tests.agents:fails,"
    "missing=python:tests.nowhere:agent,leaves=python:tests.agents:leaves,"
    "mumbles=python:tests.agents:mumbles,openai:scripted"
)
ORDER = ToolCall("find_order", {"number": "1001"}, "call_1")
WAIT = ToolCall("wait_for", {"signal": "go"}, "call_2")


def working(*calls: ToolCall) -> Callable[[Call], Answer]:
    """An agent's model: it calls these tools one after the other, and then answers."""

    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        question = max(n for n, m in enumerate(call.body["messages"]) if m["role"] == "user")
        answered = sum(m["role"] == "tool" for m in call.body["messages"][question:])
        if answered < len(calls):
            return Answer(
                ["Let me ", "look."] if not answered else [], tool_calls=[calls[answered]]
            )
        return Answer(["It is ", "done."])

    return script


class Office:
    """A server with agents, and the notes that their tools have made."""

    def __init__(self, folder: Path, url: str, upstream: Upstream, **env: str) -> None:
        self.folder, self.upstream = folder, upstream
        self.file = folder / "notes"
        self.env = {
            **upstream.env,
            "CHATKEEP_MODEL": "agent=python:tests.agents:agent",
            "CHATKEEP_MODELS": MODELS,
            "CHATKEEP_DATABASE_URL": url,
            "CHATKEEP_LEASE_SECONDS": "2",
            "NOTES": str(self.file),
            "CHECKPOINTS": str(folder / "checkpoints.db"),
            **env,
        }
        self.server = Server(folder, self.env)

    @property
    def notes(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def go_on(self) -> None:
        (self.folder / "go").touch()

    def read(self, turn_id: str, after: str = "") -> Transcript:
        transcript = Transcript()
        headers = {"Last-Event-ID": after} if after else {}
        with (
            self.server.client() as client,
            client.stream("GET", f"/turns/{turn_id}/events", headers=headers) as response,
        ):
            for event in events(response):
                transcript.take(event)
        return transcript

    def post(self, session: str, message: str, **more: Any) -> str:
        """Begin a turn, and leave it to the server."""
        body = {"session_id": session, "message": message, **more}
        with (
            self.server.client() as client,
            client.stream("POST", "/chat", json=body, headers=STREAM) as response,
        ):
            return str(next(events(response)).data["turn_id"])


@pytest.fixture
def office(tmp_path: Path, database: str, upstream: Upstream) -> Iterator[Office]:
    made = Office(tmp_path, database, upstream)
    with made.server:
        yield made
        made.go_on()


def shown(history: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in history]


def test_an_agents_steps_are_messages_of_its_turn(office: Office, upstream: Upstream) -> None:
    upstream.script = working(ORDER, ToolCall("find_order", {"number": "broken"}, "call_2"))
    office.go_on()
    turn = office.post("s", "Where is it?")
    transcript = office.read(turn)

    history = office.server.history("s")
    assert shown(history) == [
        ("user", "Where is it?"),
        ("assistant", "Let me look."),
        ("tool", "Order 1001 is packed."),
        ("assistant", 'find_order({"number":"broken"})'),
        ("tool", "The register is down."),
        ("assistant", "It is done."),
    ]
    assert transcript.steps == history[1:5]
    assert transcript.text == "It is done."
    assert history[4]["blocks"][0]["status"] == "error"
    record = office.server.get(f"/turns/{turn}")
    assert record["messages"] == history
    # Three calls of the scripted model, of which each counts 11 and 7.
    assert record["usage"] == {"input_tokens": 33, "output_tokens": 21}
    assert office.server.chat("s", "And now?").status_code == 200
    assert upstream.refusals == []
    # It never makes titles: another model does.
    assert {call.tools for call in map(tools_of, upstream.titles)} == {()}
    assert {row["model"] for row in office.server.get("/usage") if row["kind"] == "title"} == {
        "openai:scripted"
    }


class tools_of:  # noqa: N801  (a view of a call)
    def __init__(self, call: Call) -> None:
        self.tools = tuple(call.tools)


def test_a_turn_whose_process_dies_in_a_tool_runs_again_as_the_same_turn(
    office: Office, upstream: Upstream
) -> None:
    upstream.script = working(ORDER, WAIT)
    turn = office.post("s", "Where is it?")
    until(lambda: "wait go" in office.notes)
    office.server.kill()
    office.go_on()
    office.server.start()
    transcript = office.read(turn)

    record = office.server.get(f"/turns/{turn}")
    assert (record["status"], record["attempt"]) == ("completed", 2)
    assert office.notes == ["find 1001", "wait go", "find 1001", "wait go"]
    assert transcript.steps == office.server.history("s")[1:-1]
    assert len(transcript.steps) == 4


def test_a_turn_that_may_not_run_again_is_interrupted(office: Office, upstream: Upstream) -> None:
    upstream.script = working(ORDER, WAIT)
    turn = office.post("s", "Where is it?", model="once")
    until(lambda: "wait go" in office.notes)
    office.server.kill()
    office.go_on()
    office.server.start()
    until(lambda: office.server.get(f"/turns/{turn}")["status"] == "interrupted")

    assert office.notes == ["find 1001", "wait go"]
    assert office.server.chat("s", "And now?", model="once").status_code == 200


def test_a_graph_with_a_checkpointer_goes_on_at_its_next_node(office: Office) -> None:
    turn = office.post("s", "Send it.", model="graph")
    until(lambda: "wait go" in office.notes)
    office.server.kill()
    office.go_on()
    office.server.start()
    transcript = office.read(turn)

    assert office.notes == ["look", "wait go", "wait go", "worked"]
    assert transcript.end is not None
    assert transcript.end.data["finish_reason"] == "interrupt"
    assert transcript.end.data["response"].endswith("Shall I send it?")
    answer = office.server.chat("s", "by all means", model="graph").json()
    assert answer["response"] == "Sent, as you said 'by all means'."
    assert office.notes[4:] == ["approved: by all means"]


def test_cancelling_reaches_a_tool_and_its_call_is_answered_later(
    office: Office, upstream: Upstream
) -> None:
    upstream.script = working(WAIT)
    turn = office.post("s", "Where is it?")
    until(lambda: "wait go" in office.notes)
    with office.server.client() as client:
        assert client.post(f"/turns/{turn}/cancel").json()["status"] == "cancelled"
    assert office.notes == ["wait go", "cancelled"]
    assert shown(office.server.history("s")) == [
        ("user", "Where is it?"),
        ("assistant", "Let me look."),
    ]
    upstream.script = working()
    later = office.server.chat("s", "Never mind.").json()
    assert later["response"] == "It is done."
    assert upstream.refusals == []
    receipt = office.server.get(f"/turns/{later['turn_id']}/context")
    assert [message["content"] for message in receipt["messages"]] == [
        "Where is it?",
        "Let me look.",
        "(This call was not answered.)",
        "Never mind.",
    ]


def test_a_tool_that_blocks_stalls_nobody_else(office: Office, upstream: Upstream) -> None:
    upstream.script = working(ToolCall("block", {"seconds": 5}, "call_1"))
    turn = office.post("s", "Block.")
    until(lambda: "block" in office.notes)
    upstream.script = polite
    with ThreadPoolExecutor(4) as pool:
        posts = [
            pool.submit(office.server.chat, f"other {number}", "hello", model="openai:scripted")
            for number in range(20)
        ]
        assert {post.result().status_code for post in posts} == {200}
    assert office.server.get(f"/turns/{turn}")["status"] == "running"


def test_a_server_that_stops_does_not_wait_for_a_tool_and_runs_its_turn_once_at_a_time(
    tmp_path: Path, database: str, upstream: Upstream
) -> None:
    office = Office(tmp_path, database, upstream, CHATKEEP_DRAIN_SECONDS="1")
    upstream.script = working(ToolCall("hold", {"seconds": 3_600}, "call_1"))
    with office.server as server:
        turn = office.post("s", "Hold on.")
        until(lambda: office.notes == ["hold"])
        assert server.stop() == 0
        upstream.script = working()
        server.start()
        until(lambda: server.get(f"/turns/{turn}")["status"] == "completed")
        assert server.get(f"/turns/{turn}")["attempt"] == 2
    assert office.notes == ["hold"]


def test_what_was_streamed_is_what_is_stored(office: Office) -> None:
    turn = office.post("s", "Look.", model="mumbles")
    live = office.read(turn)
    assert live.end is not None
    history = office.server.history("s")
    assert shown(history) == [
        ("user", "Look."),
        ("assistant", "I look it up. "),
        ("tool", "green"),
        ("assistant", "(reasoning)"),
    ]
    office.server.kill()
    office.server.start()
    again = office.read(turn)
    assert (again.steps, again.reasoning, again.end) == (live.steps, live.reasoning, live.end)
    assert again.steps == history[1:3]


def test_what_an_object_raises_is_for_the_log_only(office: Office) -> None:
    failed = office.server.chat("s", "hello", model="fails")
    missing = office.server.chat("s", "hello", model="missing")

    assert (failed.status_code, failed.json()["type"]) == (502, "/problems/model-failed")
    assert (missing.status_code, missing.json()["type"]) == (
        502,
        "/problems/model-misconfigured",
    )
    for answer in (failed.text, missing.text, str(office.server.history("s"))):
        assert "swordfish" not in answer
        assert "ValueError" not in answer
        assert "nowhere" not in answer
    left = office.server.chat("s", "hello", model="leaves")
    assert (left.status_code, left.json()["type"]) == (502, "/problems/model-misconfigured")
    log = office.server.log.read_text()
    assert "SystemExit" in log
    assert "No module named 'tests.nowhere'" in log
    assert "swordfish" not in log
    assert "tests/agents.py:" in log
    refused = office.server.chat(
        "s", "hello", tools=[{"type": "function", "function": {"name": "look"}}]
    )
    assert (refused.status_code, refused.json()["type"]) == (
        400,
        "/problems/unsupported-content",
    )


def test_an_object_reads_the_sessions_prompt_and_not_the_servers(office: Office) -> None:
    answer = office.server.chat("s", "one", model="echo").json()
    assert answer["response"] == "[human: one]"
    with office.server.client() as client:
        client.patch("/sessions/s", json={"system_prompt": "Be brief."})
    answer = office.server.chat("s", "two", model="echo").json()
    assert answer["response"] == "[system: Be brief.][human: one][ai: [human: one]][human: two]"
