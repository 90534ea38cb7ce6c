"""The scripted model, called by the clients that call real providers."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.upstream import SIGNATURE, Answer, Call, ImageData, ToolCall, Upstream

DIALECTS = ("openai", "anthropic", "ollama")
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
}
# LangChain's clients never close the connections that they keep open.
HEADERS = {"Connection": "close"}
PNG = b"\x89PNG\r\n\x1a\n and pixels"
BASE64 = base64.b64encode(PNG).decode()

WEATHER = ToolCall("weather", {"city": "Zürich", "days": [1, 2]}, "call_1")
CLOCK = ToolCall("clock", {}, "call_2")
AGENT = Answer(["Let me ", "look."], reasoning=["Two ", "tools."], tool_calls=[WEATHER, CLOCK])


def weather(city: str, days: list[int]) -> str:
    """The weather of a city.

    Args:
        city: Its name.
        days: How many days from today, for each day.

    """
    return f"{city} {days}"


def clock() -> str:
    """The time of day."""
    return "noon"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


def model(dialect: str, upstream: Upstream) -> BaseChatModel:
    more: dict[str, Any] = {"api_key": SecretStr("sk-test"), "max_retries": 0}
    if dialect == "openai":
        more["base_url"] = f"{upstream.url}/v1"
        return ChatOpenAI(model="gpt", default_headers=HEADERS, **more)
    if dialect == "anthropic":
        more["base_url"] = upstream.url
        return ChatAnthropic(model_name="claude", default_headers=HEADERS, **more)
    kwargs = {"headers": HEADERS}
    return ChatOllama(model="llama", base_url=upstream.url, reasoning=True, client_kwargs=kwargs)


def stream(dialect: str, upstream: Upstream, messages: list[BaseMessage]) -> AIMessageChunk:
    """Let a client read an answer to its end, with both tools offered."""
    client = model(dialect, upstream).bind_tools([weather, clock])
    first, *rest = (chunk for chunk in client.stream(messages) if isinstance(chunk, AIMessageChunk))
    return add_ai_message_chunks(first, *rest)


def reply(answer: Answer) -> Callable[[Call], Answer]:
    return lambda _: answer


def post(dialect: str, upstream: Upstream, body: dict[str, Any]) -> httpx2.Response:
    return httpx2.post(upstream.url + PATHS[dialect], json=body, timeout=30)


def events(dialect: str, upstream: Upstream) -> list[dict[str, Any]]:
    """The JSON of each event of an answer, as far as it comes."""
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}]}
    received = b""
    with (
        httpx2.Client(timeout=30) as client,
        client.stream("POST", upstream.url + PATHS[dialect], json=body) as response,
    ):
        try:
            for data in response.iter_raw():
                received += data
        except httpx2.RemoteProtocolError:
            pass
    lines = received.split(b"\n")
    return [json.loads(line[line.index(b"{") :]) for line in lines if b"{" in line]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_text_is_streamed_with_its_tokens_and_its_end(dialect: str, upstream: Upstream) -> None:
    upstream.script = reply(Answer(["Fine", ", thanks."]))

    answer = stream(dialect, upstream, [SystemMessage("Be kind."), HumanMessage("Hello?")])

    assert answer.text == "Fine, thanks."
    assert answer.tool_calls == []
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 7
    (call,) = upstream.calls
    assert call.messages == [("system", "Be kind."), ("user", "Hello?")]
    assert call.tools == ["weather", "clock"]
    assert (call.images, call.tool_calls, call.tool_results) == ([], [], [])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_has_text_and_two_tool_calls(dialect: str, upstream: Upstream) -> None:
    upstream.script = reply(AGENT)

    answer = stream(dialect, upstream, [HumanMessage("What is the weather?")])

    assert answer.text == "Let me look."
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        ("weather", WEATHER.args),
        ("clock", {}),
    ]
    if dialect != "ollama":
        assert [call["id"] for call in answer.tool_calls] == ["call_1", "call_2"]
    assert answer.invalid_tool_calls == []
    assert reason_to_end(answer) == {
        "openai": "tool_calls",
        "anthropic": "tool_use",
        "ollama": "stop",
    }.get(dialect)


def reason_to_end(answer: AIMessage) -> str | None:
    metadata = answer.response_metadata
    names = ("finish_reason", "stop_reason", "done_reason")
    return next((str(metadata[name]) for name in names if name in metadata), None)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tool_is_called_without_any_text(dialect: str, upstream: Upstream) -> None:
    upstream.script = reply(Answer([], tool_calls=[CLOCK]))

    answer = stream(dialect, upstream, [HumanMessage("What time is it?")])

    assert answer.text == ""
    assert [call["name"] for call in answer.tool_calls] == ["clock"]


def test_anthropics_client_reads_thinking_as_a_signed_block(upstream: Upstream) -> None:
    upstream.script = reply(AGENT)

    answer = stream("anthropic", upstream, [HumanMessage("Hello?")])

    blocks = [block for block in answer.content if isinstance(block, dict)]
    assert [(block["type"], block["index"]) for block in blocks] == [
        ("thinking", 0),
        ("text", 1),
        ("tool_use", 2),
        ("tool_use", 3),
    ]
    assert (blocks[0]["thinking"], blocks[0]["signature"]) == ("Two tools.", SIGNATURE)


def test_ollamas_client_reads_thinking(upstream: Upstream) -> None:
    upstream.script = reply(AGENT)

    answer = stream("ollama", upstream, [HumanMessage("Hello?")])

    assert answer.additional_kwargs["reasoning_content"] == "Two tools."


def test_openais_events_have_reasoning_then_text_then_calls_in_fragments(
    upstream: Upstream,
) -> None:
    upstream.script = reply(AGENT)

    choices = [event["choices"][0] for event in events("openai", upstream) if event["choices"]]

    deltas = [choice["delta"] for choice in choices]
    assert deltas[1:5] == [
        {"reasoning_content": "Two "},
        {"reasoning_content": "tools."},
        {"content": "Let me "},
        {"content": "look."},
    ]
    calls = [call for delta in deltas[5:-1] for call in delta["tool_calls"]]
    function = {"name": "weather", "arguments": ""}
    assert calls[0] == {"index": 0, "id": "call_1", "type": "function", "function": function}
    assert [call["index"] for call in calls] == [0, 0, 0, 1, 1, 1]
    first = "".join(call["function"]["arguments"] for call in calls[1:3])
    assert json.loads(first) == WEATHER.args
    assert choices[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_reasoning_may_be_all_there_is(dialect: str, upstream: Upstream) -> None:
    upstream.script = reply(Answer([], reasoning=["Hmm."], finish_reason="length"))

    answer = stream(dialect, upstream, [HumanMessage("Hello?")])

    assert answer.text == ""
    assert reason_to_end(answer) == "length"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_can_be_cut_after_each_of_its_events(dialect: str, upstream: Upstream) -> None:
    upstream.script = reply(AGENT)
    whole = events(dialect, upstream)

    for count in range(1, len(whole)):
        answer = Answer(AGENT.pieces, reasoning=AGENT.reasoning, tool_calls=AGENT.tool_calls)
        answer.cut_after = count
        upstream.script = reply(answer)
        assert events(dialect, upstream) == whole[:count]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_pace_releases_one_event_after_the_other(dialect: str, upstream: Upstream) -> None:
    upstream.script = reply(AGENT)
    count = len(events(dialect, upstream))
    # OpenAI's last piece is no JSON.
    pieces = count + (dialect == "openai")
    pace = threading.Semaphore(pieces - 1)
    upstream.script = reply(
        Answer(AGENT.pieces, reasoning=AGENT.reasoning, tool_calls=AGENT.tool_calls, pace=pace)
    )

    assert len(events(dialect, upstream)) == count
    assert not pace.acquire(blocking=False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_calls_and_their_results_come_back_in_the_next_request(
    dialect: str, upstream: Upstream
) -> None:
    upstream.script = reply(AGENT)
    question = HumanMessage("What is the weather?")
    answer = stream(dialect, upstream, [question])
    results = [
        ToolMessage(text, tool_call_id=call["id"])
        for text, call in zip(("sunny", "noon"), answer.tool_calls, strict=True)
    ]
    upstream.script = reply(Answer(["It is sunny."]))

    final = stream(dialect, upstream, [question, answer, *results])

    assert final.text == "It is sunny."
    assert upstream.refusals == []
    sent = upstream.calls[1]
    assert [(call.name, call.args) for call in sent.tool_calls] == [
        ("weather", WEATHER.args),
        ("clock", {}),
    ]
    # Ollama's client drops the ids, and LangChain does not send it the names.
    ids = ("", "") if dialect == "ollama" else ("call_1", "call_2")
    assert sent.tool_results == list(zip(ids, ("sunny", "noon"), strict=True))
    assert sent.messages[:2] == [("user", "What is the weather?"), ("assistant", "Let me look.")]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_image_is_seen(dialect: str, upstream: Upstream) -> None:
    content: list[str | dict[Any, Any]] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "base64": BASE64, "mime_type": "image/png"},
    ]

    stream(dialect, upstream, [HumanMessage(content=content)])

    (call,) = upstream.calls
    mime_type = None if dialect == "ollama" else "image/png"
    assert call.images == [ImageData(mime_type, PNG)]
    # LangChain begins a line with each text part that it sends to Ollama.
    assert [(role, text.lstrip()) for role, text in call.messages] == [("user", "What is this?")]


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_the_address_of_an_image_is_seen(dialect: str, upstream: Upstream) -> None:
    content: list[str | dict[Any, Any]] = [{"type": "image", "url": "https://example.org/a.png"}]

    stream(dialect, upstream, [HumanMessage(content=content)])

    assert upstream.calls[0].images == ["https://example.org/a.png"]


def user(content: Any = "Hello?") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def function_call(call_id: str = "a", name: str = "clock", args: Any = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": args}}


def calls(*ids: str) -> dict[str, Any]:
    """An assistant's message with calls, in OpenAI's protocol."""
    return assistant(tool_calls=[function_call(call_id) for call_id in ids])


def result(call_id: str, content: Any = "noon") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


TEXT = {"type": "text", "text": "Hello?"}


def use(call_id: str = "a") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "clock", "input": {}}


def used(*ids: str) -> dict[str, Any]:
    """An assistant's message with calls, in Anthropic's protocol."""
    return assistant([use(call_id) for call_id in ids])


def tool_result(call_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": "noon", **more}


def picture(mime_type: str = "image/png", data: str = BASE64) -> dict[str, Any]:
    source = {"type": "base64", "media_type": mime_type, "data": data}
    return {"type": "image", "source": source}


THOUGHT = {"type": "thinking", "thinking": "Hmm.", "signature": SIGNATURE}
UNSIGNED = {"type": "thinking", "thinking": "Hmm."}
OPENAI_TOOLS = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
ANTHROPIC_TOOLS = [{"name": "clock", "input_schema": {"type": "object"}}]

REFUSED_BY_OPENAI: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "no messages": ("at least one message", []),
    "an unknown role": ("'human'", [{"role": "human", "content": "Hello?"}]),
    "a call without a result at the end": ("There is none for: a", [user(), calls("a")]),
    "a call without a result before the next message": (
        "There is none for: a",
        [user(), calls("a"), user()],
    ),
    "two calls with one result": (
        "There is none for: b",
        [user(), calls("a", "b"), result("a"), user()],
    ),
    "a result behind another message": (
        "There is none for: a",
        [user(), calls("a"), user(), result("a")],
    ),
    "a result without a call": ("no such call", [user(), result("a")]),
    "a result of another call": ("no such call", [user(), calls("a"), result("b")]),
    "two results of a call": ("no such call", [user(), calls("a"), result("a"), result("a")]),
    "a result of an earlier call": (
        "no such call",
        [user(), calls("a"), result("a"), calls("b"), result("a")],
    ),
    "a result without an id": ("tool_call_id", [user(), {"role": "tool", "content": "noon"}]),
    "an id twice": ("twice", [user(), calls("a", "a"), result("a"), result("a")]),
    "an id that is too long": ("40 characters", [user(), calls("a" * 41), result("a" * 41)]),
    "arguments that are no string": (
        "'arguments'",
        [user(), assistant(tool_calls=[function_call(args={})]), result("a")],
    ),
    "a name with a space": (
        "'the clock'",
        [user(), assistant(tool_calls=[function_call(name="the clock")]), result("a")],
    ),
    "a call of another type": (
        "type is not supported",
        [user(), assistant(tool_calls=[{**function_call(), "type": "custom"}]), result("a")],
    ),
    "an empty list of calls": ("empty list", [user(), assistant("Yes.", tool_calls=[])]),
    "calls of a user": ("only the assistant", [{**calls("a"), "role": "user"}, result("a")]),
    "no content of an assistant": ("null is allowed", [user(), assistant(), user()]),
    "no content of a user": ("null is allowed", [user(None)]),
    "no content of a tool": ("null is allowed", [user(), calls("a"), result("a", None)]),
    "an empty list as a content": ("empty list", [user([])]),
    "a text that is no string": ("must be a string", [user([{**TEXT, "text": 1}])]),
    "an image of an assistant": (
        "only in messages of role 'user'",
        [user(), assistant([image(f"data:image/png;base64,{BASE64}")])],
    ),
    "an image of a tool": (
        "only in messages of role 'user'",
        [user(), calls("a"), result("a", [image("https://example.org/a.png")])],
    ),
    "a type that is no image's": (
        "type is not supported",
        [user([image(f"data:image/svg+xml;base64,{BASE64}")])],
    ),
    "an image that is no base64": ("base64", [user([image("data:image/png;base64,§")])]),
    "a block of LangChain's": ("'reasoning'", [user([{"type": "reasoning", "reasoning": "Hmm."}])]),
}

REFUSED_BY_ANTHROPIC: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "no messages": ("at least one message", []),
    "a system message": ("'system'", [{"role": "system", "content": "Be kind."}, user()]),
    "a tool message": ("'tool'", [user(), used("a"), result("a")]),
    "an assistant first": ("must be of role 'user'", [assistant("Hello."), user()]),
    "an empty text": ("empty content", [user(""), assistant("Yes."), user()]),
    "a blank text": ("white space", [user(" \n")]),
    "an empty block of text": ("white space", [user([{"type": "text", "text": ""}])]),
    "an empty assistant in between": ("empty content", [user(), assistant([]), user()]),
    "a last text that ends in white space": ("ends in", [user(), assistant("Well, ")]),
    "a call without a result at the end": ("There is none for: a", [user(), used("a")]),
    "a call without a result": ("There is none for: a", [user(), used("a"), user()]),
    "two calls with one result": (
        "There is none for: b",
        [user(), used("a", "b"), user([tool_result()])],
    ),
    "a result behind a text": (
        "before all other blocks",
        [user(), used("a"), user([TEXT, tool_result()])],
    ),
    "a result without a call": ("has no tool_use", [user([tool_result()])]),
    "a result of an earlier call": (
        "has no tool_use",
        [user(), used("a"), user([tool_result()]), assistant("Yes."), user([tool_result()])],
    ),
    "two results of a call": (
        "two results",
        [user(), used("a"), user([tool_result(), tool_result()])],
    ),
    "an id twice": (
        "unique",
        [user(), used("a"), user([tool_result()]), used("a"), user([tool_result()])],
    ),
    "an id with a dot": ("'a.b'", [user(), used("a.b"), user([tool_result("a.b")])]),
    "arguments that are no object": (
        "must be an object",
        [user(), assistant([{**use(), "input": "{}"}]), user([tool_result()])],
    ),
    "a user's call": ("is not a user's", [user([use()]), user([tool_result()])]),
    "an assistant's result": ("is not an assistant's", [user(), assistant([tool_result()])]),
    "an assistant's image": ("is not an assistant's", [user(), assistant([picture()])]),
    "an image of another type": ("type is unknown", [user([picture("image/svg+xml")])]),
    "an image that is no base64": ("base64", [user([picture(data="§")])]),
    "an image in a result of another type": (
        "type is unknown",
        [user(), used("a"), user([tool_result(content=[picture("image/bmp")])])],
    ),
    "an error without a content": (
        "needs a content",
        [user(), used("a"), user([tool_result(content="", is_error=True)])],
    ),
    "thinking without a signature": (
        "signature",
        [user(), assistant([UNSIGNED, TEXT]), user()],
    ),
    "thinking as a last block": ("cannot be thinking", [user(), assistant([THOUGHT]), user()]),
    "thinking of a user": ("is not a user's", [user([THOUGHT, TEXT])]),
    "a block of LangChain's": ("'reasoning'", [user([{"type": "reasoning", "reasoning": "Hmm."}])]),
    "a field of LangChain's": ("'index'", [user([{**TEXT, "index": 0}])]),
}

REFUSED_BY_OLLAMA: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "an unknown role": ("'developer'", [{"role": "developer", "content": "Be kind."}, user()]),
    "a content of parts": ("must be a string", [user([TEXT])]),
    "the address of an image": ("base64", [{**user(), "images": ["https://example.org/a.png"]}]),
    "the data URL of an image": (
        "base64",
        [{**user(), "images": [f"data:image/png;base64,{BASE64}"]}],
    ),
    "arguments that are a string": (
        "must be an object",
        [user(), assistant("", tool_calls=[function_call()])],
    ),
}

REFUSED = [
    pytest.param(dialect, messages, reason, id=f"{dialect}: {name}")
    for dialect, cases in zip(
        DIALECTS, (REFUSED_BY_OPENAI, REFUSED_BY_ANTHROPIC, REFUSED_BY_OLLAMA), strict=True
    )
    for name, (reason, messages) in cases.items()
]


def body(dialect: str, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    tools = ANTHROPIC_TOOLS if dialect == "anthropic" else OPENAI_TOOLS
    limit = {"max_tokens": 9} if dialect == "anthropic" else {}
    return {"model": "any", "messages": messages, "tools": tools, **limit, **more}


def refusal(dialect: str, response: httpx2.Response) -> str:
    """The message of an error in the provider's own envelope."""
    problem = response.json()
    if dialect == "ollama":
        return str(problem["error"])
    if dialect == "anthropic":
        assert problem["type"] == "error"
    assert problem["error"]["type"] == "invalid_request_error"
    return str(problem["error"]["message"])


@pytest.mark.parametrize(("dialect", "messages", "reason"), REFUSED)
def test_what_the_real_server_refuses_never_reaches_the_script(
    dialect: str, messages: list[dict[str, Any]], reason: str, upstream: Upstream
) -> None:
    scripted: list[Call] = []

    def script(call: Call) -> Answer:
        scripted.append(call)
        return Answer()

    upstream.script = script

    response = post(dialect, upstream, body(dialect, messages))

    assert response.status_code == 400
    message = refusal(dialect, response)
    assert reason in message
    assert upstream.refusals == [f"{PATHS[dialect]}: {message}"]
    assert scripted == []


@pytest.mark.parametrize(
    ("dialect", "more", "reason"),
    [
        ("openai", {"tools": []}, "empty list"),
        ("openai", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "'a b'"),
        ("openai", {"tools": None, "tool_choice": "auto"}, "needs 'tools'"),
        ("anthropic", {"max_tokens": None}, "required"),
        ("anthropic", {"max_tokens": 0}, "greater than 0"),
        ("anthropic", {"tools": None, "tool_choice": {"type": "auto"}}, "needs tools"),
        ("anthropic", {"tools": [*ANTHROPIC_TOOLS, *ANTHROPIC_TOOLS]}, "twice"),
    ],
)
def test_a_request_is_refused_for_more_than_its_messages(
    dialect: str, more: dict[str, Any], reason: str, upstream: Upstream
) -> None:
    whole = body(dialect, [user()], **more)

    response = post(
        dialect, upstream, {name: value for name, value in whole.items() if value is not None}
    )

    assert response.status_code == 400
    assert reason in refusal(dialect, response)


def test_anthropic_wants_the_tools_of_the_calls_in_a_history(upstream: Upstream) -> None:
    messages = [user(), used("a"), user([tool_result()])]

    response = post("anthropic", upstream, body("anthropic", messages, tools=[]))

    assert response.status_code == 400
    assert "must define tools" in refusal("anthropic", response)


def test_anthropic_wants_the_thinking_of_a_call_back(upstream: Upstream) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    bare = [user(), used("a"), user([tool_result()])]
    thoughtful = [user(), assistant([THOUGHT, use()]), user([tool_result()])]

    refused = post("anthropic", upstream, body("anthropic", bare, thinking=thinking))
    answered = post("anthropic", upstream, body("anthropic", thoughtful, thinking=thinking))

    assert (refused.status_code, answered.status_code) == (400, 200)
    assert "start with a thinking block" in refusal("anthropic", refused)


ACCEPTED: list[tuple[str, list[dict[str, Any]]]] = [
    ("openai", [user(), calls("a", "b"), result("b"), result("a"), user()]),
    ("openai", [user(), calls("a"), result("a"), calls("a"), result("a")]),
    ("openai", [user(), assistant("Well.", tool_calls=[function_call()]), result("a", "")]),
    ("openai", [{"role": "developer", "content": "Be kind."}, user(""), user("Hello?")]),
    ("openai", [user([TEXT, image(f"data:image/webp;base64,{BASE64}")]), assistant([TEXT])]),
    ("anthropic", [user(), used("a", "b"), user([tool_result("b"), tool_result("a"), TEXT])]),
    ("anthropic", [user(), user(), assistant("Yes."), assistant("No."), user()]),
    ("anthropic", [user(), used("a"), user([tool_result("a")]), user([TEXT])]),
    ("anthropic", [user(), used("a"), used("b"), user([tool_result("a"), tool_result("b")])]),
    ("anthropic", [user(), used("a"), user([tool_result(content=[picture(), TEXT])])]),
    ("anthropic", [user(), assistant([THOUGHT, TEXT]), user([TEXT, picture()])]),
    ("anthropic", [user(), assistant("")]),
    ("ollama", [{"role": "system", "content": "Be kind."}, {**user(), "images": [BASE64]}]),
    (
        "ollama",
        [
            user(),
            {"role": "assistant", "tool_calls": [function_call(args={"a": 1})]},
            {"role": "tool", "tool_name": "clock", "content": "noon"},
        ],
    ),
]


@pytest.mark.parametrize(("dialect", "messages"), ACCEPTED)
def test_what_the_real_server_accepts_is_answered(
    dialect: str, messages: list[dict[str, Any]], upstream: Upstream
) -> None:
    assert post(dialect, upstream, body(dialect, messages)).status_code == 200
    assert upstream.refusals == []


@pytest.mark.parametrize(("dialect", "messages", "reason"), REFUSED[:1])
def test_without_strictness_the_script_decides_about_every_call(
    dialect: str, messages: list[dict[str, Any]], reason: str
) -> None:
    with Upstream(reply(Answer()), strict=False) as upstream:
        assert post(dialect, upstream, body(dialect, messages)).status_code == 200
        assert upstream.refusals == []


def test_a_tools_name_is_what_its_result_has_in_ollamas_protocol(upstream: Upstream) -> None:
    post("ollama", upstream, body("ollama", ACCEPTED[-1][1]))

    (call,) = upstream.calls
    assert call.tool_results == [("clock", "noon")]
    assert call.tool_calls == [ToolCall("clock", {"a": 1}, "a")]
    assert call.messages == [("user", "Hello?"), ("assistant", ""), ("tool", "noon")]


@pytest.mark.parametrize(
    ("dialect", "error"),
    [("openai", openai.BadRequestError), ("anthropic", anthropic.BadRequestError)],
)
def test_clients_raise_what_they_raise_of_the_real_server(
    dialect: str, error: type[Exception], upstream: Upstream
) -> None:
    unanswered = AIMessage("", tool_calls=[{"name": "clock", "args": {}, "id": "a"}])

    with pytest.raises(error, match="There is none for: a"):
        stream(dialect, upstream, [HumanMessage("Hello?"), unanswered, HumanMessage("Well?")])


def test_ollamas_client_raises_what_it_raises_of_the_real_server(upstream: Upstream) -> None:
    client = ollama.Client(host=upstream.url, headers=HEADERS)

    with pytest.raises(ollama.ResponseError, match="invalid role 'human'"):
        list(client.chat("llama", [{"role": "human", "content": "Hello?"}], stream=True))
