"""Tools of the client, pictures, reasoning: by every provider's protocol, or clearly refused."""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.process import Server, files_with
from tests.sse import STREAM, Transcript, events
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

PROVIDERS = ("openai:scripted", "anthropic:scripted", "ollama:scripted")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CITIES = ("Oslo", "Rome")
PNG = b"\x89PNG\r\n\x1a\n"
CANARY = b"heron-2209" * 400
PICTURE = PNG + CANARY
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
PDF = b"%PDF-1.7\n" + CANARY


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


REPORT = {"name": "report.pdf", "data": data_url(PDF, "application/pdf")}


def forecaster(call: Call) -> Answer:
    """It looks the weather of two cities up, and says what it was answered."""
    if call.is_title:
        return polite(call)
    if call.tools and not call.tool_results:
        calls = [
            ToolCall("get_weather", {"city": city}, f"call_{city}_{len(call.messages)}")
            for city in CITIES
        ]
        return Answer(["Let me ", "check."], reasoning=["Two ", "cities."], tool_calls=calls)
    return Answer(["It ", "rains."], reasoning=["So ", "be it."])


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": PROVIDERS[0],
        "CHATKEEP_MODELS": ",".join((*PROVIDERS[1:], "local:smollm2-135m-instruct")),
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with server.client() as opened:
        yield opened


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in message["blocks"] if block["type"] == "tool_call"]


def results(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"tool_call_id": call["id"], "content": f"rain in {n}"} for n, call in enumerate(calls)]


@pytest.mark.parametrize("model", PROVIDERS)
def test_a_tools_call_and_its_result_are_messages_of_the_conversation(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str, model: str
) -> None:
    upstream.script = forecaster
    asked = server.chat(session, "How is it?", model=model, tools=[WEATHER]).json()
    calls = calls_of(asked)
    assert asked["response"] == "Let me check."
    assert [call["args"] for call in calls] == [{"city": city} for city in CITIES]

    body = {"session_id": session, "model": model, "tools": [WEATHER]}
    body |= {"tool_results": results(calls)}
    transcript = Transcript()
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        for event in events(response):
            transcript.take(event)
    assert transcript.text == "It rains."
    thinks = not model.startswith("ollama")
    assert transcript.reasoning == ("So be it." if thinks else "")

    history = server.history(session)
    assert [(m["role"], m["content"]) for m in history] == [
        ("user", "How is it?"),
        ("assistant", "Let me check."),
        ("tool", "rain in 0"),
        ("tool", "rain in 1"),
        ("assistant", "It rains."),
    ]
    assert calls_of(history[1]) == calls
    assert [m["blocks"][0]["tool_call_id"] for m in history[2:4]] == [c["id"] for c in calls]
    sent = upstream.replies[-1]
    assert [call.args for call in sent.tool_calls] == [{"city": city} for city in CITIES]
    assert [text for _, text in sent.tool_results] == ["rain in 0", "rain in 1"]
    # The same model goes on without tools, and so does every other one.
    for other in PROVIDERS:
        assert server.chat(session, "And now?", model=other).json()["response"] == "It rains."
    assert upstream.refusals == []


def test_a_call_without_a_text_is_shown_as_what_it_calls(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer([], tool_calls=[ToolCall("look", {"at": 1})])
    )
    answer = server.chat(session, "Look.", tools=[WEATHER]).json()
    assert (answer["response"], answer["finish_reason"]) == ("", "tool_calls")
    assert server.contents(session) == ["Look.", 'look({"at":1})']
    upstream.script = polite
    assert server.chat(session, "Never mind.").json()["response"] == "Reply to: Never mind."
    assert upstream.replies[-1].tool_results == [("call_1", "(This call was not answered.)")]
    assert upstream.refusals == []


def test_a_result_without_its_call_is_refused_and_nothing_is_stored(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = forecaster
    first, second = calls_of(server.chat(session, "How is it?", tools=[WEATHER]).json())
    before = server.history(session)
    wrong = [
        [{"tool_call_id": "call_none", "content": "rain"}],
        [{"tool_call_id": first["id"], "content": "rain"}] * 2,
        [*results([first]), {"tool_call_id": "call_none", "content": "rain"}],
    ]
    for tool_results in wrong:
        body = {"session_id": session, "tool_results": tool_results}
        assert client.post("/chat", json=body).status_code == 422
    root = {"session_id": session, "parent_id": None, "tool_results": results([first])}
    assert client.post("/chat", json=root).status_code == 422
    half = b'{"session_id": "half", "message": "x", "images": ["https://a/\\ud800"]}'
    headers = {"Content-Type": "application/json"}
    assert client.post("/chat", content=half, headers=headers).status_code == 422
    for name in ("nowhere", "new"):
        body = {"session_id": f"{session} {name}"[:255], "tool_results": wrong[0]}
        assert client.post("/chat", json=body).status_code == 422
        assert body["session_id"] not in server.sessions()
    assert server.history(session) == before
    # One result after the other is as good as both together.
    for call in (first, second):
        body = {"session_id": session, "tool_results": results([call])}
        assert client.post("/chat", json=body).status_code in {200, 422}
    assert upstream.refusals == []


def test_what_a_model_cannot_do_is_refused_before_anything_is_stored(
    server: Server, session: str
) -> None:
    small = "local:smollm2-135m-instruct"
    form = {"type": "json_object"}
    demands: list[dict[str, Any]] = [
        {"model": small, "tools": [WEATHER]},
        {"model": small, "images": [data_url(PICTURE)]},
        {"model": small, "images": ["https://example.com/a.png"]},
        {"model": small, "reasoning_effort": "high"},
        {"model": "ollama:scripted", "tools": [WEATHER], "tool_choice": "required"},
        {"model": "ollama:scripted", "images": ["https://example.com/a.png"]},
        {
            "model": "ollama:scripted",
            "files": [{"name": "a.pdf", "data": data_url(PDF, "application/pdf")}],
        },
        {"model": "anthropic:scripted", "response_format": form},
    ]
    for demand in demands:
        refused = server.chat(session, "Do it.", **demand)
        assert (refused.status_code, refused.json()["type"]) == (
            400,
            "/problems/unsupported-content",
        ), demand
    assert session not in server.sessions()


@pytest.mark.parametrize("model", PROVIDERS)
def test_what_a_request_demands_reaches_the_model(
    server: Server, upstream: Upstream, session: str, model: str
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "form", "schema": schema}}
    assert server.chat(
        session, "Do it.", model=model, response_format=form, reasoning_effort="low"
    ).is_success
    body = upstream.replies[-1].body
    if model.startswith("openai"):
        assert (body["response_format"], body["reasoning_effort"]) == (form, "low")
    elif model.startswith("anthropic"):
        assert body["output_config"]["effort"] == "low"
        assert body["output_config"]["format"]["schema"]["properties"] == schema["properties"]
    else:
        assert (body["format"], body["think"]) == (schema, "low")


@pytest.mark.parametrize("model", PROVIDERS)
def test_a_picture_that_was_sent_once_is_sent_again_and_gone_with_its_session(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str, model: str
) -> None:
    first = server.chat(session, "What is it?", model=model, images=[data_url(PICTURE)])
    assert first.status_code == 200, first.text
    assert server.chat(session, "And its colour?", model=model).status_code == 200
    seen = [[image.data for image in call.images] for call in upstream.replies]
    assert seen == [[PICTURE], [PICTURE]]
    block = server.history(session)[0]["blocks"][1]
    file_id = sha256(PICTURE).hexdigest()
    assert block == {"type": "image", "mime_type": "image/png", "file_id": file_id}

    path = httpx2.URL(server.url).copy_with(path=f"/files/{session}/{file_id}")
    picture = client.get(path)
    assert (picture.content, picture.headers["content-type"]) == (PICTURE, "image/png")
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in picture.headers["content-security-policy"]
    assert picture.headers["cache-control"] == "no-store"
    for other in (f"/files/{session}/{'0' * 64}", f"/files/other/{file_id}", "/files/s/nothing"):
        assert client.get(httpx2.URL(server.url).copy_with(path=other)).status_code == 404

    assert files_with(server.folder, "heron-2209") != []
    gone = client.delete(httpx2.URL(server.url).copy_with(path=f"/sessions/{session}"))
    assert gone.status_code == 204
    assert files_with(server.folder, "heron-2209") == []
    assert upstream.refusals == []


def test_a_document_is_read_by_who_can_and_left_out_for_others(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    assert server.chat(session, "Read it.", files=[REPORT]).status_code == 200
    parts = upstream.replies[-1].body["messages"][-1]["content"]
    (part,) = [part for part in parts if part["type"] == "file"]
    assert part["file"]["filename"] == "report.pdf"
    assert server.chat(session, "And you?", model="ollama:scripted").status_code == 200
    assert "is left out" in str(upstream.replies[-1].body["messages"])
    file_id = server.history(session)[0]["blocks"][1]["file_id"]
    path = httpx2.URL(server.url).copy_with(path=f"/files/{session}/{file_id}")
    assert client.get(path).headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(
    ("members", "status"),
    [
        (
            {"images": [data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")]},
            422,
        ),
        ({"images": [data_url(b"<svg/>", "image/png")]}, 422),
        ({"images": [data_url(PICTURE, "image/jpeg")]}, 422),
        ({"images": [data_url(PDF, "application/pdf")]}, 422),
        ({"images": ["data:image/png;base64,%%%"]}, 422),
        ({"images": ["data:image/png,abc"]}, 422),
        ({"images": ["file:///etc/passwd"]}, 422),
        ({"images": ["https://example.com/\0"]}, 422),
        ({f"unknown{number}": 1 for number in range(200)}, 422),
        ({"images": ["javascript:alert(1)"]}, 422),
        ({"images": [data_url(PICTURE)] * 21}, 422),
        ({"images": [data_url(PNG + b"x" * 11 * 1_048_576)]}, 413),
        ({"images": [data_url(PNG + b"x" * 8 * 1_048_576)] * 2}, 413),
        ({"files": [{"name": "a.png", "data": data_url(PICTURE)}]}, 422),
        ({"tools": [WEATHER] * 1_000}, 422),
        ({"tools": []}, 422),
        ({"tool_choice": "required"}, 422),
        ({"tools": [{"type": "function", "function": {"name": "not a name"}}]}, 422),
    ],
    ids=str,
)
def test_what_is_not_what_it_should_be_is_refused_and_nothing_is_stored(
    server: Server, session: str, members: dict[str, Any], status: int
) -> None:
    refused = server.chat(session[:200], "Look.", **members)
    assert refused.status_code == status, refused.text
    assert session[:200] not in server.sessions()
    assert server.get("/healthz") == {"status": "ok"}


def test_a_schema_that_is_nested_too_deeply_is_refused(server: Server, session: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"properties": {"x": deep}}
    tool = {"type": "function", "function": {"name": "deep", "parameters": deep}}
    assert server.chat(session, "Look.", tools=[tool]).status_code == 422
    assert session not in server.sessions()


def test_a_turn_with_results_is_answered_again_with_all_of_them(
    server: Server, client: httpx2.Client, upstream: Upstream, session: str
) -> None:
    upstream.script = forecaster
    calls = calls_of(server.chat(session, "How is it?", tools=[WEATHER]).json())
    body = {"session_id": session, "tool_results": results(calls), "tools": [WEATHER]}
    first = client.post("/chat", json=body).json()
    asked = upstream.replies[-1].body["messages"]
    again = client.post("/chat", json={"session_id": session, "regenerate": first["turn_id"]})
    assert again.json()["response"] == "It rains."
    assert upstream.replies[-1].body["messages"] == asked
    small = {"session_id": session, "regenerate": first["turn_id"]}
    small["model"] = "local:smollm2-135m-instruct"
    assert client.post("/chat", json=small).json()["type"] == "/problems/unsupported-content"


@pytest.mark.parametrize("count", [257, 1_000])
def test_blocks_of_an_import_have_limits(
    client: httpx2.Client, server: Server, session: str, count: int, tmp_path: Path
) -> None:
    assert server.chat(session, "hello").is_success
    lines = client.get("/export", params={"format": "jsonl"}).content.splitlines()
    own = [line for line in lines if b'"hello"' in line and b'"type":"message"' in line]
    many = b'"blocks":[' + b",".join([b'{"type":"text","text":"x"}'] * count) + b"]}"
    deep = b'"blocks":[' + b'{"type":"x","x":' * 100 + b"1" + b"}" * 100 + b"]}"
    lost = b'"blocks":[{"type":"image","file_id":"zz"}]}'
    for blocks in (many, deep, lost):
        changed = [line[:-1] + b"," + blocks if line in own else line for line in lines]
        client.delete(httpx2.URL(server.url).copy_with(path=f"/sessions/{session}"))
        report = client.post("/import", content=b"\n".join(changed)).json()
        assert session in {skipped["session_id"] for skipped in report["skipped"]}
    assert session not in server.sessions()
