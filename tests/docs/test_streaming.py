"""The examples of the page about streaming work, also over connections that break."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chatkeep.settings import Settings
from tests.process import Server
from tests.proxy import Proxy
from tests.sse import TERMINAL, parse
from tests.upstream import Answer, Upstream, polite

PAGE = (Path(__file__).parent.parent.parent / "docs" / "streaming.md").read_text()
DEFAULT = "http://127.0.0.1:8000"
PIECES = ["Öne, ", "two, ", "three 🎈, ", "four, ", "five."]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(command: list[str], **env: str) -> str:
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    completed = subprocess.run(
        command, capture_output=True, check=False, text=True, timeout=300, env=path | env
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_every_example_is_known_to_a_test() -> None:
    languages = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert sorted(languages) == ["bash", "bash", "javascript", "python", "text"]


def test_the_shell_commands_start_a_stream_and_resume_it(
    server: Server, upstream: Upstream
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(PIECES)
    begin, resume = (block.replace(DEFAULT, server.url) for block in blocks("bash"))
    events = list(parse(run(["bash", "-ec", begin]).split("\n")))
    assert events[-1].data["response"] == "".join(PIECES)
    rest = list(parse(run(["bash", "-ec", resume], TURN=events[0].data["turn_id"]).split("\n")))
    assert rest[-1] == events[-1]
    text = "".join(event.data["text"] for event in rest if event.name == "message.delta")
    assert text == "".join(PIECES)[9:]


def python(folder: Path, url: str) -> list[str]:
    script = folder / "example.py"
    script.write_text(blocks("python")[0].replace(DEFAULT, url))
    return [sys.executable, str(script)]


def javascript(folder: Path, url: str) -> list[str]:
    script = folder / "example.mjs"
    script.write_text(blocks("javascript")[0].replace(DEFAULT, url))
    return [shutil.which("node") or "node", str(script)]


@pytest.mark.parametrize("example", [python, javascript])
def test_a_client_receives_the_whole_reply_over_connections_that_break(
    tmp_path: Path,
    server: Server,
    upstream: Upstream,
    example: Callable[[Path, str], list[str]],
) -> None:
    pace = threading.Semaphore(2)
    upstream.script = lambda call: polite(call) if call.is_title else Answer(PIECES, pace=pace)

    def limit(number: int) -> int | None:
        """Before the first event, within an event, after some; then all of it."""
        if number == 3:
            pace.release(99)
        return (0, 420, 500, None)[min(number, 3)]

    with Proxy(server.url, limit=limit) as proxy:
        output = run([*example(tmp_path, proxy.url), f"{example.__name__}: count to five"])
    assert output == "".join(PIECES) + "\n"
    assert len(proxy.requests) >= 4
    assert len(upstream.replies) == 1


def test_every_event_and_setting_on_the_page_exists() -> None:
    named = set(re.findall(r"`(?:turn|message|session)\.\w+`", PAGE))
    assert {f"`{name}`" for name in TERMINAL} < named
    for setting in re.findall(r"`CHATKEEP_(\w+)`", PAGE):
        assert setting.lower() in Settings.model_fields
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert (defaults["heartbeat_seconds"], defaults["reader_timeout"]) == (15, 30)
    assert defaults["drain_seconds"] == 30
