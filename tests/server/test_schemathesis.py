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
responses.values = {responses}
models.values = ["openai:scripted"]
users.values = {users}

[parameters]
"path.session_id" = {{ dictionary = "sessions", probability = 0.8 }}
"query.session_id" = {{ dictionary = "sessions", probability = 0.8 }}
"path.turn_id" = {{ dictionary = "turns", probability = 0.8 }}
"path.message_id" = {{ dictionary = "messages", probability = 0.8 }}
"path.user" = {{ dictionary = "users", probability = 0.8 }}
"path.response_id" = {{ dictionary = "responses", probability = 0.8 }}
"path.conversation_id" = {{ dictionary = "sessions", probability = 0.8 }}
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

# Which texts are cursors of a list, exports, models on offer, newest tags, keys or times to come no
# schema can say, and that 13.0 is not meant.
[[operations]]
include-name = [
    "GET /sessions", "GET /search", "GET /turns/{{turn_id}}/events", "POST /import", "POST /chat",
    "PATCH /sessions/{{session_id}}", "POST /keys", "POST /keys/{{key_id}}/rotate", "POST /tokens",
    "POST /login",
]
checks.positive_data_acceptance.enabled = false

# OpenAI's clients send what is not known here, which is ignored, and ids that no schema can say.
[[operations]]
include-path-regex = "^/v1/"
checks.positive_data_acceptance.enabled = false
checks.negative_data_rejection.enabled = false

# A key that is revoked is still listed, so that people see when that was.
[[operations]]
include-path-regex = "^/keys/"
checks.use_after_free.enabled = false
"""


UNGUESSED = {
    *("POST /v1/responses", "POST /v1/responses/compact", "POST /v1/chat/completions"),
    "DELETE /v1/responses/{response_id}",
    "GET /v1/conversations/{conversation_id}/items/{item_id}",
    "DELETE /v1/conversations/{conversation_id}/items/{item_id}",
}
"""What is hardly ever accepted, because no schema says what an item is, or which there are."""


@pytest.fixture(scope="module")
def config(running_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names and ids that are there, so that not every generated request ends with 404."""
    replies = [running_server.chat(f"talk {number}", "hello").json() for number in range(5)]
    deletable = [f"old {number}" for number in range(50)]
    for name in deletable:
        running_server.chat(name, "hello")
    users = [f"user-{number}" for number in range(20)]
    with running_server.client() as client:
        for user in users:
            body = {"session_id": "mine", "message": "hello"}
            client.post("/chat", json=body, headers={"Chatkeep-User": user})
    values = {
        "sessions": [reply["session_id"] for reply in replies],
        "deletable": deletable,
        "users": users,
        "turns": [reply["turn_id"] for reply in replies],
        "messages": [reply["message_id"] for reply in replies],
        "responses": [reply["turn_id"].replace("turn_", "resp_") for reply in replies],
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
    # Whoever may call every route: the command line of this machine.
    _, secret = (running_server.folder / "chatkeep.db.lock").read_text().split()
    command += ["--header", f"Authorization: Bearer {secret}"]
    command += ["--report", "json", "--report-json-path", str(file)]
    run = subprocess.run(command, cwd=config.parent, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(file.read_text())

    assert report["complete"]
    assert report["operations"]["tested"] == len(operations())
    assert report["errors"] == []
    # Events never end, a token hangs on a key, which the command line has not, and a file on a
    # picture that was sent before.
    answered = {name for name, rates in report["valid_rates"].items() if accepted(rates)}
    sent_before = "GET /files/{session_id}/{file_id}"
    unanswered = {"GET /events", "POST /tokens", sent_before, *UNGUESSED}
    assert operations() - answered <= unanswered
    assert answered.isdisjoint(unanswered - UNGUESSED)
    assert report["test_cases"]["generated"] >= (3_000 if full else 500)
    summarise(f"schemathesis: {report['test_cases']['generated']} requests")


def operations() -> set[str]:
    paths = json.loads(DOCUMENT.read_text())["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def accepted(rates: dict[str, Any]) -> int:
    return sum(rate["accepted"] for rate in rates.values())
