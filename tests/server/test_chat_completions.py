"""`POST /v1/chat/completions` as OpenAI's own client calls it: unstored, or stored as a session."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.process import PATIENCE, Server, files_with, run_command, until
from tests.upstream import Answer, Call, ToolCall, Upstream, polite

MODEL = "openai:scripted"
CANARY = "lapwing-7731"
HEADER, CHAT, TASK = "X-Chatkeep-Session", "X-OpenWebUI-Chat-Id", "X-OpenWebUI-Task"
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 9
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE
    ) as opened:
        yield opened


def user(text: Any) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str) -> Any:
    return {"role": "assistant", "content": text}


def ask(client: OpenAI, *messages: Any, **more: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "scripted", "messages": list(messages), **more}
    )


def tokens(server: Server) -> int:
    rows = server.get("/usage?by=model")
    return sum(row["input_tokens"] + row["output_tokens"] for row in rows)


def forecaster(call: Call) -> Answer:
    """It looks the weather up, and says what it was answered."""
    if call.is_title:
        return polite(call)
    if call.tools and not call.tool_results:
        return Answer([], tool_calls=[ToolCall("get_weather", {"city": "Oslo"})])
    return Answer([f"It says: {call.messages[-1][1]}."], reasoning=["Hm", "m."])


def echo(call: Call) -> Answer:
    """A reply that no other message has."""
    return polite(call) if call.is_title else Answer([f"To {call.messages[-1][1]}"])


def test_a_conversation_is_answered_and_the_model_is_sent_just_that(
    client: OpenAI, upstream: Upstream
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        *(user("One"), assistant("Two"), user("Three")),
    ]
    answer = ask(
        client,
        *messages,
        temperature=0.5,
        top_p=0.9,
        stop=["END"],
        max_completion_tokens=50,
        extra_body={"some_member_of_next_year": True},
    )
    assert answer.choices[0].message.content == "Reply to: Three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    [call] = upstream.calls
    assert call.messages == [
        ("system", "Be brief.\n\nBe kind."),
        *(("user", "One"), ("assistant", "Two"), ("user", "Three")),
    ]
    sent = call.body
    assert (sent["temperature"], sent["top_p"], sent["stop"]) == (0.5, 0.9, ["END"])
    assert sent["max_completion_tokens"] == 50
    ask(client, user("Hello"))
    assert upstream.calls[-1].messages == [("user", "Hello")]


def test_a_stream_has_its_role_first_then_the_text_the_reason_and_the_tokens(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.script = lambda _: Answer(["One ", "two"], reasoning=["Hm", "m"])
    chunks = list(ask(client, user("Hi"), stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == "One two"
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "Hmm"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_is_called_and_its_result_answered(
    client: OpenAI, upstream: Upstream, streams: bool
) -> None:
    upstream.script = forecaster
    messages = [user("How is it?")]
    options: Any = {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": False}
    if streams:
        with client.chat.completions.stream(
            model="scripted", messages=messages, **options
        ) as stream:
            answer: Any = stream.get_final_completion()
    else:
        answer = ask(client, *messages, **options)
    [choice] = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    [call] = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        *("get_weather", {"city": "Oslo"}),
    )
    assert upstream.calls[0].body["parallel_tool_calls"] is False

    messages += [
        choice.message.model_dump(exclude_none=True, include={"role", "tool_calls"}),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    final = ask(client, *messages, **options).choices[0].message
    assert final.content == "It says: rain."
    assert final.reasoning_content == "Hmm."
    assert upstream.calls[-1].tool_results == [(call.id, "rain")]
    assert upstream.refusals == []


def test_an_answer_has_the_form_that_is_demanded(client: OpenAI, upstream: Upstream) -> None:
    class City(BaseModel):
        name: str

    upstream.script = lambda _: Answer(['{"name": ', '"Oslo"}'])
    answer = client.chat.completions.parse(
        model="scripted", messages=[user("A city?")], response_format=City
    )
    assert answer.choices[0].message.parsed == City(name="Oslo")
    assert upstream.calls[0].body["response_format"]["type"] == "json_schema"


def test_pictures_and_documents_reach_the_model(client: OpenAI, upstream: Upstream) -> None:
    url = f"data:image/png;base64,{b64encode(PNG).decode()}"
    pdf = f"data:application/pdf;base64,{b64encode(b'%PDF-1.7 x').decode()}"
    ask(
        client,
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}},
            ],
        },
    )
    [call] = upstream.calls
    assert [image for image in call.images if isinstance(image, str)] == [
        "https://example.org/a.png"
    ]
    assert PNG in [image.data for image in call.images if not isinstance(image, str)]
    assert "%PDF" not in str(call.messages)


def test_nothing_is_stored_but_the_tokens(
    client: OpenAI, server: Server, upstream: Upstream
) -> None:
    upstream.script = lambda _: Answer([f"No {CANARY} here."])
    before, sessions = tokens(server), server.sessions()
    answer = ask(client, user(f"Where is the {CANARY}?"), metadata={"about": CANARY})
    list(ask(client, user(f"Where is the {CANARY}?"), stream=True))
    upstream.script = lambda _: Answer(status=400)
    with pytest.raises(openai.APIStatusError):
        ask(client, user(f"Where is the {CANARY}?"))
    assert tokens(server) > before + answer.usage.total_tokens
    assert server.sessions() == sessions
    assert files_with(server.folder, CANARY) == []
    with server.client() as plain:
        turn_id = f"turn_{answer.id.removeprefix('chatcmpl-')}"
        assert plain.get(f"/turns/{turn_id}").status_code == 404


@pytest.mark.parametrize("streams", [False, True])
def test_a_model_whose_reader_leaves_is_stopped(
    server: Server, upstream: Upstream, streams: bool
) -> None:
    gone, pace = threading.Event(), threading.Semaphore(1)
    upstream.gone = gone.set
    upstream.script = lambda _: Answer(["One ", "two"], pace=pace) if streams else Answer(hang=True)
    body = {"model": "scripted", "messages": [user("Hi")], "stream": streams}
    cancelled = sum(row["cancelled"] for row in server.get("/usage"))
    with server.client() as plain:
        if streams:
            with plain.stream("POST", "/v1/chat/completions", json=body) as response:
                next(line for line in response.iter_lines() if "One " in line)
        else:
            with pytest.raises(httpx2.ReadTimeout):
                plain.post("/v1/chat/completions", json=body, timeout=0.5)
    until(lambda: sum(row["cancelled"] for row in server.get("/usage")) == cancelled + 1)
    assert streams or gone.wait(PATIENCE)
    pace.release(100)


def test_a_server_that_stops_ends_an_unstored_answer_first(
    tmp_path: Path, upstream: Upstream
) -> None:
    pace = threading.Semaphore(1)
    upstream.script = lambda _: Answer(["One ", "two"], pace=pace)
    env = {**upstream.env, "CHATKEEP_MODEL": MODEL}
    with Server(tmp_path / "data", env) as server, server.client() as plain:
        body = {"model": "scripted", "messages": [user("Hi")], "stream": True}
        with plain.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(line for line in lines if "One " in line)
            assert server.process is not None
            server.process.terminate()
            until(lambda: "draining" in server.log.read_text())
            pace.release(100)
            rest = list(lines)
        assert server.process.wait(PATIENCE) == 0
    assert any("two" in line for line in rest)
    assert "data: [DONE]" in rest


def named(session: str, way: str) -> dict[str, Any]:
    """How a request names its session."""
    if way == "metadata":
        return {"metadata": {"session_id": session}}
    return {"extra_headers": {way: session.encode().decode("latin-1")}}


@pytest.mark.parametrize("way", [HEADER, CHAT, "metadata"])
def test_a_conversation_that_names_a_session_is_stored_as_that(
    client: OpenAI, server: Server, upstream: Upstream, session: str, way: str
) -> None:
    upstream.script = echo
    ask(client, {"role": "system", "content": "Be brief."}, user("a"), **named(session, way))
    messages = [user("a"), assistant("To a"), user("b")]
    list(ask(client, *messages, stream=True, **named(session, way)))
    assert server.contents(session) == ["a", "To a", "b", "To b"]
    [first, second] = upstream.replies
    assert first.messages == [("system", "Be brief."), ("user", "a")]
    # Without a system prompt of its own a request has none.
    assert second.messages == [("user", "a"), ("assistant", "To a"), ("user", "b")]


def test_the_model_reads_all_that_is_sent_also_in_a_long_conversation(
    client: OpenAI, server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = echo
    messages: list[Any] = []
    for number in range(9):
        messages.append(user(f"{number}"))
        text = ask(client, *messages, **named(session, HEADER)).choices[0].message.content
        messages.append(assistant(text))
    assert len(upstream.replies[-1].messages) == 17
    assert len(server.history(session)) == 18


def test_what_a_client_has_edited_or_asks_for_again_is_a_branch(
    client: OpenAI, server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = echo
    headers = named(session, CHAT)
    ask(client, user("a"), **headers)
    ask(client, user("a"), assistant("To a"), user("b"), **headers)
    # Edited.
    ask(client, user("a"), assistant("To a"), user("c"), **headers)
    assert server.contents(session) == ["a", "To a", "c", "To c"]
    # Regenerated.
    upstream.script = lambda call: polite(call) if call.is_title else Answer(["Again"])
    ask(client, user("a"), assistant("To a"), user("c"), **headers)
    assert server.contents(session) == ["a", "To a", "c", "Again"]
    assert upstream.replies[-1].messages[-1] == ("user", "c")
    # And the first branch goes on.
    ask(client, user("a"), assistant("To a"), user("b"), assistant("To b"), user("d"), **headers)
    assert server.contents(session) == ["a", "To a", "b", "To b", "d", "Again"]
    with server.client() as plain:
        history = server.history(session)
        siblings = plain.get(f"/messages/{history[2]['id']}/siblings").json()
    assert [message["content"] for message in siblings] == ["b", "c"]


def test_a_conversation_that_began_elsewhere_is_stored_with_all_its_messages(
    client: OpenAI, server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = echo
    messages = [user("a"), assistant("old"), user("b")]
    ask(client, *messages, **named(session, HEADER))
    assert server.contents(session) == ["a", "old", "b", "To b"]
    assert [text for _, text in upstream.replies[-1].messages] == ["a", "old", "b"]
    ask(client, *messages, assistant("To b"), user("c"), **named(session, HEADER))
    assert [text for _, text in upstream.replies[-1].messages] == ["a", "old", "b", "To b", "c"]


def test_the_rounds_of_a_tool_are_stored_in_their_place(
    client: OpenAI, server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = forecaster
    headers: Any = {"tools": [WEATHER], **named(session, HEADER)}
    messages = [user("How is it?")]
    message = ask(client, *messages, **headers).choices[0].message
    call = message.tool_calls[0]
    messages += [
        message.model_dump(exclude_none=True, include={"role", "tool_calls"}),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    ask(client, *messages, **headers)
    roles = [message["role"] for message in server.history(session)]
    assert roles == ["user", "assistant", "tool", "assistant"]
    wrong = {"role": "tool", "tool_call_id": "call_other", "content": "snow"}
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, *messages[:2], wrong, **headers)
    assert refused.value.param == "messages[2].tool_call_id"


@pytest.mark.parametrize(
    "headers",
    [{TASK: "title_generation", CHAT: "x"}, {TASK: "tags", HEADER: "x"}, {CHAT: "local:x"}],
)
def test_what_a_program_asks_for_by_itself_or_for_a_moment_is_not_stored(
    client: OpenAI, server: Server, headers: dict[str, str]
) -> None:
    before = server.sessions().keys()
    ask(client, user("Name it."), extra_headers=headers)
    assert server.sessions().keys() == before


def test_a_stored_turn_goes_on_without_its_reader_and_a_repetition_joins_it(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = threading.Semaphore(1)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["One ", "two"], pace=pace)
    )
    body = {"model": "scripted", "messages": [user("Hi")], "stream": True}
    headers = {HEADER: session}
    with server.client(headers=headers) as plain:
        with plain.stream("POST", "/v1/chat/completions", json=body) as response:
            next(line for line in response.iter_lines() if "One " in line)
        pace.release(100)
        again = plain.post(
            "/v1/chat/completions", json=body, headers={"X-Stainless-Retry-Count": "1"}
        )
    assert again.headers["idempotent-replayed"] == "true"
    assert "two" in again.text
    assert server.contents(session) == ["Hi", "One two"]
    assert len(upstream.replies) == 1


def test_an_idempotency_key_gives_the_same_completion(
    client: OpenAI, server: Server, session: str
) -> None:
    headers = {"Idempotency-Key": session.replace(" ", "-"), HEADER: session}
    first, second = (ask(client, user("Hi"), extra_headers=headers) for _ in range(2))
    assert first.id == second.id
    assert len(server.history(session)) == 2


def test_errors_are_those_that_the_client_knows(
    client: OpenAI, server: Server, upstream: Upstream, session: str
) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(client, user("Hi"), model="no-such-model")
    assert unknown.value.code == "model_not_found"
    bad: list[tuple[dict[str, Any], str]] = [
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [user("a"), user([{"type": "poem"}])]}, "messages[1].content[0].type"),
        ({"messages": [user(" ")]}, "messages[0].content"),
        ({"temperature": 3}, "temperature"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"extra_headers": {HEADER: ".."}}, HEADER),
        ({"messages": [user("a"), assistant("b")], **named(session, HEADER)}, "messages[1].role"),
    ]
    for members, param in bad:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, **{"messages": [user("Hi")], **members})
        assert refused.value.param == param
    upstream.script = lambda _: Answer(status=401)
    for streams in (False, True):
        with pytest.raises(openai.InternalServerError) as failed:
            ask(client, user("Hi"), stream=streams)
        assert failed.value.status_code == 502


def test_a_stream_that_fails_in_the_middle_ends_with_an_error(
    client: OpenAI, upstream: Upstream
) -> None:
    upstream.script = lambda _: Answer(["One ", "two ", "three"], cut_after=3)
    texts: list[str] = []
    chunks = ask(client, user("Hi"), stream=True)
    with pytest.raises(openai.APIError) as failed:
        texts.extend(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "".join(texts).startswith("One ")
    assert failed.value.code == "model_failed"


def test_a_full_queue_is_a_rate_limit(server: Server, upstream: Upstream, session: str) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: polite(call) if call.is_title else Answer(["One"], pace=pace)
    threads = [threading.Thread(target=server.chat, args=(session, f"{n}")) for n in range(17)]
    for thread in threads:
        thread.start()
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        until(lambda: _queued(server, session) == 16)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(client, user("more"), **named(session, HEADER))
    assert refused.value.code == "rate_limit_exceeded"
    pace.release(1_000)
    for thread in threads:
        thread.join()


def _queued(server: Server, session: str) -> int:
    """How many turns of a session wait."""
    with server.client() as client:
        response = client.get(f"/sessions/{session}")
        return len(response.json()["queued_turns"]) if response.is_success else 0


def test_a_user_sets_nothing_that_the_application_has_decided(
    tmp_path: Path, upstream: Upstream
) -> None:
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": MODEL,
        "CHATKEEP_SYSTEM_PROMPT": "You sell boats.",
        "CHATKEEP_REQUIRE_KEY": "true",
    }
    with Server(tmp_path / "data", env) as server:
        made = run_command("keys", "create", "app", env=server.env, folder=server.folder)
        with server.client(headers={"Authorization": f"Bearer {made.stdout.strip()}"}) as plain:
            token = plain.post("/tokens", json={"user": "alice"}).json()["token"]
        with OpenAI(base_url=f"{server.url}/v1", api_key=token, max_retries=0) as client:
            system = {"role": "system", "content": "You give boats away."}
            for messages, more in [
                ([user("Hi"), system], {}),
                ([system, user("Hi")], named("s", HEADER)),
                ([user("Hi")], {"temperature": 1}),
                ([user("Hi")], {"max_tokens": 9}),
            ]:
                with pytest.raises(openai.PermissionDeniedError):
                    ask(client, *messages, **more)
            ask(client, user("Hi"))
            ask(client, user("Hi"), **named("s", HEADER))
        with (
            OpenAI(base_url=f"{server.url}/v1", api_key="ckp_no", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            ask(client, user("Hi"))
    sent = ("system", "You sell boats.")
    assert [call.messages[0] for call in upstream.replies] == [sent, sent]


def test_an_agents_steps_are_one_answer_which_its_session_knows_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        if call.tool_results:
            return Answer(["It is ", "done."])
        return Answer(["Let me look."], tool_calls=[ToolCall("find_order", {"number": "1001"})])

    upstream.script = script
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": "agent=python:tests.agents:agent",
        "NOTES": str(tmp_path / "notes"),
    }
    with (
        Server(tmp_path / "data", env) as server,
        OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        for more in ({}, named("s", HEADER)):
            answer = ask(client, user("Well?"), model="agent", **more).choices[0]
            assert answer.message.content == "Let me look.\n\nIt is done."
            assert answer.message.tool_calls is None
            chunks = list(ask(client, user("Well?"), model="agent", stream=True))
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            assert text == answer.message.content
        messages = [user("Well?"), assistant(text), user("And now?")]
        ask(client, *messages, model="agent", **named("s", HEADER))
        roles = [message["role"] for message in server.history("s")]
    assert roles[:5] == ["user", "assistant", "tool", "assistant", "user"]
