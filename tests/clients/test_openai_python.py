"""The official Python library, unmodified."""

import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseStreamEvent
from pydantic import BaseModel

from tests.clients.border import (
    HELLO,
    LONG,
    LONG_REPLY,
    MESSAGES,
    OBJECT,
    REPLIES,
    ROLES,
    WEATHER,
    Border,
    assistant,
)
from tests.process import PATIENCE, until
from tests.upstream import Answer, Call

MODEL = "scripted"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Looks up the weather.",
    "parameters": PARAMETERS,
    "strict": True,
}


class CityWeather(BaseModel):
    city: str
    degrees: int


@pytest.fixture
def client(borders: Border) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{borders.url}/v1", api_key="not-needed", timeout=PATIENCE) as made:
        yield made


def gated(upstream: Any) -> threading.Event:
    """Let the model wait for this event in every answer."""
    gate = threading.Event()

    def script(call: Call) -> Answer:
        answer = assistant(call)
        answer.gate = gate
        return answer

    upstream.script = script
    return gate


def run(client: OpenAI, message: str, **context: Any) -> Response:
    """One message to its reply, through the calls of the tool."""
    response = client.responses.create(model=MODEL, input=message, tools=[TOOL], **context)
    while calls := [item for item in response.output if item.type == "function_call"]:
        assert [json.loads(call.arguments) for call in calls] == [{"city": "Oslo"}]
        if "conversation" not in context:
            context = {"previous_response_id": response.id}
        response = client.responses.create(
            model=MODEL,
            input=[
                {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER}
                for call in calls
            ],
            tools=[TOOL],
            **context,
        )
    return response


def test_three_turns_with_a_tool_by_previous_response(client: OpenAI, borders: Border) -> None:
    replies = []
    context: dict[str, Any] = {}
    for message in MESSAGES:
        response = run(client, message, **context)
        context = {"previous_response_id": response.id}
        replies.append(response.output_text)
        assert response.status == "completed"
        assert response.usage is not None
        assert response.usage.total_tokens > 0
    assert replies == REPLIES
    assert borders.roles(borders.session_of(response.id)) == ROLES


def test_three_turns_with_a_tool_in_a_conversation(client: OpenAI, borders: Border) -> None:
    conversation = client.conversations.create()
    responses = [run(client, message, conversation=conversation.id) for message in MESSAGES]
    assert [response.output_text for response in responses] == REPLIES
    assert {r.conversation.id for r in responses if r.conversation} == {conversation.id}
    assert borders.roles(conversation.id) == ROLES
    kinds = [item.type for item in client.conversations.items.list(conversation.id, order="asc")]
    call = ["reasoning", "function_call", "function_call_output", "message"]
    assert kinds == ["message", "message", "message", *call, "message", "message"]


def test_a_continuation_of_an_older_response_is_a_branch(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input=HELLO)
    for text in ("One way.", "Another way."):
        second = client.responses.create(model=MODEL, input=text, previous_response_id=first.id)
        assert second.output_text == f"This is message 2: {text}"


def test_every_event_of_a_stream_is_the_same_when_it_is_read_again(client: OpenAI) -> None:
    with client.responses.create(model=MODEL, input=LONG, stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert text_of(events) == LONG_REPLY
    created = events[0]
    assert created.type == "response.created"
    again = read_again(client, created.response.id)
    assert [e.to_dict() for e in again[2:-1]] == [e.to_dict() for e in events[2:-1]]
    for number in range(-1, len(events)):
        rest = read_again(client, created.response.id, starting_after=number)
        assert [e.to_dict() for e in rest] == [e.to_dict() for e in again[number + 1 :]]


def read_again(client: OpenAI, response_id: str, **position: int) -> list[ResponseStreamEvent]:
    with client.responses.retrieve(response_id, stream=True, **position) as stream:
        return list(stream)


def text_of(events: list[ResponseStreamEvent]) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


def until_cut(stream: Iterable[Any]) -> list[Any]:
    """What comes before the connection breaks."""
    events = []
    try:
        for event in stream:
            events.append(event)  # noqa: PERF402  # they stay when it breaks
    except (httpx2.TransportError, openai.APIConnectionError):
        return events
    raise AssertionError("the stream was not cut")


@pytest.mark.parametrize("passed", [1, 2, 5, 9])
@pytest.mark.parametrize("is_raw", [True, False], ids=["retrieve", "stream"])
def test_a_stream_that_is_cut_goes_on_with_the_next_event(
    client: OpenAI, borders: Border, passed: int, is_raw: bool
) -> None:
    borders.will("cut", "/v1/responses", events=passed)
    with client.responses.create(model=MODEL, input=LONG, stream=True) as stream:
        events = until_cut(stream)
    assert len(events) == passed
    assert events[0].type == "response.created"
    response_id, last = events[0].response.id, events[-1].sequence_number
    if is_raw:
        events += read_again(client, response_id, starting_after=last)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert text_of(events) == LONG_REPLY
    else:
        with client.responses.stream(response_id=response_id, starting_after=last) as more:
            numbers = [event.sequence_number for event in more]
            assert numbers == list(range(last + 1, numbers[-1] + 1))
            assert more.get_final_response().output_text == LONG_REPLY
    assert borders.roles(borders.session_of(response_id)) == ["user", "assistant"]


def test_the_helper_for_streams_gives_what_is_stored(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=MESSAGES[1], tools=[TOOL]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.reasoning_summary_text.delta" in kinds
    assert "response.function_call_arguments.done" in kinds
    stored = client.responses.retrieve(final.id)
    assert [item.id for item in stored.output] == [item.id for item in final.output]
    assert [item.type for item in stored.output] == ["reasoning", "function_call"]


def test_an_answer_is_parsed_into_an_object(client: OpenAI) -> None:
    response = client.responses.parse(model=MODEL, input=HELLO, text_format=CityWeather)
    assert response.output_parsed == CityWeather(**OBJECT)
    with client.responses.stream(model=MODEL, input=HELLO, text_format=CityWeather) as stream:
        assert stream.get_final_response().output_parsed == CityWeather(**OBJECT)


@pytest.mark.parametrize("kind", ["drop", "lose"])
@pytest.mark.parametrize("has_conversation", [True, False], ids=["conversation", "bare"])
def test_a_retry_of_the_library_is_one_turn(
    client: OpenAI, borders: Border, session: str, kind: Any, has_conversation: bool
) -> None:
    # No other test sends this: an equal request may be taken for a retry for a minute.
    message = f"Hello from the {session}."
    context = {"conversation": client.conversations.create().id} if has_conversation else {}
    before = borders.newest_sessions()
    borders.will(kind, "/v1/responses")
    response = client.responses.create(model=MODEL, input=message, **context)  # type: ignore[call-overload]  # a union
    assert response.output_text == f"This is message 1: {message}"
    retries = [r.headers["x-stainless-retry-count"] for r in borders.posts("/v1/responses")]
    assert retries == ["0", "1"]
    name = borders.session_of(response.id)
    assert borders.roles(name) == ["user", "assistant"]
    assert borders.newest_sessions() - before == (set() if has_conversation else {name})
    assert len(borders.upstream.replies) == 1


def test_what_is_sent_again_behind_an_answered_retry_is_new(
    client: OpenAI, borders: Border, session: str
) -> None:
    borders.will("drop", "/v1/responses")
    answers = [client.responses.create(model=MODEL, input=session) for _ in range(5)]
    assert len({answer.id for answer in answers}) == 5


def test_a_background_response_is_polled_until_it_is_done(client: OpenAI, borders: Border) -> None:
    gate = gated(borders.upstream)
    response = client.responses.create(model=MODEL, input=LONG, background=True)
    assert response.status in ("queued", "in_progress")
    assert client.responses.retrieve(response.id).status in ("queued", "in_progress")
    gate.set()
    done = until(lambda: completed(client, response.id))
    assert (done.output_text, done.background) == (LONG_REPLY, True)


def completed(client: OpenAI, response_id: str) -> Response | None:
    response = client.responses.retrieve(response_id)
    return None if response.status in ("queued", "in_progress") else response


def test_a_background_response_is_streamed_and_cancelled(client: OpenAI, borders: Border) -> None:
    gate = gated(borders.upstream)
    with client.responses.create(model=MODEL, input=LONG, background=True, stream=True) as stream:
        first = next(iter(stream))
    assert first.type == "response.created"
    assert client.responses.cancel(first.response.id).status == "cancelled"
    gate.set()
    assert client.responses.cancel(first.response.id).status == "cancelled"
    events = read_again(client, first.response.id)
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.status == "cancelled"


def test_a_deleted_response_is_not_there(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=HELLO)
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_response_that_others_continue_is_not_deleted(client: OpenAI) -> None:
    first = client.responses.create(model=MODEL, input=HELLO)
    client.responses.create(model=MODEL, input=HELLO, previous_response_id=first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.delete(first.id)
    assert caught.value.code == "response_in_use"


def test_an_unstored_response_is_nowhere(client: OpenAI, borders: Border) -> None:
    before = borders.newest_sessions()
    response = client.responses.create(model=MODEL, input=HELLO, store=False)
    assert response.output_text == REPLIES[0]
    assert response.store is False  # type: ignore[attr-defined]  # not in the library's types
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    assert borders.newest_sessions() == before


def test_the_input_of_a_response_is_listed(client: OpenAI) -> None:
    items: Any = [{"role": "user", "content": text} for text in ("One.", "Two.", "Three.")]
    response = client.responses.create(model=MODEL, input=items)
    newest = list(client.responses.input_items.list(response.id, limit=2))
    oldest = list(client.responses.input_items.list(response.id, limit=2, order="asc"))
    assert [text_in(item) for item in oldest] == ["One.", "Two.", "Three."]
    assert newest == oldest[::-1]


def text_in(item: Any) -> str:
    return "".join(part.text for part in item.content)


def test_metadata_and_instructions_come_back(client: OpenAI, borders: Border) -> None:
    response = client.responses.create(
        model=MODEL, input=HELLO, instructions="Be brief.", metadata={"topic": "demo"}
    )
    assert borders.upstream.replies[-1].messages == [("system", "Be brief."), ("user", HELLO)]
    stored = client.responses.retrieve(response.id)
    assert (stored.instructions, stored.metadata) == ("Be brief.", {"topic": "demo"})
    client.responses.create(model=MODEL, input=HELLO, previous_response_id=response.id)
    assert "system" not in [role for role, _ in borders.upstream.replies[-1].messages]


REFUSED: list[tuple[dict[str, Any], type[openai.APIStatusError], str | None, str | None]] = [
    ({"model": "nobody"}, openai.NotFoundError, "model_not_found", "model"),
    (
        {"previous_response_id": "resp_00000000000000000000000000000000"},
        openai.BadRequestError,
        "previous_response_not_found",
        "previous_response_id",
    ),
    ({"conversation": "conv_none"}, openai.NotFoundError, None, "conversation"),
    (
        {"conversation": "conv_none", "previous_response_id": "resp_1"},
        openai.BadRequestError,
        None,
        None,
    ),
    (
        {"input": [{"role": "nobody", "content": "Hello."}]},
        openai.BadRequestError,
        None,
        "input[0].role",
    ),
    (
        {"input": [{"type": "function_call_output", "call_id": "call_none", "output": "1"}]},
        openai.BadRequestError,
        None,
        "input[0].call_id",
    ),
    ({"prompt": {"id": "pmpt_1"}}, openai.BadRequestError, "unsupported_parameter", "prompt"),
]


@pytest.mark.parametrize(
    ("body", "error", "code", "param"), REFUSED, ids=["+".join(body) for body, *_ in REFUSED]
)
def test_an_error_is_the_librarys_exception_with_code_and_parameter(
    client: OpenAI,
    body: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str | None,
    param: str | None,
) -> None:
    with pytest.raises(error) as caught:
        client.responses.create(**{"model": MODEL, "input": HELLO, **body})
    assert caught.value.type == "invalid_request_error"
    assert code is None or caught.value.code == code
    assert param is None or caught.value.param == param


def test_every_answer_has_an_id_of_the_request(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=HELLO)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve("resp_none")
    ids = [response._request_id, caught.value.request_id]
    assert all(ids)
    assert ids[0] != ids[1]


def test_a_tool_that_a_server_cannot_have_is_skipped(client: OpenAI, borders: Border) -> None:
    tools: Any = [{"type": "web_search"}, TOOL]
    response = client.responses.create(model=MODEL, input=HELLO, tools=tools)
    assert [tool.type for tool in response.tools] == ["function"]
    assert borders.upstream.replies[-1].tools == ["get_weather"]


def test_a_failed_model_is_an_error_that_is_not_retried(client: OpenAI, borders: Border) -> None:
    borders.upstream.script = lambda _: Answer(status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        client.responses.create(model=MODEL, input=HELLO)
    assert caught.value.type == "server_error"
    assert len(borders.posts("/v1/responses")) == 1


def test_conversations_are_made_changed_and_deleted(client: OpenAI, borders: Border) -> None:
    conversation = client.conversations.create(
        metadata={"topic": "demo"},
        items=[{"type": "message", "role": "user", "content": HELLO}],
    )
    assert (conversation.object, conversation.metadata) == ("conversation", {"topic": "demo"})
    assert client.conversations.retrieve(conversation.id) == conversation
    changed = client.conversations.update(conversation.id, metadata={"topic": "other"})
    assert changed.metadata == {"topic": "other"}
    assert [m["content"] for m in borders.history(conversation.id)] == [HELLO]
    assert client.conversations.delete(conversation.id).deleted is True
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_a_conversations_items_are_added_paged_read_and_removed(client: OpenAI) -> None:
    conversation = client.conversations.create().id
    items = client.conversations.items
    texts = [f"Message {number}." for number in range(20)]
    rows: Any = [{"type": "message", "role": "user", "content": text} for text in texts]
    assert [text_in(item) for item in items.create(conversation, items=rows).data] == texts
    oldest = list(items.list(conversation, order="asc", limit=7))
    assert [text_in(item) for item in oldest] == texts
    assert list(items.list(conversation, limit=6)) == oldest[::-1]
    last = oldest[-1].id
    assert last is not None
    assert items.retrieve(last, conversation_id=conversation) == oldest[-1]
    items.delete(last, conversation_id=conversation)
    assert [text_in(item) for item in items.list(conversation, order="asc")] == texts[:-1]
    with pytest.raises(openai.NotFoundError):
        items.retrieve(last, conversation_id=conversation)
    first = oldest[0].id
    assert first is not None
    with pytest.raises(openai.BadRequestError) as caught:
        items.delete(first, conversation_id=conversation)
    assert caught.value.code == "item_not_last"
    with pytest.raises(openai.BadRequestError):
        items.create(conversation, items=[*rows, rows[0]])


def test_the_models_on_offer_are_listed(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert {"openai:scripted", "gpt-5-mini"} <= names
    assert client.models.retrieve("gpt-5-mini").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": PARAMETERS},
}


def chat(client: OpenAI, messages: list[Any], **options: Any) -> str:
    """One exchange through the calls of the tool; what comes is added to the messages."""
    while True:
        completion = client.chat.completions.create(
            model=MODEL, messages=messages, tools=[CHAT_TOOL], **options
        )
        message = completion.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return message.content or ""
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": WEATHER}
            for call in message.tool_calls
        ]


def test_three_turns_with_a_tool_by_chat_completions_are_not_stored(
    client: OpenAI, borders: Border
) -> None:
    before = borders.newest_sessions()
    messages: list[Any] = []
    replies = []
    for text in MESSAGES:
        messages.append({"role": "user", "content": text})
        replies.append(chat(client, messages))
    assert replies == REPLIES
    assert borders.newest_sessions() == before


def test_chat_completions_that_name_a_session_are_one_conversation(
    client: OpenAI, borders: Border, session: str
) -> None:
    messages: list[Any] = []
    named = {"extra_headers": {"X-Chatkeep-Session": session}}
    for text, reply in zip(MESSAGES, REPLIES, strict=True):
        messages.append({"role": "user", "content": text})
        assert chat(client, messages, **named) == reply
    assert borders.roles(session) == ROLES


def test_a_retry_of_chat_completions_in_a_session_is_one_turn(
    client: OpenAI, borders: Border, session: str
) -> None:
    borders.will("drop", "/v1/chat/completions")
    messages: list[Any] = [{"role": "user", "content": HELLO}]
    reply = chat(client, messages, extra_headers={"X-Chatkeep-Session": session})
    assert reply == REPLIES[0]
    assert len(borders.posts("/v1/chat/completions")) == 2
    assert borders.roles(session) == ["user", "assistant"]


def test_a_chat_completion_is_streamed_with_its_usage(client: OpenAI) -> None:
    with client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": LONG}],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == LONG_REPLY
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_chat_completion_that_is_cut_is_in_its_session(
    client: OpenAI, borders: Border, session: str
) -> None:
    borders.will("cut", "/v1/chat/completions", events=3)
    with client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": LONG}],
        stream=True,
        extra_headers={"X-Chatkeep-Session": session},
    ) as stream:
        assert len(until_cut(stream)) == 3
    until(lambda: [m["content"] for m in borders.history(session)] == [LONG, LONG_REPLY])


def test_a_chat_completion_is_parsed_into_an_object(client: OpenAI) -> None:
    completion = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": HELLO}],
        response_format=CityWeather,
    )
    assert completion.choices[0].message.parsed == CityWeather(**OBJECT)


def test_more_than_one_choice_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": HELLO}], n=2
        )
    assert caught.value.param == "n"
