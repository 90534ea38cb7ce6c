"""Each example is run as its first lines say, with the scripted model in OpenAI's place."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.process import PATIENCE, free_port, until
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


class Running:
    """A server with an example, in a copy of the folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def chat(self, message: str, session: str = "s") -> Any:
        body = {"session_id": session, "message": message}
        response = httpx2.post(f"{self.url}/chat", json=body, timeout=PATIENCE)
        assert response.status_code == 200, response.text
        return response.json()

    def history(self, session: str = "s") -> list[tuple[str, str]]:
        messages = httpx2.get(f"{self.url}/history/{session}").json()
        return [(message["role"], message["content"]) for message in messages]


@pytest.fixture
def run(tmp_path: Path, upstream: Upstream) -> Any:
    @contextlib.contextmanager
    def running(*command: str, base: str = "", **env: str) -> Iterator[Running]:
        folder, port = tmp_path / "examples", free_port()
        shutil.copytree(ROOT / "examples", folder)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CHATKEEP_", "OPENAI_"))}
        clean |= upstream.env | {"OPENAI_MODEL": "scripted", "CHATKEEP_PORT": str(port)}
        clean |= {"CHATKEEP_DATA_DIR": str(tmp_path / "data"), **env}
        program = [str(BIN / command[0]), *(part.format(port=port) for part in command[1:])]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(program, cwd=folder, env=clean, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}{base}"
            until(lambda: answers(url) or process.poll() is not None)
            assert process.poll() is None, (tmp_path / "log").read_text()
            yield Running(url, folder)
        finally:
            process.terminate()
            process.wait(PATIENCE)

    return running


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.HTTPError:
        return False


def serve(name: str) -> tuple[str, ...]:
    """The command of an example, as its first lines have it."""
    lines = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    (line,) = (line for line in lines if "chatkeep serve" in line)
    return ("chatkeep", *line.partition("chatkeep ")[2].split())


def calling(*calls: ToolCall) -> Any:
    """A model that calls these tools, one after the other, and repeats the last result."""

    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        results = call.tool_results
        if len(results) < len(calls):
            return Answer([], tool_calls=[calls[len(results)]])
        return Answer(["It is: ", results[-1][1]])

    return script


def test_a_function(run: Any) -> None:
    with run(*serve("function")) as example:
        assert example.chat("hello there")["response"] == "hello there "


def test_a_chain(run: Any, upstream: Upstream) -> None:
    with run(*serve("chain")) as example:
        answer = example.chat("Good morning.")
        assert answer["response"] == "Reply to: Good morning."
        assert answer["usage"] == {"input_tokens": 11, "output_tokens": 7}
        example.chat("And good night.")
    roles = [role for role, _ in upstream.replies[-1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert "pirate" in upstream.replies[-1].messages[0][1]


def test_an_agent(run: Any, upstream: Upstream) -> None:
    upstream.script = calling(
        ToolCall("find_order", {"number": "1002"}, "call_1"),
        ToolCall("delivery_date", {"state": "on its way"}, "call_2"),
    )
    with run(*serve("agent")) as example:
        answer = example.chat("Where is order 1002?")
        roles = [role for role, _ in example.history()]
        assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
        assert ("tool", "on its way") in example.history()
        assert answer["response"].startswith("It is: 20")


def test_a_graph(run: Any, upstream: Upstream) -> None:
    letter = "Dear Ada, thank you. Yours, Bob"
    upstream.script = lambda call: polite(call) if call.is_title else Answer([letter])
    with run(*serve("graph")) as example:
        asked = example.chat("Thank Ada.")
        assert asked["finish_reason"] == "interrupt"
        assert asked["response"] == f"{letter}\n\nShall I send it? (yes or no)"
        assert example.chat("no")["response"] == "I did not send it."
        example.chat("Thank Ada.", "t")
        sent = example.chat("yes", "t")
        assert sent["response"].startswith("Sent: outbox")
        (file,) = (example.folder / "outbox").iterdir()
        assert file.read_text() == letter


def test_retrieval(run: Any, upstream: Upstream) -> None:
    with run(*serve("rag")) as example:
        example.chat("May I bring my dog?")
    system = upstream.replies[-1].messages[0][1]
    assert (ROOT / "examples/notes/dogs.txt").read_text().strip() in system
    assert system.count(".txt: ") == 2


def test_tools_of_an_mcp_server(run: Any, upstream: Upstream) -> None:
    upstream.script = calling(ToolCall("to_kilometres", {"miles": 26.2}, "call_1"))
    with run(*serve("mcp_tools")) as example:
        assert "42.165" in example.chat("How far is a marathon?")["response"]
        assert example.history()[2][0] == "tool"


class Collector(BaseHTTPRequestHandler):
    """Accepts OTLP over HTTP."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def test_tracing(run: Any, upstream: Upstream) -> None:
    upstream.script = calling(ToolCall("find_order", {"number": "1001"}, "call_1"))
    Collector.bodies = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with run(*serve("tracing"), **env) as example:
        turn = example.chat("Where is order 1001?")["turn_id"].encode()
        # The names of a model's call and of a tool's, and which turn they are of.
        for name in (b"ChatOpenAI", b"find_order", turn):
            until(lambda name=name: any(name in body for body in Collector.bodies))
    server.shutdown()
    server.server_close()


def test_an_application_that_mounts_chatkeep(run: Any, upstream: Upstream) -> None:
    upstream.script = calling(ToolCall("find_order", {"number": "1003"}, "call_1"))
    text = (ROOT / "examples/mount.py").read_text()
    assert "uvicorn mount:app --timeout-graceful-shutdown 5" in text
    command = "uvicorn mount:app --timeout-graceful-shutdown 5 --port {port}".split()
    with run(*command, base="/chat") as example:
        answer = example.chat("Where is order 1003?")
        assert (answer["response"], answer["model"]) == ("It is: delivered", "support")
        assert "<title>" in httpx2.get(f"{example.url}/").text
        assert httpx2.get(example.url.removesuffix("/chat")).json() == {"chat": "/chat/"}
