"""A conversation made short with OpenAI's own call, and what a client goes on with."""

from base64 import b64encode
from typing import Any

import openai
import pytest
from openai.types.responses import CompactedResponse
from starlette.testclient import TestClient

from tests.upstream import Answer, ImageData, ToolCall, Upstream

MODEL = "openai:scripted"
QUESTION = "Summarise the conversation up to here."
CONVERSATION = [
    {"role": "user", "content": "We launch on Tuesday."},
    {"role": "assistant", "content": "Understood."},
    {"role": "user", "content": "Tell support first."},
]
PICTURE = b"\x89PNG\r\n\x1a\n" + b"a picture"


@pytest.fixture(autouse=True)
def _summary(upstream: Upstream) -> None:
    upstream.script = lambda _call: Answer(["Launch: ", "Tuesday."])


def compact(client: TestClient, **members: Any) -> CompactedResponse:
    api = openai.OpenAI(
        api_key="none", base_url="http://localhost:8000/v1", http_client=client, max_retries=0
    )
    return api.responses.compact(model=MODEL, **members)


def refused(client: TestClient, **members: Any) -> tuple[int, str, str | None]:
    response = client.post("/v1/responses/compact", json=members)
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


def respond(client: TestClient, **members: Any) -> Any:
    response = client.post("/v1/responses", json={"model": MODEL, **members})
    assert response.status_code == 200, response.text
    return response.json()


def last_prompt(upstream: Upstream) -> list[tuple[str, str]]:
    """What the model was sent last, but for a title."""
    return upstream.replies[-1].messages


def test_a_conversation_becomes_its_last_message_and_a_summary(
    client: TestClient, upstream: Upstream
) -> None:
    compacted = compact(client, input=CONVERSATION, prompt_cache_key="ignored")

    message, summary = compacted.output
    assert (message.type, summary.type) == ("message", "compaction")
    assert message.to_dict(warnings=False)["content"] == [
        {"type": "input_text", "text": "Tell support first."}
    ]
    assert compacted.object == "response.compaction"
    assert compacted.usage.total_tokens > 0
    system, *others = last_prompt(upstream)
    assert system[0] == "system"
    assert others == [(m["role"], m["content"]) for m in CONVERSATION] + [("user", QUESTION)]


def test_a_client_goes_on_with_the_output_as_it_is(client: TestClient, upstream: Upstream) -> None:
    output = [item.to_dict(warnings=False) for item in compact(client, input=CONVERSATION).output]

    respond(client, input=[*output, {"role": "user", "content": "And now?"}], store=False)

    texts = [text for role, text in last_prompt(upstream) if role == "user"]
    assert texts[0] == "Tell support first."
    assert texts[1].endswith("Launch: Tuesday.")
    assert texts[2] == "And now?"
    # A second compaction does not take the first one's summary for the user's words.
    again = compact(client, input=output)
    assert again.output[0].to_dict(warnings=False)["content"][0]["text"] == "Tell support first."


def test_what_is_stored_can_be_compacted_by_the_response_that_it_ends_with(
    client: TestClient, upstream: Upstream
) -> None:
    first = respond(client, input="My word is heron.")
    second = respond(client, input="Which word?", previous_response_id=first["id"])

    compacted = compact(client, previous_response_id=second["id"])

    assert [text for _, text in last_prompt(upstream)[1:]] == [
        "My word is heron.",
        "Launch: Tuesday.",
        "Which word?",
        "Launch: Tuesday.",
        QUESTION,
    ]
    assert compacted.output[0].to_dict(warnings=False)["content"][0]["text"] == "Which word?"
    items = client.get(f"/v1/responses/{second['id']}/input_items").json()["data"]
    assert len(items) == 1


def test_calls_and_pictures_are_part_of_what_is_summarised(
    client: TestClient, upstream: Upstream
) -> None:
    url = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
    conversation = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": url},
            ],
        },
        call,
        {"type": "function_call_output", "call_id": "c1", "output": "a bird"},
        {"role": "assistant", "content": "A heron."},
    ]

    compacted = compact(client, input=conversation)

    last = upstream.calls[-1]
    assert last.images == [ImageData("image/png", PICTURE)]
    assert (last.tool_calls, last.tool_results) == ([], [])
    written = [text for role, text in last.messages if role == "assistant"]
    assert written == ['(look({"at":1}))\n\n(The tool\'s result: a bird)\n\nA heron.']
    parts = compacted.output[0].to_dict(warnings=False)["content"]
    assert [part["type"] for part in parts] == ["input_text", "input_image"]
    assert parts[1]["image_url"] == url


def test_its_call_is_counted_and_nothing_else_is_stored(
    client: TestClient, upstream: Upstream
) -> None:
    sessions = client.get("/sessions").json()
    before = client.get("/usage").json()

    compact(client, input=CONVERSATION)

    assert client.get("/sessions").json() == sessions
    assert client.get("/usage").json() != before


def test_what_cannot_be_compacted_is_refused(client: TestClient, upstream: Upstream) -> None:
    missing = "missing_required_parameter"
    assert refused(client, input="x") == (400, missing, "model")
    assert refused(client, model=MODEL) == (400, missing, "input")
    assert refused(client, model=MODEL, input=[]) == (400, "invalid_value", "input")
    assert refused(client, model="gpt-9", input="x")[1] == "model_not_found"
    unknown = f"resp_{'0' * 32}"
    assert refused(client, model=MODEL, previous_response_id=unknown) == (
        400,
        "previous_response_not_found",
        "previous_response_id",
    )
    output = {"type": "function_call_output", "call_id": "c", "output": "x"}
    assert refused(client, model=MODEL, input=[output])[2] == "input[0].call_id"
    foreign = {"type": "compaction", "encrypted_content": "gAAAA"}
    assert refused(client, model=MODEL, input=[foreign])[2] == "input[0].encrypted_content"
    assert upstream.calls == []


def test_a_model_that_fails_is_an_error(client: TestClient, upstream: Upstream) -> None:
    upstream.script = lambda _call: Answer(status=401, body=b"{}")
    assert refused(client, model=MODEL, input="x")[0] == 502
    upstream.script = lambda _call: Answer([], tool_calls=[ToolCall("look", {})])
    assert refused(client, model=MODEL, input="x")[0] == 502
