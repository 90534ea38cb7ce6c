"""Exports of what is more than text: steps, reasoning, pictures, turns that wait with results."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from chatkeep.app import create_app
from chatkeep.settings import Settings
from tests.process import until
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(40)
DOCUMENT = b"%PDF-1.7\n" + bytes(40)
PICTURE_URL = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
DOCUMENT_URL = f"data:application/pdf;base64,{b64encode(DOCUMENT).decode()}"
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "clock")
]
CALLS = [ToolCall("weather", {"city": "Oslo"}, "call_1"), ToolCall("clock", {}, "call_2")]
RESULTS = [
    {"tool_call_id": "call_1", "content": "rain, 7 °C\n```\n"},
    {"tool_call_id": "call_2", "content": "no clock", "is_error": True},
]


@pytest.fixture
def other(tmp_path: Path, database: str, upstream: Upstream) -> Iterator[TestClient]:
    """A server with nothing in it."""
    settings = Settings(
        database_url=database,
        data_dir=tmp_path,
        model="openai:scripted",
        OPENAI_BASE_URL=f"{upstream.url}/v1",
    )
    with TestClient(create_app(settings), base_url="http://localhost:8000") as client:
        yield client


class Model:
    """Calls two tools where it is offered tools; `gate` holds the answers to results back."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        if call.tool_results:
            return Answer(["It rains."], reasoning=["rain ", "it is"], gate=self.gate)
        if call.tools:
            return Answer(["Let me look."], reasoning=["I should", " look"], tool_calls=CALLS)
        return polite(call)


@pytest.fixture
def model(upstream: Upstream) -> Model:
    upstream.script = model = Model()
    return model


def post(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/chat", json={"session_id": "agent", **body})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


class Exports(NamedTuple):
    """Exports of the same session."""

    waiting: bytes
    """While a turn ran, and one waited with its results of tools."""
    ended: bytes
    """After the one was complete, and the other cancelled."""


@pytest.fixture
def exports(client: TestClient, model: Model) -> Exports:
    """Exports of a session with an exchange, a picture, a document, and a turn that waited."""
    for session in client.get("/sessions").json():
        client.delete(f"/sessions/{session['session_id']}")
    files = [{"name": "plan.pdf", "data": DOCUMENT_URL}]
    post(client, message="Look.", images=[PICTURE_URL, "https://example.com/a.png"], files=files)
    called = post(client, message="What is it like in Oslo?", tools=TOOLS)["message_id"]
    model.gate.clear()
    body = {"session_id": "agent", "tool_results": RESULTS, "parent_id": called}
    posts = [
        threading.Thread(target=client.post, args=("/chat",), kwargs={"json": body})
        for _ in range(2)
    ]
    posts[0].start()
    until(lambda: client.get("/sessions/agent").json()["running_turn"])
    running = client.get("/sessions/agent").json()["running_turn"]
    posts[1].start()
    until(lambda: client.get("/sessions/agent").json()["queued_turns"])
    waiting = client.get("/export").content
    (queued,) = client.get("/sessions/agent").json()["queued_turns"]
    assert client.post(f"/turns/{queued}/cancel").json()["status"] == "cancelled"
    model.gate.set()
    for thread in posts:
        thread.join()
    head = {"head": client.get(f"/turns/{running}").json()["message_id"]}
    assert client.patch("/sessions/agent", json=head).is_success
    return Exports(waiting, client.get("/export").content)


@pytest.fixture
def exported(exports: Exports) -> bytes:
    return exports.ended


def take(client: TestClient, body: bytes, **params: Any) -> None:
    report = client.post("/import", content=body, params=params).json()
    assert (report["imported"], report["skipped"], report["notes"]) == (1, [], []), report


def test_blocks_are_exported_and_imported_byte_for_byte(
    client: TestClient, other: TestClient, exported: bytes
) -> None:
    take(other, exported)

    assert other.get("/export").content == exported
    assert other.get("/history/agent").json() == client.get("/history/agent").json()
    blocks = other.get("/history/agent").json()[0]["blocks"]
    names = [block["file_id"] for block in blocks if "file_id" in block]
    sent = [other.get(f"/files/agent/{name}").content for name in names]
    assert sent == [PICTURE, DOCUMENT]


def test_blocks_come_in_with_new_ids_beside_the_old_ones(
    client: TestClient, other: TestClient, exported: bytes
) -> None:
    take(other, exported, new_ids=True)

    before, after = (each.get("/history/agent").json() for each in (client, other))
    shown = [[(m["role"], m["content"], m["blocks"]) for m in part] for part in (before, after)]
    assert shown[0] == shown[1]
    assert not {m["id"] for m in before} & {m["id"] for m in after}


@pytest.mark.parametrize("new_ids", [False, True])
def test_a_turn_that_waits_with_results_of_tools_is_exported_with_them(
    other: TestClient, exports: Exports, new_ids: bool
) -> None:
    def input_of(export: bytes) -> dict[str, Any]:
        lines = [json.loads(line) for line in export.splitlines()]
        (turn,) = (line for line in lines if line.get("input_messages"))
        return turn

    waiting = input_of(exports.waiting)
    take(other, exports.waiting, new_ids=new_ids)
    export = other.get("/export").content
    assert other.delete("/sessions/agent").is_success
    take(other, export)

    assert other.get("/export").content == export
    imported = input_of(export)
    assert (waiting["status"], imported["status"]) == ("queued", "cancelled")
    results = [
        [(message["text"], message["blocks"]) for message in turn["input_messages"]]
        for turn in (waiting, imported)
    ]
    assert results[0] == results[1]
    assert [text for text, _ in results[0]] == [result["content"] for result in RESULTS]
    ids = [message["id"] for message in waiting["input_messages"]]
    assert ([message["id"] for message in imported["input_messages"]] == ids) is not new_ids


def test_an_imported_conversation_with_steps_goes_on(
    other: TestClient, exported: bytes, upstream: Upstream
) -> None:
    take(other, exported)

    post(other, message="And tomorrow?")

    assert [call.id for call in upstream.replies[-1].tool_calls] == ["call_1", "call_2"]
    assert [text for _, text in upstream.replies[-1].tool_results] == [
        result["content"] for result in RESULTS
    ]


def openai_messages(client: TestClient) -> list[dict[str, Any]]:
    (line,) = client.get("/export?format=openai&session_id=agent").content.splitlines()
    messages: list[dict[str, Any]] = json.loads(line)["messages"]
    return messages


def test_the_export_for_openai_has_calls_results_and_pictures_as_its_api_does(
    client: TestClient, exported: bytes
) -> None:
    functions = [
        ("call_1", {"name": "weather", "arguments": '{"city":"Oslo"}'}),
        ("call_2", {"name": "clock", "arguments": "{}"}),
    ]
    assert openai_messages(client) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look."},
                {"type": "image_url", "image_url": {"url": PICTURE_URL}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"filename": "plan.pdf", "file_data": DOCUMENT_URL}},
            ],
        },
        {"role": "assistant", "content": "Reply to: Look."},
        {"role": "user", "content": "What is it like in Oslo?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": name, "type": "function", "function": function}
                for name, function in functions
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain, 7 °C\n```\n"},
        {"role": "tool", "tool_call_id": "call_2", "content": "no clock"},
        {"role": "assistant", "content": "It rains."},
    ]


AT = "2026-01-01T00:00:00.000000Z"


def lines_of(*messages: tuple[str, str, list[dict[str, Any]] | None], version: int = 2) -> bytes:
    """An export of a session with these messages."""
    session = {
        "type": "session", "session_id": "agent", "title": "Weather", "title_source": "model",
        "pinned": False, "archived": False, "model": None, "system_prompt": None,
        "context_messages": None, "metadata": {}, "head_seq": len(messages), "created_at": AT,
        "updated_at": AT,
    }  # fmt: skip
    lines: list[dict[str, Any]] = [{"type": "chatkeep", "version": version}, session]
    for seq, (role, content, blocks) in enumerate(messages, 1):
        more = {} if blocks is None else {"blocks": blocks}
        lines.append(
            {"type": "message", "seq": seq, "id": f"msg_{seq}", "parent_seq": seq - 1 or None,
             "role": role, "content": content, "status": "completed", "turn_id": None,
             "created_at": AT, **more}
        )  # fmt: skip
    lines.append({"type": "end", "session_id": "agent"})
    return b"\n".join(json.dumps(line).encode() for line in lines)


def call(name: str) -> dict[str, Any]:
    return {"type": "tool_call", "id": name, "name": "look", "args": {}}


def result(name: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_call_id": name, "status": "success"}


@pytest.mark.parametrize("before", [0, 46, 47, 48, 49, 50])
def test_a_call_is_followed_by_its_result_wherever_it_is_in_a_conversation(
    other: TestClient, before: int
) -> None:
    texts = [("user", f"text {number}", None) for number in range(before)]
    body = lines_of(
        *texts,
        ("assistant", "look({})", [call("a"), call("b")]),
        ("tool", "first", [result("a")]),
        ("tool", "second", [result("b")]),
        ("tool", "an orphan", [result("c")]),
        ("user", "and?", None),
        ("assistant", "look({})", [call("d")]),
    )
    take(other, body)

    messages = openai_messages(other)

    assert [message["content"] for message in messages[:before]] == [text for _, text, _ in texts]
    assert [(m["role"], m["content"], m.get("tool_call_id")) for m in messages[before:]] == [
        ("assistant", None, None),
        ("tool", "first", "a"),
        ("tool", "second", "b"),
        ("assistant", "an orphan", None),
        ("user", "and?", None),
        ("assistant", None, None),
        ("tool", "(This call was not answered.)", "d"),
    ]


def test_a_text_is_exported_for_openai_in_the_same_bytes_as_before_there_were_steps(
    other: TestClient,
) -> None:
    texts = [("user", f"text {number}", None) for number in range(120)]
    take(other, lines_of(*texts, ("tool", "old", None), ("system", "older", None), version=1))

    content = other.get("/export?format=openai").content

    listed = [f'{{"role":"user","content":"text {number}"}}' for number in range(120)]
    listed += ['{"role":"tool","content":"old"}', '{"role":"system","content":"older"}']
    assert content.decode() == '{"messages":[' + ",".join(listed) + "]}\n"


def test_markdown_quotes_steps_and_names_pictures(client: TestClient, exported: bytes) -> None:
    text = client.get("/export?format=markdown&session_id=agent").text

    assert (
        "\n\nLook.\n\n*[image: image/png]*\n\n*[image: https://example.com/a.png]*"
        "\n\n*[file: plan.pdf, application/pdf]*\n\n## Assistant ("
    ) in text
    assert (
        "\n\nLet me look.\n\n"
        "> **Call** of `weather`\n>\n"
        '> ```json\n> {\n>   "city": "Oslo"\n> }\n> ```\n\n'
        "> **Call** of `clock`\n>\n> ```json\n> {}\n> ```\n\n"
        "> **Result** of `weather`\n>\n> ````\n> rain, 7 °C\n> ```\n> ````\n\n"
        "> **Error** of `clock`\n>\n> ```\n> no clock\n> ```\n\n"
        "## Assistant ("
    ) in text
    assert text.endswith("\n\nIt rains.\n")
    assert "I should" not in text
    assert text.count("## ") == 5


def test_markdown_shortens_long_results_and_says_by_how_much(other: TestClient) -> None:
    body = lines_of(("assistant", "look({})", [call("a")]), ("tool", "x" * 3_500, [result("a")]))
    take(other, body)

    text = other.get("/export?format=markdown").text

    assert f"> {'x' * 2_000}\n> … (1,500 more characters)\n" in text
    assert text.count("## ") == 0
