"""OpenAI's responses and conversations, by OpenAI's own client and a real server."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from tests.process import Server, files_with, until
from tests.proxy import Proxy
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

MODEL = "openai:scripted"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
LAST = {"response.completed", "response.incomplete", "response.failed"}
CANARY = "bittern-4471"


def client_of(url: str, **options: Any) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="none", **{"max_retries": 0, **options})


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with client_of(server.url) as opened:
        yield opened


def forecaster(call: Call) -> Answer:
    """It thinks, says something, and looks the weather up; then it says what that is."""
    if call.is_title:
        return polite(call)
    if call.tools and not call.tool_results:
        tool_call = ToolCall("get_weather", {"city": "Oslo"}, f"call_{len(call.messages)}")
        return Answer(["Let me ", "check."], reasoning=["Which ", "city?"], tool_calls=[tool_call])
    return Answer(["It rains ", "in Oslo, ", "雨が降る。"], reasoning=["So be it."])


def numbers(events: list[Any]) -> list[int]:
    return [event.sequence_number for event in events]


def text_of(events: list[Any]) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


def read(client: OpenAI, response_id: str, after: int | None = None) -> list[Any]:
    more = {} if after is None else {"starting_after": after}
    return list(client.responses.retrieve(response_id, stream=True, **more))


def prompts(upstream: Upstream) -> list[list[str]]:
    return [[text for _, text in call.messages] for call in upstream.replies]


def test_a_text_is_answered_as_openai_answers_it(client: OpenAI, upstream: Upstream) -> None:
    response = client.responses.create(
        model=MODEL, input="Hello", instructions="Be brief.", metadata={"ticket": "7"}
    )
    assert (response.status, response.output_text) == ("completed", "Reply to: Hello")
    assert response.usage is not None
    assert response.usage.total_tokens == (
        response.usage.input_tokens + response.usage.output_tokens
    )
    assert (response.instructions, response.metadata) == ("Be brief.", {"ticket": "7"})
    assert (response.error, response.incomplete_details, response.tools) == (None, None, [])
    assert client.responses.retrieve(response.id).to_dict() == response.to_dict()
    assert upstream.replies[-1].messages == [("system", "Be brief."), ("user", "Hello")]


def test_without_instructions_no_system_prompt_is_slipped_in(
    client: OpenAI, upstream: Upstream
) -> None:
    client.responses.create(model=MODEL, input="Hello")
    assert upstream.replies[-1].messages == [("user", "Hello")]


@pytest.mark.parametrize("summary", ["auto", None])
def test_the_summary_of_reasoning_that_is_demanded_is_said_again(
    client: OpenAI, upstream: Upstream, summary: Any
) -> None:
    upstream.script = forecaster
    response = client.responses.create(model=MODEL, input="?", reasoning={"summary": summary})

    assert response.reasoning is not None
    assert response.reasoning.summary == summary
    stored = client.responses.retrieve(response.id)
    assert stored.reasoning == response.reasoning
    assert [item.type for item in stored.output] == ["reasoning", "message"]


def test_a_model_is_known_by_its_own_name(client: OpenAI) -> None:
    assert client.responses.create(model="scripted", input="Hello").model == MODEL
    assert client.models.retrieve("scripted").id == MODEL
    assert [(model.id, model.owned_by) for model in client.models.list()] == [(MODEL, "openai")]


def test_the_numbers_of_a_stream_have_no_gaps_and_are_the_same_again(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.script = forecaster
    live = list(
        client.responses.create(model=MODEL, input="Weather?", tools=[WEATHER], stream=True)
    )
    response_id = live[0].response.id
    assert numbers(live) == list(range(len(live)))
    again = read(client, response_id)
    assert [event.to_dict() for event in again] == [event.to_dict() for event in live]
    assert text_of(live) == "Let me check."
    final = client.responses.retrieve(response_id)
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    done = [e.item.to_dict() for e in live if e.type == "response.output_item.done"]
    assert done == [item.to_dict() for item in final.output]
    assert live[-1].response.to_dict() == final.to_dict()


def test_a_stream_is_read_on_from_any_event_in_both_ways(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.script = forecaster
    whole = list(client.responses.create(model=MODEL, input="What is it like?", stream=True))
    response_id = whole[0].response.id
    for after in range(-1, len(whole)):
        rest = read(client, response_id, after)
        assert numbers(rest) == numbers(whole)[after + 1 :]
        with client.responses.stream(response_id=response_id, starting_after=after) as stream:
            assert numbers(list(stream)) == numbers(whole)[after + 1 :]
    assert text_of(whole) == "It rains in Oslo, 雨が降る。"


def test_the_helper_parses_what_the_model_was_held_to(client: OpenAI, upstream: Upstream) -> None:
    class Forecast(BaseModel):
        city: str
        rains: bool

    forecast = json.dumps({"city": "Oslo", "rains": True})
    upstream.script = lambda call: polite(call) if call.is_title else Answer([forecast])
    parsed = client.responses.parse(model=MODEL, input="Oslo?", text_format=Forecast)
    assert parsed.output_parsed == Forecast(city="Oslo", rains=True)
    sent = upstream.replies[-1].body["response_format"]
    assert sent["json_schema"]["schema"]["required"] == ["city", "rains"]
    assert parsed.to_dict()["text"]["format"]["name"] == "Forecast"


def test_a_loop_of_tools_goes_on_by_the_previous_response(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.script = forecaster
    first = client.responses.create(model=MODEL, input="Weather?", tools=[WEATHER])
    call = next(item for item in first.output if item.type == "function_call")
    assert json.loads(call.arguments) == {"city": "Oslo"}
    second = client.responses.create(
        model=MODEL,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}],
        tools=[WEATHER],
    )
    assert second.output_text == "It rains in Oslo, 雨が降る。"
    assert second.previous_response_id == first.id
    assert upstream.replies[-1].tool_results == [(call.call_id, "rain")]
    assert [item.type for item in client.responses.input_items.list(second.id)] == [
        "function_call_output"
    ]
    assert upstream.refusals == []


def test_a_client_may_send_the_whole_loop_itself(client: OpenAI, upstream: Upstream) -> None:
    upstream.script = forecaster
    first = client.responses.create(model=MODEL, input="Weather?", tools=[WEATHER])
    call = next(item for item in first.output if item.type == "function_call")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    history: Any = [
        {"role": "user", "content": "Weather?"},
        *(item.to_dict() for item in first.output),
        output,
    ]
    references: Any = [
        {"role": "user", "content": "Weather?"},
        *({"type": "item_reference", "id": item.id} for item in first.output),
        output,
    ]
    for items in (history, references):
        second = client.responses.create(model=MODEL, input=items, tools=[WEATHER])
        assert second.output_text == "It rains in Oslo, 雨が降る。"
        sent = upstream.replies[-1]
        assert sent.tool_calls == [ToolCall("get_weather", {"city": "Oslo"}, call.call_id)]
        assert sent.messages[1][1] == "Let me check."
    assert upstream.refusals == []


def test_an_older_response_is_continued_on_a_branch_of_its_own(
    client: OpenAI, upstream: Upstream
) -> None:
    first = client.responses.create(model=MODEL, input="One")
    second = client.responses.create(model=MODEL, input="Two", previous_response_id=first.id)
    other = client.responses.create(model=MODEL, input="Other", previous_response_id=first.id)
    assert prompts(upstream)[-1] == ["One", "Reply to: One", "Other"]
    third = client.responses.create(model=MODEL, input="Three", previous_response_id=second.id)
    assert prompts(upstream)[-1] == ["One", "Reply to: One", "Two", "Reply to: Two", "Three"]
    for response, text in ((other, "Other"), (third, "Three")):
        assert client.responses.retrieve(response.id).output_text == f"Reply to: {text}"


def test_a_response_can_be_continued_at_once(client: OpenAI) -> None:
    last = None
    for number in range(200):
        more = {} if last is None else {"previous_response_id": last}
        last = client.responses.create(model=MODEL, input=f"No. {number}", **more).id


def test_a_running_response_can_be_continued(client: OpenAI, upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.script = lambda call: (
        polite(call) if call.is_title or "Slow" not in call.messages[-1][1] else Answer(gate=gate)
    )
    slow = client.responses.create(model=MODEL, input="Slow", background=True)
    assert slow.status in {"queued", "in_progress"}
    following = client.responses.create(
        model=MODEL, input="Next", previous_response_id=slow.id, background=True
    )
    assert client.responses.retrieve(following.id).status == "queued"
    gate.set()
    until(lambda: client.responses.retrieve(following.id).status == "completed")
    assert prompts(upstream)[-1] == ["Slow", "Fine, thanks.", "Next"]
    assert client.responses.retrieve(slow.id).background is True


def test_a_chain_grows_by_what_is_new(client: OpenAI, upstream: Upstream, server: Server) -> None:
    def size() -> int:
        with server.client() as opened:
            return len(opened.get("/export", params={"format": "jsonl"}).content)

    last = client.responses.create(model=MODEL, input="No. 0").id
    sizes = [size()]
    for number in range(1, 100):
        last = client.responses.create(
            model=MODEL, input=f"No. {number:02}", previous_response_id=last
        ).id
        if number in {1, 2, 98, 99}:
            sizes.append(size())
    assert len(prompts(upstream)[-1]) == 199
    assert abs((sizes[4] - sizes[3]) - (sizes[2] - sizes[1])) < 50
    client.responses.create(model=MODEL, input="Few", previous_response_id=last, truncation="auto")
    assert len(prompts(upstream)[-1]) == 6


def test_what_is_not_stored_is_nowhere(server: Server, client: OpenAI, upstream: Upstream) -> None:
    before = sum(row["input_tokens"] for row in server.get("/usage"))
    response = client.responses.create(model=MODEL, input=f"Secret {CANARY}", store=False)
    assert response.output_text == f"Reply to: Secret {CANARY}"
    assert response.store is False
    with client.responses.stream(model=MODEL, input=f"Again {CANARY}", store=False) as stream:
        assert stream.get_final_response().output_text == f"Reply to: Again {CANARY}"
    with pytest.raises(NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(BadRequestError) as refused:
        client.responses.create(model=MODEL, input="On", previous_response_id=response.id)
    assert (refused.value.code, refused.value.param) == (
        "previous_response_not_found",
        "previous_response_id",
    )
    assert files_with(server.folder, CANARY) == []
    assert sum(row["input_tokens"] for row in server.get("/usage")) > before


def test_a_response_is_stopped_and_says_so(client: OpenAI, upstream: Upstream) -> None:
    pace = threading.Semaphore(3)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["So ", "far ", "away."], pace=pace)
    )
    response = client.responses.create(model=MODEL, input="Go", background=True)
    until(lambda: client.responses.retrieve(response.id).output)
    stopped = client.responses.cancel(response.id)
    assert stopped.status == "cancelled"
    assert client.responses.cancel(response.id).to_dict() == stopped.to_dict()
    events = read(client, response.id)
    assert events[-1].type == "response.incomplete"
    assert text_of(events) == stopped.output_text
    assert numbers(events) == list(range(len(events)))


def test_an_answer_that_ended_early_says_why(client: OpenAI, upstream: Upstream) -> None:
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["Cut"], finish_reason="length")
    )
    response = client.responses.create(model=MODEL, input="Go", max_output_tokens=16)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert read(client, response.id)[-1].type == "response.incomplete"


def test_a_model_that_fails_is_the_clients_error_and_the_responses(
    client: OpenAI, upstream: Upstream, server: Server
) -> None:
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(status=400, body=b'{"error":{"message":"no"}}')
    )
    with pytest.raises(APIStatusError) as failed:
        client.responses.create(model=MODEL, input="Go")
    body: Any = failed.value.body
    response = client.responses.retrieve(body["response_id"])
    assert response.status == "failed"
    assert response.error is not None
    assert failed.value.status_code == 502
    assert failed.value.response.headers["x-should-retry"] == "false"
    events = read(client, response.id)
    assert events[-1].type == "response.failed"


def test_errors_are_the_clients_own_exceptions(client: OpenAI) -> None:
    cases: list[tuple[dict[str, Any], type[Exception], str, str | None]] = [
        ({"model": "gpt-none", "input": "x"}, NotFoundError, "model_not_found", "model"),
        ({"input": "x"}, BadRequestError, "missing_required_parameter", "model"),
        ({"model": MODEL}, BadRequestError, "missing_required_parameter", "input"),
        ({"model": MODEL, "input": " "}, BadRequestError, "invalid_value", "input[0].content"),
        (
            {"model": MODEL, "input": [{"role": "robot", "content": "x"}]},
            BadRequestError,
            "invalid_value",
            "input[0].role",
        ),
        (
            {"model": MODEL, "input": "x", "temperature": 3},
            BadRequestError,
            "invalid_request",
            "temperature",
        ),
        (
            {
                "model": MODEL,
                "input": [{"type": "function_call_output", "call_id": "c", "output": "x"}],
            },
            BadRequestError,
            "invalid_value",
            "input[0].call_id",
        ),
        (
            {"model": MODEL, "input": "x", "tools": [{"type": "function", "name": "no good"}]},
            BadRequestError,
            "invalid_value",
            "tools[0].name",
        ),
        (
            {"model": MODEL, "input": [{"type": "item_reference", "id": "msg_nothing"}]},
            NotFoundError,
            "message_not_found",
            "input[0]",
        ),
        (
            {"model": MODEL, "input": "x", "conversation": "conv_nothing"},
            NotFoundError,
            "session_not_found",
            "conversation",
        ),
    ]
    for body, kind, code, param in cases:
        with pytest.raises(kind) as refused:
            client.post("/responses", body=body, cast_to=object)
        error: Any = refused.value
        assert (error.code, error.param) == (code, param), body
        assert error.request_id.startswith("req_")
        assert error.type == "invalid_request_error"


def test_hosted_tools_are_left_out_and_not_refused(client: OpenAI, upstream: Upstream) -> None:
    tools: Any = [{"type": "web_search"}, WEATHER, {"type": "custom", "name": "x"}]
    response = client.responses.create(model=MODEL, input="Hello", tools=tools)
    assert [tool.type for tool in response.tools] == ["function"]
    assert upstream.replies[-1].tools == ["get_weather"]


def test_many_posts_to_one_conversation_wait_or_are_told_to(
    server: Server, client: OpenAI, upstream: Upstream
) -> None:
    gate = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=gate)
    conversation = client.conversations.create()

    def post(number: int) -> tuple[int, bool]:
        body = {"model": MODEL, "input": f"No. {number}", "conversation": conversation.id}
        with server.client() as opened:
            response = opened.post("/v1/responses", json=body)
        return response.status_code, "retry-after" in response.headers

    with ThreadPoolExecutor(20) as pool:
        posted = [pool.submit(post, number) for number in range(20)]
        until(lambda: sum(future.done() for future in posted) == 3)
        gate.set()
        outcomes = [future.result() for future in posted]
    assert (outcomes.count((200, False)), outcomes.count((429, True))) == (17, 3)
    history = server.history(conversation.id)
    assert [message["role"] for message in history] == ["user", "assistant"] * 17


@pytest.mark.parametrize("retries", [2, 0])
def test_a_request_whose_answer_was_lost_is_answered_once(
    server: Server, upstream: Upstream, retries: int, session: str
) -> None:
    """By the client's own mark, or, of one that has none, because its connection broke."""
    with (
        Proxy(server.url, limit=lambda number: 0 if number == 0 else None) as proxy,
        client_of(proxy.url, max_retries=retries) as client,
    ):
        with client_of(server.url) as direct:
            direct.conversations.create(extra_body={"id": session})
        ask = {"model": MODEL, "input": "Once", "conversation": session}
        if retries:
            answer = client.responses.create(**ask)
        else:
            with pytest.raises(httpx2.TransportError):
                httpx2.post(f"{proxy.url}/v1/responses", json=ask, timeout=60)
            until(lambda: len(server.history(session)) == 2)
            answer = Response.model_validate(
                httpx2.post(f"{proxy.url}/v1/responses", json=ask, timeout=60).json()
            )
        assert answer.output_text == "Reply to: Once"
    assert server.contents(session) == ["Once", "Reply to: Once"]


def test_a_lone_request_that_is_sent_again_makes_one_response(
    server: Server, upstream: Upstream
) -> None:
    with (
        Proxy(server.url, limit=lambda number: 0 if number == 0 else None) as proxy,
        client_of(proxy.url, max_retries=2) as client,
    ):
        before = len(upstream.replies)
        client.responses.create(model=MODEL, input="Only once, please")
        assert len(upstream.replies) == before + 1


def test_lone_responses_are_in_the_archive_until_they_are_continued(
    server: Server, client: OpenAI, upstream: Upstream
) -> None:
    before = server.get("/sessions?archived=false")
    responses = [
        client.responses.create(model=MODEL, input=f"Lonely number {number}")
        for number in range(50)
    ]
    assert server.get("/sessions?archived=false") == before
    assert upstream.titles == []
    client.responses.create(
        model=MODEL, input="Not alone any more", previous_response_id=responses[7].id
    )
    until(lambda: upstream.titles)
    (listed,) = [s for s in server.get("/sessions?archived=false") if s not in before]
    until(lambda: server.sessions()[listed["session_id"]]["title"] == "Lonely number 7")


def test_conversations_are_sessions(server: Server, client: OpenAI, session: str) -> None:
    made = client.conversations.create(metadata={"topic": "birds"}, extra_body={"id": session})
    assert client.conversations.create(extra_body={"id": session}).to_dict() == made.to_dict()
    client.responses.create(model=MODEL, input="What is a heron?", conversation=session)
    with server.client() as opened:
        body = {"session_id": session, "message": "And a bittern?"}
        opened.post("/chat", json=body).raise_for_status()
    texts = [item.content[0].text for item in client.conversations.items.list(session, order="asc")]
    assert texts == server.contents(session)
    changed = client.conversations.update(session, metadata={"topic": "waders"})
    assert (changed.metadata, client.conversations.retrieve(session).metadata) == (
        {"topic": "waders"},
        {"topic": "waders"},
    )
    assert client.conversations.delete(session).deleted
    assert session not in server.sessions()
    with pytest.raises(NotFoundError):
        client.conversations.retrieve(session)


def test_items_are_read_in_pages_either_way(
    client: OpenAI, upstream: Upstream, session: str
) -> None:
    upstream.script = forecaster
    client.conversations.create(extra_body={"id": session})
    for number in range(3):
        response = client.responses.create(
            model=MODEL, input=f"No. {number}", conversation=session, tools=[WEATHER]
        )
        outputs: Any = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "rain"}
            for item in response.output
            if item.type == "function_call"
        ]
        if outputs:
            client.responses.create(
                model=MODEL, input=outputs, conversation=session, tools=[WEATHER]
            )
    ascending = list(client.conversations.items.list(session, order="asc", limit=100))
    kinds = [item.type for item in ascending]
    assert kinds[:6] == [
        *("message", "reasoning", "message", "function_call"),
        *("function_call_output", "reasoning"),
    ]
    ids = [item.id for item in ascending]
    assert len(set(ids)) == len(ids)
    for limit in (1, 2, 3, 5, 20):
        for order in ("asc", "desc"):
            paged = [
                item.id
                for item in client.conversations.items.list(session, order=order, limit=limit)
            ]
            assert paged == (ids if order == "asc" else ids[::-1])
    for item in ascending:
        one = client.conversations.items.retrieve(str(item.id), conversation_id=session)
        assert one.to_dict() == item.to_dict()


def test_items_are_added_twenty_at_a_time_and_taken_off_at_the_end(
    client: OpenAI, upstream: Upstream, session: str
) -> None:
    client.conversations.create(extra_body={"id": session})
    items: Any = [{"role": "user", "content": f"No. {number}"} for number in range(21)]
    with pytest.raises(BadRequestError) as refused:
        client.conversations.items.create(session, items=items)
    assert refused.value.param == "items"
    added = client.conversations.items.create(session, items=items[:20]).data
    with pytest.raises(BadRequestError) as refused:
        client.conversations.items.delete(str(added[0].id), conversation_id=session)
    assert refused.value.code == "item_not_last"
    client.conversations.items.delete(str(added[-1].id), conversation_id=session)
    client.responses.create(model=MODEL, input="All of them?", conversation=session)
    assert prompts(upstream)[-1] == [f"No. {number}" for number in range(19)] + ["All of them?"]


def test_items_that_the_conversation_has_are_not_added_again(
    client: OpenAI, upstream: Upstream, session: str
) -> None:
    client.conversations.create(extra_body={"id": session})
    first = client.responses.create(model=MODEL, input="One", conversation=session)
    items: Any = [
        *(item.to_dict() for item in client.conversations.items.list(session, order="asc")),
        {"role": "user", "content": "Two"},
    ]
    client.responses.create(model=MODEL, input=items, conversation=session)
    assert prompts(upstream)[-1] == ["One", "Reply to: One", "Two"]
    assert first.conversation is not None
    assert first.conversation.id == session


def test_a_response_is_deleted_unless_another_one_goes_on_from_it(
    server: Server, client: OpenAI
) -> None:
    first = client.responses.create(model=MODEL, input=f"One {CANARY}-1")
    second = client.responses.create(model=MODEL, input="Two", previous_response_id=first.id)
    with pytest.raises(BadRequestError) as refused:
        client.responses.delete(first.id)
    assert refused.value.code == "response_in_use"
    client.responses.delete(second.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(second.id)
    assert client.responses.retrieve(first.id).output_text == f"Reply to: One {CANARY}-1"
    third = client.responses.create(model=MODEL, input="Three", previous_response_id=first.id)
    assert third.output_text == "Reply to: Three"
    lone = client.responses.create(model=MODEL, input=f"Alone {CANARY}-2")
    client.responses.delete(lone.id)
    assert files_with(server.folder, f"{CANARY}-2") == []


def test_a_failed_request_that_is_sent_again_does_not_add_its_message_twice(
    server: Server, client: OpenAI, upstream: Upstream, session: str
) -> None:
    """As clients do it that repeat a 503 without a mark."""
    client.conversations.create(extra_body={"id": session})
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=400)
    ask: Any = {"model": MODEL, "input": "Once", "conversation": session}
    with pytest.raises(APIStatusError):
        client.responses.create(**ask)
    upstream.script = polite
    assert client.responses.create(**ask).output_text == "Reply to: Once"
    assert server.contents(session) == ["Once", "Reply to: Once"]


def test_a_killed_server_goes_on_with_its_responses(tmp_path: Path, upstream: Upstream) -> None:
    pace = threading.Semaphore(2)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["Half ", "of it ", "is there."], pace=pace)
    )
    with Server(tmp_path / "data", {**upstream.env, "CHATKEEP_MODEL": MODEL}) as server:
        with client_of(server.url) as client:
            events = []
            response_id = ""
            for event in client.responses.create(model=MODEL, input="Go", stream=True):
                events.append(event)
                if event.type == "response.created":
                    response_id = event.response.id
                if event.type == "response.output_text.delta":
                    break
            server.kill()
            pace.release(100)
            server.start()
        with client_of(server.url) as client:
            until(lambda: client.responses.retrieve(response_id).status == "completed")
            response = client.responses.retrieve(response_id)
            assert response.output_text == "Half of it is there."
            # The new attempt has numbers of its own, so that nothing of it is taken for read.
            rest = read(client, response_id, events[-1].sequence_number)
            assert rest[0].type == "response.created"
            assert text_of(rest) == response.output_text
            assert all(b == a + 1 for a, b in pairwise(numbers(rest)))
            with client.responses.stream(
                response_id=response_id, starting_after=events[-1].sequence_number
            ) as stream:
                assert stream.get_final_response().output_text == response.output_text
            assert [
                item.content[0].text for item in client.responses.input_items.list(response_id)
            ] == ["Go"]
            assert len(server.history(server.get("/sessions")[0]["session_id"])) == 2


def test_an_unstored_answer_ends_with_its_reader(server: Server, upstream: Upstream) -> None:
    gone = threading.Event()
    upstream.gone = gone.set
    upstream.script = lambda _: Answer(hang=True)
    body = {"model": MODEL, "input": "Wait", "store": False, "stream": True}
    with (
        httpx2.Client(base_url=server.url, timeout=60) as opened,
        opened.stream("POST", "/v1/responses", json=body) as response,
    ):
        next(response.iter_lines())
    assert gone.wait(60)


WRONG: list[dict[str, Any]] = [
    {"input": [{"type": ["message"]}]},
    {"input": [{"type": {}, "role": "user"}]},
    {"input": [{"role": ["user"], "content": "x"}]},
    {"input": [{"role": "user", "content": [{"type": []}]}]},
    {"input": [{"role": "assistant", "content": [{"type": []}]}]},
    {"input": [{"role": "system", "content": {}}]},
    {"input": [{"type": "input_file"}]},
    {
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_file", "file_data": "data:x", "filename": "a\x00"}],
            }
        ]
    },
    {"input": [{"type": "reasoning", "summary": [{"text": None}, 7], "content": 5}]},
    {"input": [7, None, []]},
    {"input": {"role": "user"}},
    {"input": "x", "tools": [{"type": "function", "name": ["f"]}]},
    {"input": "x", "tools": [{"type": "function", "name": "f", "parameters": []}]},
    {"input": "x", "tool_choice": {"type": "function", "name": ["f"]}, "tools": [WEATHER]},
    {"input": "x", "text": {"format": {"type": "json_schema", "schema": {}}}},
    {"input": "x", "reasoning": {"effort": "\ud800"}},
    {"input": "x", "metadata": {"a": "\ud800"}},
    {"input": "x", "metadata": {"a": 7}},
    {"input": "x", "include": [10**30]},
    {"input": "x", "conversation": {"id": 7}},
    {"input": "x", "conversation": "\ud800"},
    {"input": "x", "previous_response_id": "resp_\ud800"},
    {"input": "x", "model": 7},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_no_wrong_value_is_an_error_of_the_server(server: Server, wrong: dict[str, Any]) -> None:
    body = json.dumps({"model": MODEL, **wrong})
    with server.client() as opened:
        response = opened.post(
            "/v1/responses", content=body, headers={"Content-Type": "application/json"}
        )
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "odd",
    [
        {"tool_choice": {"type": "allowed_tools", "tools": "ab"}, "tools": [WEATHER]},
        {"tool_choice": {"type": "allowed_tools", "tools": [{"name": []}]}, "tools": [WEATHER]},
        {"unknown": 10**40, "another": "\ud800"},
    ],
    ids=str,
)
def test_what_is_not_read_may_be_anything(
    server: Server, upstream: Upstream, odd: dict[str, Any]
) -> None:
    body = json.dumps({"model": MODEL, "input": "Hello", **odd})
    with server.client() as opened:
        response = opened.post(
            "/v1/responses", content=body, headers={"Content-Type": "application/json"}
        )
    assert response.status_code == 200, response.text


def test_a_deleted_response_takes_no_other_beginning_of_its_session_along(
    server: Server, client: OpenAI, session: str
) -> None:
    server.chat(session, "The first beginning")
    other = server.chat(session, "Another one", parent_id=None).json()
    with server.client() as opened:
        opened.patch(f"/sessions/{session}", json={"archived": True}).raise_for_status()
    client.responses.delete(other["turn_id"].replace("turn_", "resp_"))
    assert server.contents(session) == ["The first beginning", "Reply to: The first beginning"]


def test_messages_of_a_failed_response_are_no_context(
    client: OpenAI, upstream: Upstream, session: str
) -> None:
    client.conversations.create(extra_body={"id": session})
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=400)
    items: Any = [{"role": "user", "content": text} for text in ("Half", "Whole")]
    with pytest.raises(APIStatusError):
        client.responses.create(model=MODEL, input=items, conversation=session)
    upstream.script = polite
    client.responses.create(model=MODEL, input="Anew", conversation=session)
    assert prompts(upstream)[-1] == ["Anew"]
    client.responses.create(model=MODEL, input=items, conversation=session)
    assert prompts(upstream)[-1] == ["Anew", "Reply to: Anew", "Half", "Whole"]
    client.responses.create(model=MODEL, input="On", conversation=session)
    assert prompts(upstream)[-1][2:] == ["Half", "Whole", "Reply to: Whole", "On"]


def test_a_response_whose_model_only_thought_ends_for_whoever_reads_on(
    client: OpenAI, upstream: Upstream
) -> None:
    pace = threading.Semaphore(3)
    upstream.script = lambda call: (
        polite(call)
        if call.is_title
        else Answer(["Never"], reasoning=["Well ", "now, ", "let me see"], pace=pace)
    )
    live = client.responses.create(model=MODEL, input="Think", stream=True)
    response_id, seen = "", -1
    for event in live:
        seen = event.sequence_number
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "response.reasoning_summary_text.delta":
            client.responses.cancel(response_id)
            break
    live.close()
    rest = read(client, response_id, seen)
    assert rest[-1].type == "response.incomplete"
    assert client.responses.retrieve(response_id).status == "cancelled"
