"""Thousands of requests made from `openapi.json`: no answer that the document does not know.

`schemathesis` checks each answer's status, media type, headers and schema, that wrong requests are
refused and right ones are not, and that the methods of an address are those of the document.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process import PATIENCE, Server

DOCUMENT = Path(__file__).parent.parent.parent / "openapi.json"
SEED = 20_261_125

CONFIG = """
[generation]
database = "none"

[warnings]
display = []

[checks.negative_data_rejection]
expected-statuses = [400, 404, 405, 406, 409, 412, 413, 415, 422]

[dictionaries]
sessions.values = {sessions}
deletable.values = {deletable}
turns.values = {turns}
messages.values = {messages}
models.values = ["openai:scripted"]

[parameters]
"path.session_id" = {{ dictionary = "sessions", probability = 0.8 }}
"query.session_id" = {{ dictionary = "sessions", probability = 0.8 }}
"path.turn_id" = {{ dictionary = "turns", probability = 0.8 }}
"path.message_id" = {{ dictionary = "messages", probability = 0.8 }}
"query.before" = {{ dictionary = "messages", probability = 0.8 }}
"body.model" = {{ dictionary = "models" }}
"body.head" = {{ dictionary = "messages", probability = 0.8 }}
"body.parent_id" = {{ dictionary = "messages", probability = 0.8 }}

[[operations]]
include-name = "DELETE /sessions/{{session_id}}"
parameters = {{ "path.session_id" = {{ dictionary = "deletable", probability = 0.8 }} }}

# It never ends by itself, unless it is refused, or has something to tell.
[[operations]]
include-path = "/events"
max-stream-events = 1
generation.mode = "negative"

# Which texts are cursors of a list, exports, models on offer or newest tags no schema can say.
[[operations]]
include-name = [
    "GET /sessions", "GET /search", "GET /turns/{{turn_id}}/events", "POST /import", "POST /chat",
    "PATCH /sessions/{{session_id}}",
]
checks.positive_data_acceptance.enabled = false
"""


@pytest.fixture(scope="module")
def config(running_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names and ids that are there, so that not every generated request ends with 404."""
    replies = [running_server.chat(f"talk {number}", "hello").json() for number in range(5)]
    deletable = [f"old {number}" for number in range(50)]
    for name in deletable:
        running_server.chat(name, "hello")
    values = {
        "sessions": [reply["session_id"] for reply in replies],
        "deletable": deletable,
        "turns": [reply["turn_id"] for reply in replies],
        "messages": [reply["message_id"] for reply in replies],
    }
    file = tmp_path_factory.mktemp("schemathesis") / "schemathesis.toml"
    lists = {name: json.dumps(listed) for name, listed in values.items()}
    file.write_text(CONFIG.format(**lists))
    return file


def test_every_answer_is_in_the_document(
    running_server: Server,
    config: Path,
    full: bool,
    summarise: Callable[[str], None],
) -> None:
    file = config.parent / "report.json"
    program = str(Path(sys.executable).with_name("schemathesis"))
    command = [program, "--config-file", str(config), "--no-color", "run", str(DOCUMENT)]
    command += ["--url", running_server.url, "--seed", str(SEED), "--continue-on-failure"]
    command += ["--max-examples", "200" if full else "15", "--request-timeout", str(PATIENCE)]
    command += ["--report", "json", "--report-json-path", str(file)]
    run = subprocess.run(command, cwd=config.parent, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(file.read_text())

    assert report["complete"]
    assert report["operations"]["tested"] == operations()
    assert report["errors"] == []
    assert {name for name, rates in report["valid_rates"].items() if not accepted(rates)} == set()
    assert report["test_cases"]["generated"] >= (3_000 if full else 500)
    summarise(f"schemathesis: {report['test_cases']['generated']} requests")


def operations() -> int:
    return sum(len(methods) for methods in json.loads(DOCUMENT.read_text())["paths"].values())


def accepted(rates: dict[str, Any]) -> int:
    return sum(rate["accepted"] for rate in rates.values())
