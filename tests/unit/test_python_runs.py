"""Objects of Python code that are no graphs, as models: names, what they get, what they give."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCallChunk,
    ToolMessage,
)
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from pydantic import BaseModel

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.python import loop_thread
from chatkeep.providers.python.loading import PythonSpec, load, resolve
from chatkeep.providers.python.loop_thread import LoopThread
from chatkeep.providers.python.pieces import piece
from chatkeep.providers.python.requests import thread_id
from chatkeep.providers.python.runs import stream
from tests.unit import scripted_objects
from tests.unit.scripted_objects import (
    TOKENS,
    Run,
    ScriptedModel,
    call,
    calls,
    request,
    run,
    tokens,
)

OBJECTS = "tests.unit.scripted_objects"


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("agent:graph", PythonSpec("agent", "graph")),
        ("a.b.c:d.e", PythonSpec("a.b.c", "d.e")),
        ("agent:graph?rerun=false", PythonSpec("agent", "graph", reruns=False)),
        ("agent:graph?rerun=true", PythonSpec("agent", "graph")),
    ],
)
def test_a_name_has_module_attribute_and_option(name: str, spec: PythonSpec) -> None:
    assert PythonSpec.parse(name) == spec


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("agent", "must be written as"),
        ("agent:", "must be written as"),
        ("./agent.py:graph", "must be written as"),
        ("agent:graph?retry=1", "no option 'retry'"),
        ("agent:graph?rerun=no", "rerun must be true or false"),
        ("agent:graph?rerun", "rerun must be true or false"),
    ],
)
def test_a_name_that_is_not_understood_is_refused_with_a_reason(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PythonSpec.parse(name)


def test_a_module_of_the_current_folder_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_agent.py").write_text("class Shop:\n    agent = 'here'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    assert load(PythonSpec("my_own_agent", "Shop.agent")) == "here"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_package", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("raise SystemExit(3)", SystemExit),
        ("", AttributeError),
    ],
)
def test_a_module_that_fails_names_nothing_on_the_wire_and_gives_its_reason_to_the_log(
    code: str, cause: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret_agent.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "secret_agent", raising=False)

    with pytest.raises(ModelMisconfigured) as raised:
        load(PythonSpec("secret_agent", "graph"))

    assert "secret" not in raised.value.detail
    assert "graph" not in raised.value.detail
    assert isinstance(raised.value.__cause__, cause)


async def resolved(attribute: str) -> object:
    return await resolve(load(PythonSpec(OBJECTS, attribute)))


def test_an_object_is_itself_and_a_factory_is_called() -> None:
    async def check() -> None:
        assert await resolved("chat") is scripted_objects.chat
        assert await resolved("Box.inner") is scripted_objects.chat
        assert await resolved("make_chat") is scripted_objects.chat
        assert isinstance(await resolved("make_model"), ScriptedModel)
        model = ScriptedModel(answers=[])
        assert await resolve(model) is model

    asyncio.run(check())


@pytest.mark.parametrize(
    ("target", "cause"),
    [(scripted_objects.fail, OSError), (TOKENS, TypeError), (asyncio, TypeError), (Run, TypeError)],
)
def test_what_cannot_answer_is_refused(target: object, cause: type[Exception]) -> None:
    with pytest.raises(ModelMisconfigured) as raised:
        asyncio.run(resolve(target))

    assert isinstance(raised.value.__cause__, cause)
    assert "missing" not in raised.value.detail


def test_a_generator_function_is_no_factory() -> None:
    async def generate(*messages: Any) -> AsyncIterator[str]:
        yield "a"

    assert asyncio.run(resolve(generate)) is generate


def test_two_sessions_never_share_a_thread() -> None:
    owners = [
        ("default", "s"),
        ("acme", "s"),
        ("acme/ann", "s"),
        ("acme", "ann/s"),
        ("default", "acme/s"),
        ("default", "acme%2Fann/s"),
        ("default", "default/s"),
    ]

    assert thread_id("default", "s") == "s"
    assert thread_id("acme", "s") == "acme/s"
    assert len({thread_id(*owner) for owner in owners}) == len(owners)


def upper(messages: list[BaseMessage]) -> str:
    return messages[-1].text.upper()


async def upper_async(messages: list[BaseMessage]) -> AIMessage:
    return AIMessage(messages[-1].text.upper())


def upper_pieces(messages: list[BaseMessage]) -> Iterator[str]:
    assert threading.current_thread() is not threading.main_thread()
    yield from messages[-1].text.upper()


async def upper_pieces_async(messages: list[BaseMessage]) -> AsyncIterator[str]:
    for letter in messages[-1].text.upper():
        yield letter


class Upper:
    def __call__(self, messages: list[BaseMessage]) -> str:
        return upper(messages)


@pytest.mark.parametrize(
    ("function", "pieces"),
    [
        (upper, ["HI"]),
        (upper_async, ["HI"]),
        (upper_pieces, ["H", "I"]),
        (upper_pieces_async, ["H", "I"]),
        (Upper(), ["HI"]),
        (lambda messages: upper_async(messages), ["HI"]),
        (lambda _: iter("HI"), ["H", "I"]),
        (lambda messages: upper_pieces_async(messages), ["H", "I"]),
        (lambda _: [AIMessage("H"), AIMessage("I")], ["H", "I"]),
    ],
)
def test_a_function_gets_the_messages_and_gives_its_text(function: Any, pieces: list[str]) -> None:
    result = asyncio.run(run(function, request("hi")))

    assert result.pieces == pieces
    assert result.finish_reason == "stop"


def test_a_function_reads_the_configuration_of_its_run() -> None:
    seen: list[RunnableConfig] = []

    def record(messages: list[BaseMessage], config: RunnableConfig) -> str:
        seen.append(config)
        return "ok"

    asyncio.run(run(record, request("hi", turn=7, attempt=2, tenant="acme")))

    identity = {
        "thread_id": "acme/s",
        "session_id": "s",
        "turn_id": "turn_7",
        "attempt": 2,
        "tenant": "acme",
    }
    assert seen[0]["configurable"] == identity
    assert seen[0]["metadata"] == identity
    assert request("a", turn=7).run_id != request("a", turn=7, attempt=2).run_id


def test_a_chat_model_gets_the_messages_and_streams() -> None:
    model = ScriptedModel(answers=["It rains today"])
    system = SystemMessage("Be brief.", id="msg_0")
    result = asyncio.run(run(model, request(system, "Hello")))

    assert model.inputs == [[system, HumanMessage("Hello", id="msg_Hello")]]
    assert result.pieces == ["It", " rains", " today"]
    assert result.end.usage_metadata == TOKENS
    assert sum(output.usage_metadata is not None for output in result.outputs) == 0


@pytest.mark.parametrize(
    "chain",
    [
        lambda model: model | StrOutputParser(),
        lambda model: model.with_config(tags=["x"]).with_retry(),
        lambda model: model.with_fallbacks([model]) | StrOutputParser(),
    ],
)
def test_a_chain_that_begins_with_a_model_gets_the_messages(chain: Any) -> None:
    model = ScriptedModel(answers=["It rains"])

    assert asyncio.run(run(chain(model))).shape == ["It rains"]
    assert [message.text for message in model.inputs[0]] == ["Hello"]


def test_a_chain_with_a_prompt_gets_input_and_history() -> None:
    model = ScriptedModel(answers=["It rains"])
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be brief."), MessagesPlaceholder("history"), ("human", "{input}?")]
    )
    result = asyncio.run(run(prompt | model | StrOutputParser(), request("Hi", "Hello", "Why")))

    assert [message.text for message in model.inputs[0]] == ["Be brief.", "Hi", "Hello", "Why?"]
    assert result.pieces == ["It", " rains"]
    assert result.end.usage_metadata == TOKENS


class Form(BaseModel):
    city: str


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (AIMessage("text"), "text"),
        ({"messages": [HumanMessage("q"), AIMessage("text")], "output": "other"}, "text"),
        ({"output": "text"}, "text"),
        ({"answer": "text", "context": [1]}, "text"),
        ({"city": "Ålesund"}, '{"city":"Ålesund"}'),
        (Form(city="Oslo"), '{"city":"Oslo"}'),
        ([1, {"at": Path("x")}], '[1,{"at":"x"}]'),
        (7, "7"),
    ],
)
def test_a_runnable_may_return_anything(value: Any, text: str) -> None:
    assert asyncio.run(run(RunnableLambda(lambda _: value))).shape == [text]


def test_a_chain_that_parses_gives_its_last_value_as_json() -> None:
    chain = ScriptedModel(answers=['{"a": 1, "b": [2, 3]}']) | JsonOutputParser()

    assert asyncio.run(run(chain)).shape == ['{"a":1,"b":[2,3]}']


def test_the_answer_of_a_chain_with_a_retriever_is_streamed() -> None:
    answer = (lambda _: [HumanMessage("q")]) | ScriptedModel(answers=["It rains"])
    chain = RunnablePassthrough.assign(context=lambda _: ["a document"]) | {
        "context": lambda values: values["context"],
        "answer": answer | StrOutputParser(),
    }

    assert asyncio.run(run(chain)).pieces == ["It", " rains"]


def test_calls_of_a_plain_model_are_one_step() -> None:
    model = ScriptedModel(answers=[calls(call("weather", city="Oslo"), text="Let me look")])
    result = asyncio.run(run(model))

    assert result.shape == ["Let me look", ("weather",)]
    step = result.outputs[-1]
    assert type(step) is AIMessage
    assert step.tool_calls[0]["args"] == {"city": "Oslo"}
    assert step.id
    assert step.text == "Let me look"


def test_a_generator_with_its_own_tool_loop_gives_steps() -> None:
    answers = [calls(call("weather"), text="Let me look"), "It rains"]
    model = ScriptedModel(answers=answers, provider_id="resp_")

    async def loop(messages: list[BaseMessage]) -> AsyncIterator[BaseMessage]:
        async for chunk in model.astream(messages):
            yield chunk
        yield ToolMessage("rain", tool_call_id="call_1", name="weather")
        async for chunk in model.astream(messages):
            yield chunk

    result = asyncio.run(run(loop))

    assert result.shape == ["Let me look", ("weather",), {"weather": "rain"}, "It rains"]
    assert all(output.id for output in result.outputs)
    assert result.end.usage_metadata == tokens(2)


def test_calls_in_pieces_with_two_ids_are_one_step() -> None:
    def part(text: str, chunk_id: str) -> AIMessageChunk:
        chunk = ToolCallChunk(name="weather" if text == "{" else None, args=text, id=None, index=0)
        return AIMessageChunk(content="", id=chunk_id, tool_call_chunks=[chunk])

    async def split(messages: list[BaseMessage]) -> AsyncIterator[BaseMessage]:
        yield part("{", "lc_run--1")
        yield part("}", "msg_1")
        yield AIMessageChunk(content="It rains", id="msg_2")

    assert asyncio.run(run(split)).shape == [("weather",), "It rains"]


def test_a_whole_message_after_its_pieces_does_not_repeat_them() -> None:
    async def twice(messages: list[BaseMessage]) -> AsyncIterator[BaseMessage]:
        yield AIMessageChunk(content="It ", id="a")
        yield AIMessageChunk(content="rains", id="a")
        yield AIMessage("It rains", id="a")

    assert asyncio.run(run(twice)).shape == ["It rains"]


def test_a_last_result_of_a_tool_is_the_reply() -> None:
    async def direct(messages: list[BaseMessage]) -> AsyncIterator[BaseMessage]:
        yield calls(call("weather"))
        yield ToolMessage("rain", tool_call_id="call_1", name="weather")

    assert asyncio.run(run(direct)).shape == [("weather",), {"weather": "rain"}, "rain"]


def test_reasoning_comes_as_standard_blocks_and_signatures_with_it() -> None:
    chunk = AIMessageChunk(
        content=[{"type": "thinking", "thinking": "Hm.", "index": 0}],
        response_metadata={"model_provider": "anthropic"},
    )
    deepseek = AIMessageChunk(content="Yes", additional_kwargs={"reasoning_content": "Hm."})

    first, second = piece(chunk), piece(deepseek)
    assert first is not None
    assert [block["type"] for block in first.content_blocks] == ["reasoning"]
    assert second is not None
    assert [block["type"] for block in second.content_blocks] == ["reasoning", "text"]
    assert piece(AIMessageChunk(content=[{"type": "text", "text": "a", "index": 1}])) == (
        AIMessageChunk(content="a")
    )
    assert piece(AIMessageChunk(content="")) is None


def test_hidden_calls_are_counted_also_in_threads() -> None:
    model = ScriptedModel(answers=["one", "two", "three"])

    def think(messages: list[BaseMessage]) -> str:
        return model.invoke("a").text + model.invoke("b").text

    result = asyncio.run(run(think))

    assert result.shape == ["onetwo"]
    assert result.end.usage_metadata == tokens(2)


def test_tokens_of_a_message_that_no_model_of_langchain_made_are_counted() -> None:
    result = asyncio.run(run(lambda _: AIMessage("hi", usage_metadata=TOKENS)))

    assert result.end.usage_metadata == TOKENS


def test_nothing_is_counted_where_nothing_is_known() -> None:
    result = asyncio.run(run(GenericFakeChatModel(messages=iter(["a b"]))))

    assert result.shape == ["a b"]
    assert result.end.usage_metadata is None


def test_an_error_passes_unchanged() -> None:
    error = LookupError("no such city")

    def fail(messages: list[BaseMessage]) -> str:
        raise error

    for target in (fail, ScriptedModel(answers=[error])):
        with pytest.raises(LookupError) as raised:
            asyncio.run(run(target))
        assert raised.value is error


async def read_on(thread: LoopThread, target: object) -> Run:
    items = thread.iterate(lambda: stream(target, request("Hello")))
    return Run([output async for output in items])


def test_a_run_in_the_thread_gives_the_same() -> None:
    async def check() -> None:
        thread = LoopThread()
        result = await read_on(thread, ScriptedModel(answers=["It rains"]))
        assert result.pieces == ["It", " rains"]
        with pytest.raises(LookupError, match="no"):
            await read_on(thread, ScriptedModel(answers=[LookupError("no")]))
        await thread.close()

    asyncio.run(check())


def test_the_thread_runs_a_coroutine() -> None:
    async def check() -> None:
        thread = LoopThread()

        async def name() -> str:
            return threading.current_thread().name

        assert await thread.run(name) == "python-models"
        await thread.close()
        with pytest.raises(RuntimeError, match="closed"):
            await thread.run(name)

    asyncio.run(check())


@pytest.mark.parametrize("in_thread", [True, False])
@pytest.mark.parametrize("by_closing", [True, False])
def test_a_cancellation_reaches_an_async_function(by_closing: bool, in_thread: bool) -> None:
    async def check() -> None:
        events: list[str] = []
        waits = threading.Event()

        async def wait(messages: list[BaseMessage]) -> AsyncIterator[str]:
            yield "first"
            try:
                waits.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                events.append("cancelled")
                raise

        thread = LoopThread()
        source = stream(wait, request("a"))
        items = thread.iterate(lambda: source) if in_thread else source
        assert (await anext(items)).text == "first"
        await asyncio.to_thread(waits.wait, 30)
        if by_closing:
            await items.aclose()
        else:
            task = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert events == ["cancelled"]
        await thread.close()

    asyncio.run(check())


def test_what_blocks_the_thread_stalls_nobody_else_and_ends_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_thread, "STALL_SECONDS", 0.01)

    async def check() -> None:
        blocks, go_on, closed = threading.Event(), threading.Event(), threading.Event()

        async def block(messages: list[BaseMessage]) -> AsyncIterator[str]:
            try:
                blocks.set()
                go_on.wait(30)
                yield "too late"
                await asyncio.sleep(0)
            finally:
                closed.set()

        thread = LoopThread()
        task = asyncio.create_task(read_on(thread, block))
        await asyncio.to_thread(blocks.wait, 30)
        # This loop runs: a timer of it fires while the other one is blocked.
        await asyncio.wait_for(asyncio.sleep(0.01), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed.is_set()
        go_on.set()
        await asyncio.to_thread(closed.wait, 30)
        result = await read_on(thread, upper)
        assert result.shape == ["HELLO"]
        await thread.close()

    asyncio.run(check())


def test_a_run_that_ignores_its_cancellation_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_thread, "CLOSE_SECONDS", 0.01)

    async def check() -> None:
        go_on, ended = asyncio.Event(), asyncio.Event()

        async def insist(messages: list[BaseMessage]) -> AsyncIterator[str]:
            yield "first"
            while not go_on.is_set():
                with suppress(asyncio.CancelledError):
                    await go_on.wait()
            ended.set()

        outputs = stream(insist, request("a"))
        await anext(outputs)
        await outputs.aclose()
        assert not ended.is_set()
        go_on.set()
        await asyncio.wait_for(ended.wait(), 30)

    asyncio.run(check())


def test_a_thread_that_is_blocked_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_thread, "STALL_SECONDS", 0.01)
    blocks, go_on = threading.Event(), threading.Event()

    def block() -> None:
        blocks.set()
        go_on.wait(30)

    async def check() -> None:
        thread = LoopThread()
        thread.start().call_soon_threadsafe(block)
        await asyncio.to_thread(blocks.wait, 30)
        await thread.close()
        assert not go_on.is_set()

    asyncio.run(check())
    go_on.set()


def test_a_reader_that_is_slow_pauses_the_generator() -> None:
    async def check() -> None:
        made: list[int] = []

        async def count() -> Any:
            for number in range(1000):
                made.append(number)
                yield number

        thread = LoopThread()
        items = thread.iterate(count, buffer=4)
        first = await anext(items)

        async def answer() -> int:
            return len(made)

        # The generator has had every chance to go on: the loop has run other things since.
        for _ in range(5):
            made_until_now = await thread.run(answer)
        assert made_until_now <= 2 * 4
        assert [first, *[item async for item in items]] == list(range(1000))
        await thread.close()

    asyncio.run(check())


def test_items_that_come_together_cross_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        thread, wakeups = LoopThread(), 0
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal wakeups
            wakeups += 1
            return call_soon(*args, **kwargs)

        async def count() -> Any:
            for number in range(60):
                yield number

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        hold = threading.Event()
        thread.start().call_soon_threadsafe(hold.wait, 30)
        task = asyncio.create_task(anext(thread.iterate(count)))
        await asyncio.sleep(0)
        hold.set()
        await task
        assert wakeups < 60
        await thread.close()

    asyncio.run(check())


def test_context_variables_of_the_caller_hold_in_the_thread() -> None:
    turn: ContextVar[str] = ContextVar("turn")

    async def read(messages: list[BaseMessage]) -> str:
        return turn.get()

    async def check() -> None:
        thread = LoopThread()
        turn.set("turn_1")
        assert (await read_on(thread, read)).shape == ["turn_1"]
        await thread.close()

    asyncio.run(check())


def test_langgraph_is_not_imported_for_what_is_no_graph() -> None:
    script = (
        "import asyncio, sys; from tests.unit.scripted_objects import chat, run;"
        "print(asyncio.run(run(chat)).shape, 'langgraph' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "['HELLO'] False"


def test_a_name_is_read_without_langchain() -> None:
    script = (
        "import sys; from chatkeep.providers.python.loading import PythonSpec;"
        "PythonSpec.parse('a:b'); print('langchain_core' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "False"


def test_a_function_that_ends_the_program_ends_only_its_run() -> None:
    async def check() -> None:
        async def leave(messages: list[BaseMessage]) -> str:
            sys.exit(3)

        thread = LoopThread()
        with pytest.raises(RuntimeError, match="SystemExit"):
            await read_on(thread, leave)
        assert (await read_on(thread, upper)).shape == ["HELLO"]
        await thread.close()

    asyncio.run(check())


def test_a_run_that_cancels_itself_does_not_cancel_its_reader() -> None:
    async def cancel(messages: list[BaseMessage]) -> str:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="CancelledError"):
        asyncio.run(run(cancel))


def test_closing_the_thread_cancels_what_runs_there() -> None:
    async def check() -> None:
        cancelled = threading.Event()

        async def wait(messages: list[BaseMessage]) -> AsyncIterator[str]:
            try:
                yield "first"
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        thread = LoopThread()
        items = thread.iterate(lambda: stream(wait, request("a")))
        await anext(items)
        await thread.close()
        assert cancelled.is_set()
        with pytest.raises(RuntimeError, match="CancelledError"):
            await anext(items)

    asyncio.run(check())
