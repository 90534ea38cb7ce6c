"""LangGraph's graphs and LangChain's agents as models."""

import asyncio
import threading
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel

from chatkeep.domain.errors import ModelMisconfigured
from chatkeep.providers.python.graphs import GraphRun
from chatkeep.providers.python.loop_thread import LoopThread
from chatkeep.providers.python.runs import stream
from tests.unit.scripted_objects import Run, ScriptedModel, call, calls, request, run, tokens


@tool
async def weather(city: str = "Oslo") -> str:
    """Look up the weather."""
    return f"rain in {city}"


@tool
def people(city: str = "Oslo") -> str:
    """Count the people."""
    return f"709000 in {city}"


def texts(messages: list[BaseMessage]) -> list[str]:
    return [message.text for message in messages]


def graph_of(checkpointer: Any = None, **nodes: Any) -> Any:
    """A graph whose nodes run one after another."""
    builder = StateGraph(MessagesState)
    builder.add_sequence(list(nodes.items()))
    builder.add_edge(START, next(iter(nodes)))
    return builder.compile(checkpointer=checkpointer)


def saying(model: ScriptedModel) -> Any:
    async def say(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return say


def test_an_agent_calls_two_tools_at_once_and_then_one_more() -> None:
    model = ScriptedModel(
        answers=[
            calls(call("weather", 1), call("people", 2), text="Let me look."),
            calls(call("weather", 3, city="Bergen")),
            "It rains everywhere",
        ]
    )
    result = asyncio.run(run(create_agent(model, [weather, people])))

    assert result.shape[:2] == ["Let me look.", ("weather", "people")]
    assert {"weather": "rain in Oslo"} in result.shape[2:4]
    assert {"people": "709000 in Oslo"} in result.shape[2:4]
    assert result.shape[4:] == [
        ("weather",),
        {"weather": "rain in Bergen"},
        "It rains everywhere",
    ]
    assert result.pieces[-3:] == ["It", " rains", " everywhere"]
    assert result.end.usage_metadata == tokens(3)
    assert result.finish_reason == "stop"
    assert all(output.id for output in result.outputs)
    assert model.inputs[0][0].id == "msg_Hello"


def test_an_agent_reads_the_whole_conversation_once() -> None:
    model = ScriptedModel(answers=["Fine"])
    system = SystemMessage("Be brief.", id="msg_0")
    asyncio.run(run(create_agent(model, []), request(system, "Hi", "Hello", "How are you")))

    assert texts(model.inputs[0]) == ["Be brief.", "Hi", "Hello", "How are you"]


def test_a_tool_that_fails_and_is_caught_is_an_error_step() -> None:
    @tool
    def fail() -> str:
        """Fail."""
        raise RuntimeError

    model = ScriptedModel(answers=[calls(call("none")), "Sorry"])
    result = asyncio.run(run(create_agent(model, [fail])))

    assert [output.status for output in result.outputs if isinstance(output, ToolMessage)] == [
        "error"
    ]
    with pytest.raises(RuntimeError):
        asyncio.run(run(create_agent(ScriptedModel(answers=[calls(call("fail"))]), [fail])))


def test_a_tool_that_returns_directly_gives_the_reply() -> None:
    @tool(return_direct=True)
    def direct() -> str:
        """Look."""
        return "rain"

    result = asyncio.run(
        run(create_agent(ScriptedModel(answers=[calls(call("direct"))]), [direct]))
    )

    assert result.shape == [("direct",), {"direct": "rain"}, "rain"]


class Form(BaseModel):
    """A form."""

    city: str


def test_an_agent_that_answers_in_a_form_gives_its_json() -> None:
    model = ScriptedModel(answers=[calls(call("Form", city="Oslo"))])
    agent = create_agent(model, [weather], response_format=ToolStrategy(Form))
    result = asyncio.run(run(agent))

    assert result.shape[0] == ("Form",)
    assert result.shape[-1] == '{"city":"Oslo"}'


def test_a_hidden_call_is_not_shown_and_counted() -> None:
    hidden = ScriptedModel(answers=["secret thoughts"])
    model = ScriptedModel(answers=["It rains"])

    async def think(state: MessagesState) -> dict[str, Any]:
        await hidden.with_config(tags=["nostream"]).ainvoke(state["messages"])
        return {"messages": [await model.ainvoke(state["messages"])]}

    result = asyncio.run(run(graph_of(think=think)))

    assert result.pieces == ["It", " rains"]
    assert result.end.usage_metadata == tokens(2)


def test_texts_of_two_nodes_are_one_reply_with_a_blank_line() -> None:
    one, two = ScriptedModel(answers=["First thing"]), ScriptedModel(answers=["Second thing"])
    result = asyncio.run(run(graph_of(one=saying(one), two=saying(two))))

    assert result.shape == ["First thing\n\nSecond thing"]


def test_a_message_that_was_never_streamed_is_one_piece() -> None:
    forms: list[Any] = [
        [AIMessage("It rains")],
        AIMessage("It rains"),
        [{"role": "assistant", "content": "It rains"}],
        [("ai", "It rains")],
    ]
    for form in forms:
        result = asyncio.run(run(graph_of(say=lambda _, form=form: {"messages": form})))
        assert result.pieces == ["It rains"]


def test_a_node_that_returns_the_messages_that_it_got_repeats_nothing() -> None:
    model = ScriptedModel(answers=[calls(call("weather"), text="Look"), "It rains"])

    async def agent(state: MessagesState) -> dict[str, Any]:
        first = await model.ainvoke(state["messages"])
        result = ToolMessage("rain", tool_call_id="call_1", name="weather", id="r")
        second = await model.ainvoke([*state["messages"], first, result])
        return {"messages": [*state["messages"], first, result, second]}

    def again(state: MessagesState) -> dict[str, Any]:
        return {"messages": [*state["messages"], HumanMessage("internal")]}

    before = [calls(call("weather", 9)), ToolMessage("sun", tool_call_id="call_9")]
    for message in before:
        message.id = f"msg_{message.type}"
    conversation = request("Before", *before, "Hello")
    result = asyncio.run(run(graph_of(agent=agent, again=again), conversation))

    assert result.shape == ["Look", ("weather",), {"weather": "rain"}, "It rains"]


def test_calls_that_a_node_writes_nowhere_are_no_step() -> None:
    model = ScriptedModel(answers=[calls(call("Route")), "It rains"])

    async def agent(state: MessagesState) -> dict[str, Any]:
        await model.ainvoke(state["messages"])
        return {"messages": [await model.ainvoke(state["messages"])]}

    assert asyncio.run(run(graph_of(agent=agent))).shape == ["It rains"]


def test_a_model_that_a_tool_calls_writes_nothing_into_the_reply() -> None:
    inner = ScriptedModel(answers=["inner words", "more words"])

    @tool
    async def think() -> str:
        """Think."""
        await inner.ainvoke("a")
        return (await inner.ainvoke("b")).text

    answers = [calls(call("think"), text="Hm."), "So it is"]
    result = asyncio.run(run(create_agent(ScriptedModel(answers=answers), [think])))

    assert result.shape == ["Hm.", ("think",), {"think": "more words"}, "So it is"]
    assert result.pieces[-3:] == ["So", " it", " is"]
    assert result.end.usage_metadata == tokens(4)


def test_a_reply_after_calls_that_nobody_answers_is_not_lost() -> None:
    one = ScriptedModel(answers=[calls(call("weather"))])
    two = ScriptedModel(answers=["It rains"])
    result = asyncio.run(run(graph_of(one=saying(one), two=saying(two))))

    assert result.shape == [("weather",), "It rains"]


def test_the_ids_of_a_provider_and_of_langchain_are_of_one_message() -> None:
    answers = [calls(call("weather"), text="Let me look"), "It rains today"]
    model = ScriptedModel(answers=answers, provider_id="resp_")
    result = asyncio.run(run(create_agent(model, [weather])))

    assert result.shape == [
        "Let me look",
        ("weather",),
        {"weather": "rain in Oslo"},
        "It rains today",
    ]
    assert result.pieces == ["Let", " me", " look", "It", " rains", " today"]


def test_two_calls_of_one_node_at_once_are_not_mixed() -> None:
    async def alternate() -> None:
        await asyncio.sleep(0)

    models = [
        ScriptedModel(answers=[f"{name}1 {name}2"], between=alternate, provider_id=name)
        for name in "ab"
    ]

    async def both(_: MessagesState) -> dict[str, Any]:
        return {"messages": await asyncio.gather(*(model.ainvoke("x") for model in models))}

    shape = asyncio.run(run(graph_of(both=both))).shape
    assert shape in (["a1 a2\n\nb1 b2"], ["b1 b2\n\na1 a2"])


def test_models_that_run_at_once_are_not_mixed() -> None:
    async def alternate() -> None:
        await asyncio.sleep(0)

    models = {
        name: ScriptedModel(answers=[f"{name}1 {name}2 {name}3 {name}4"], between=alternate)
        for name in "ab"
    }
    builder = StateGraph(MessagesState)
    for name, model in models.items():
        builder.add_node(name, saying(model))
        builder.add_edge(START, name)
    result = asyncio.run(run(builder.compile()))

    one, two = "a1 a2 a3 a4", "b1 b2 b3 b4"
    assert result.shape in ([f"{one}\n\n{two}"], [f"{two}\n\n{one}"])


def test_steps_of_agents_that_run_at_once_stay_behind_their_texts() -> None:
    async def alternate() -> None:
        await asyncio.sleep(0)

    builder = StateGraph(MessagesState)
    for name in "ab":
        answer = calls(call("weather", name == "a"), text=f"{name}1 {name}2 {name}3")
        model = ScriptedModel(answers=[answer], between=alternate)
        builder.add_node(name, saying(model))
        builder.add_edge(START, name)
    result = asyncio.run(run(builder.compile()))

    one, two = ["a1 a2 a3", ("weather",)], ["b1 b2 b3", ("weather",)]
    assert result.shape in (one + two, two + one)


def test_tasks_of_one_node_are_not_mixed() -> None:
    class State(MessagesState):
        number: int

    builder = StateGraph(State)

    async def agent(state: State) -> dict[str, Any]:
        number = state["number"]
        answer = calls(call("weather", number), text=f"{number}a {number}b")
        model = ScriptedModel(answers=[answer])
        return {"messages": [await model.ainvoke([])]}

    builder.add_node("agent", agent)
    builder.add_conditional_edges(
        START, lambda _: [Send("agent", {"number": number}) for number in (1, 2)], ["agent"]
    )
    shape = asyncio.run(run(builder.compile())).shape

    one, two = ["1a 1b", ("weather",)], ["2a 2b", ("weather",)]
    assert shape in (one + two, two + one)


def test_messages_of_a_subgraph_count_once_they_are_in_the_state() -> None:
    inner = create_agent(ScriptedModel(answers=[calls(call("weather")), "It rains"]), [weather])
    result = asyncio.run(run(graph_of(inner=inner)))

    assert result.shape == [("weather",), {"weather": "rain in Oslo"}, "It rains"]


def test_a_graph_with_other_keys_answers_with_them() -> None:
    class State(TypedDict):
        input: str
        answer: str

    builder = StateGraph(State)
    builder.add_node("reply", lambda state: {"answer": state["input"].upper()})
    builder.add_edge(START, "reply")

    assert asyncio.run(run(builder.compile())).shape == ["HELLO"]


def test_a_workflow_is_a_graph_too() -> None:
    @entrypoint()
    async def workflow(inputs: dict[str, Any]) -> str:
        return str(inputs["messages"][-1].text.upper())

    assert asyncio.run(run(workflow)).shape == ["HELLO"]


def test_an_error_of_a_node_passes_unchanged() -> None:
    error = LookupError("no")

    def fail(_: MessagesState) -> None:
        raise error

    with pytest.raises(LookupError) as raised:
        asyncio.run(run(graph_of(fail=fail)))
    assert raised.value is error


# With a checkpointer of its own.


def chatting(answers: list[Any], saver: Any = None) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(answers=answers)
    return graph_of(saver or InMemorySaver(), say=saying(model)), model


def test_a_thread_gets_only_what_is_new() -> None:
    graph, model = chatting(["one", "two"])

    async def check() -> None:
        await run(graph, request("a", turn=1))
        # The window may have left out what the thread still knows.
        assert (await run(graph, request("one", "b", turn=2, parent=1))).shape == ["two"]

    asyncio.run(check())
    assert [texts(messages) for messages in model.inputs] == [["a"], ["a", "one", "b"]]


def test_two_tenants_have_two_threads() -> None:
    graph, model = chatting(["one", "two"])

    async def check() -> None:
        await run(graph, request("a", turn=1))
        await run(graph, request("b", turn=2, tenant="acme"))

    asyncio.run(check())
    assert [texts(messages) for messages in model.inputs] == [["a"], ["b"]]


def test_a_branch_goes_on_from_the_turn_before_it() -> None:
    graph, model = chatting(["one", "two", "three", "four", "five"])

    async def check() -> None:
        await run(graph, request("a", turn=1))
        await run(graph, request("a", "one", "b", turn=2, parent=1))
        await run(graph, request("a", "one", "c", turn=3, parent=1))
        await run(graph, request("a", "one", "b", "two", "d", turn=4, parent=2))
        await run(graph, request("a", "one", "c", "three", "e", turn=5, parent=3))

    asyncio.run(check())
    assert [texts(messages) for messages in model.inputs] == [
        ["a"],
        ["a", "one", "b"],
        ["a", "one", "c"],
        ["a", "one", "b", "two", "d"],
        ["a", "one", "c", "three", "e"],
    ]


def test_a_thread_that_does_not_know_the_conversation_gets_all_of_it() -> None:
    graph, model = chatting(["one", "two", "three", "four"])

    async def check() -> None:
        await run(graph, request("x", "y", "a", turn=1))
        await run(graph, request("x", "y", "a", "one", "b", turn=2, parent=1))
        # Another model has answered turn 3: the thread knows turns 1 and 2 only.
        await run(graph, request("x", "y", "a", "one", "b", "two", "c", "3", "d", turn=4, parent=3))
        await run(graph, request("e", turn=5))

    asyncio.run(check())
    assert [texts(messages) for messages in model.inputs] == [
        ["x", "y", "a"],
        ["x", "y", "a", "one", "b"],
        ["x", "y", "a", "one", "b", "two", "c", "3", "d"],
        ["e"],
    ]


def test_an_edit_of_the_first_message_begins_empty_and_keeps_the_other_branch() -> None:
    graph, model = chatting(["one", "two", "three"])

    async def check() -> None:
        await run(graph, request("a", turn=1))
        await run(graph, request("b", turn=2))
        await run(graph, request("a", "one", "c", turn=3, parent=1))

    asyncio.run(check())
    assert [texts(messages) for messages in model.inputs] == [["a"], ["b"], ["a", "one", "c"]]


def test_a_new_system_message_replaces_the_one_that_the_thread_has() -> None:
    graph, model = chatting(["one", "two"])

    async def check() -> None:
        system = SystemMessage("Be brief.", id="msg_0")
        await run(graph, request(system, "a", turn=1))
        system = SystemMessage("Be long.", id="msg_0")
        await run(graph, request(system, "a", "one", "b", turn=2, parent=1))

    asyncio.run(check())
    assert texts(model.inputs[1]) == ["Be long.", "a", "one", "b"]


class Crash(Exception):
    pass


def test_another_attempt_repeats_no_node_that_has_ended_and_gives_its_messages_again() -> None:
    ran: list[str] = []
    crashes = [Crash()]
    model = ScriptedModel(answers=[calls(call("weather"), text="Look"), "one"])

    async def first(state: MessagesState) -> dict[str, Any]:
        ran.append("first")
        return {"messages": [await model.ainvoke(state["messages"])]}

    def second(_: MessagesState) -> dict[str, Any]:
        ran.append("second")
        if crashes:
            raise crashes.pop()
        return {"messages": [ToolMessage("rain", tool_call_id="call_1", name="weather")]}

    graph = graph_of(InMemorySaver(), first=first, second=second, third=saying(model))

    async def check() -> Run:
        with pytest.raises(Crash):
            await run(graph, request("a", turn=1))
        return await run(graph, request("a", turn=1, attempt=2))

    result = asyncio.run(check())
    assert ran == ["first", "second", "second"]
    assert result.shape == ["Look", ("weather",), {"weather": "rain"}, "one"]


def test_another_attempt_of_a_graph_that_had_ended_runs_nothing() -> None:
    graph, model = chatting(["one"])

    async def check() -> Run:
        await run(graph, request("x", "y", "a", turn=1))
        return await run(graph, request("x", "y", "a", turn=1, attempt=2))

    assert asyncio.run(check()).shape == ["one"]
    assert len(model.inputs) == 1


def test_another_attempt_that_left_nothing_begins_again() -> None:
    crashes: list[Any] = [Crash()]
    graph, model = chatting(["zero", *crashes, "one"])

    async def check() -> Run:
        await run(graph, request("x", turn=1))
        with pytest.raises(Crash):
            await run(graph, request("x", "zero", "a", turn=2, parent=1))
        return await run(graph, request("x", "zero", "a", turn=2, parent=1, attempt=2))

    assert asyncio.run(check()).shape == ["one"]
    assert texts(model.inputs[-1]) == ["x", "zero", "a"]


def test_tools_that_had_ended_in_a_crashed_step_do_not_run_again() -> None:
    ran: list[str] = []
    crashes = [Crash()]

    @tool
    async def quick() -> str:
        """Run."""
        ran.append("quick")
        return "quick"

    @tool
    async def slow() -> str:
        """Run."""
        ran.append("slow")
        if crashes:
            for _ in range(20):
                await asyncio.sleep(0)
            raise crashes.pop()
        return "slow"

    model = ScriptedModel(answers=[calls(call("quick", 1), call("slow", 2)), "one"])
    agent = create_agent(model, [quick, slow], checkpointer=InMemorySaver())

    async def check() -> Run:
        with pytest.raises(Crash):
            await run(agent, request("a", turn=1))
        return await run(agent, request("a", turn=1, attempt=2))

    result = asyncio.run(check())
    assert ran.count("quick") == 1
    assert ran.count("slow") == 2
    assert result.shape[0] == ("quick", "slow")
    assert {"quick": "quick"} in result.shape
    assert result.shape[-1] == "one"


def test_calls_that_a_failed_turn_left_open_are_answered_before_the_next() -> None:
    @tool
    def fail() -> str:
        """Fail."""
        raise Crash

    model = ScriptedModel(answers=[calls(call("fail", 1)), "one"])
    agent = create_agent(model, [fail], checkpointer=InMemorySaver())

    async def check() -> Run:
        with pytest.raises(Crash):
            await run(agent, request("a", turn=1))
        return await run(agent, request("a", "b", turn=2, parent=1))

    assert asyncio.run(check()).shape == ["one"]
    assert [message.type for message in model.inputs[1]] == ["human", "ai", "tool", "human"]


# Interrupts.


def asking(value: Any, saver: Any) -> Any:
    ran: list[str] = []

    def before(_: MessagesState) -> None:
        ran.append("before")

    def ask(_: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"Answer: {interrupt(value)}.")]}

    graph = graph_of(saver, before=before, ask=ask)
    return graph, ran


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("May I?", "May I?"),
        ({"question": "May I?", "args": {}}, "May I?"),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_an_interrupt_asks_and_the_next_message_answers(value: Any, text: str) -> None:
    graph, ran = asking(value, InMemorySaver())

    async def check() -> tuple[Run, Run, Run]:
        first = await run(graph, request("a", turn=1))
        second = await run(graph, request("a", text, "yes", turn=2, parent=1))
        branch = await run(graph, request("a", text, "no", turn=3, parent=1))
        return first, second, branch

    first, second, branch = asyncio.run(check())
    assert first.shape == [text]
    assert first.finish_reason == "interrupt"
    assert second.shape == ["Answer: yes."]
    assert second.finish_reason == "stop"
    assert branch.shape == ["Answer: no."]
    assert ran == ["before"]


def test_another_attempt_of_an_answer_on_another_branch_goes_on_with_it() -> None:
    crashes: list[Crash] = []

    def ask(_: MessagesState) -> dict[str, Any]:
        answer = interrupt("May I?")
        if crashes:
            raise crashes.pop()
        return {"messages": [AIMessage(f"Answer: {answer}.")]}

    graph = graph_of(InMemorySaver(), ask=ask)

    async def check() -> list[Run]:
        await run(graph, request("a", turn=1))
        await run(graph, request("a", "q", "yes", turn=2, parent=1))
        crashes.append(Crash())
        with pytest.raises(Crash):
            await run(graph, request("a", "q", "no", turn=3, parent=1))
        return [
            await run(graph, request("a", "q", "no", turn=3, parent=1, attempt=2)),
            await run(graph, request("a", "q", "perhaps", turn=4, parent=1)),
        ]

    assert [result.shape for result in asyncio.run(check())] == [
        ["Answer: no."],
        ["Answer: perhaps."],
    ]


def test_another_attempt_after_an_answer_does_not_ask_and_gives_its_messages_again() -> None:
    crashes = [Crash()]
    ran: list[str] = []

    def ask(_: MessagesState) -> dict[str, Any]:
        answer = interrupt("May I?")
        ran.append(answer)
        return {"messages": [AIMessage(f"Answer: {answer}.")]}

    def act(_: MessagesState) -> dict[str, Any]:
        if crashes:
            raise crashes.pop()
        return {"messages": [AIMessage("Done.")]}

    graph = graph_of(InMemorySaver(), ask=ask, act=act)

    async def check() -> Run:
        await run(graph, request("a", turn=1))
        with pytest.raises(Crash):
            await run(graph, request("a", "q", "yes", turn=2, parent=1))
        return await run(graph, request("a", "q", "yes", turn=2, parent=1, attempt=2))

    assert asyncio.run(check()).shape == ["Answer: yes.\n\nDone."]
    assert ran == ["yes"]


def test_another_attempt_of_an_interrupted_turn_asks_again() -> None:
    graph, ran = asking("May I?", InMemorySaver())

    async def check() -> Run:
        await run(graph, request("a", turn=1))
        return await run(graph, request("a", turn=1, attempt=2))

    result = asyncio.run(check())
    assert result.shape == ["May I?"]
    assert result.finish_reason == "interrupt"
    assert ran == ["before"]


def test_an_interrupt_of_a_subgraph_is_one_question() -> None:
    inner, _ = asking("May I?", None)
    graph = graph_of(InMemorySaver(), inner=inner)

    async def check() -> list[Run]:
        first = await run(graph, request("a", turn=1))
        return [first, await run(graph, request("a", "q", "yes", turn=2, parent=1))]

    assert [result.shape for result in asyncio.run(check())] == [["May I?"], ["Answer: yes."]]


def test_an_interrupt_without_a_checkpointer_is_an_error_that_says_so() -> None:
    graph, _ = asking("May I?", None)

    with pytest.raises(ModelMisconfigured, match="checkpointer"):
        asyncio.run(run(graph))


def test_two_interrupts_at_once_are_two_questions_with_one_answer() -> None:
    builder = StateGraph(MessagesState)
    for name in "ab":

        def ask(_: MessagesState, name: str = name) -> dict[str, Any]:
            return {"messages": [AIMessage(f"{name} {interrupt(name + '?')}")]}

        builder.add_node(name, ask)
        builder.add_edge(START, name)
    graph = builder.compile(checkpointer=InMemorySaver())

    async def check() -> tuple[Run, Run]:
        first = await run(graph, request("x", turn=1))
        return first, await run(graph, request("x", "y", "yes", turn=2, parent=1))

    first, second = asyncio.run(check())
    assert sorted(first.shape[0].split("\n\n")) == ["a?", "b?"]
    assert sorted(second.shape[0].split("\n\n")) == ["a yes", "b yes"]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("Yes.", "rain in Oslo"),
        (
            "Not today",
            "User rejected the tool call for `weather` with reason: Not today",
        ),
        ('{"decisions": [{"type": "approve"}]}', "rain in Oslo"),
    ],
)
def test_an_agent_with_a_person_in_the_loop_waits_for_consent(answer: str, result: str) -> None:
    model = ScriptedModel(answers=[calls(call("weather"), text="Look"), "Done"])
    agent = create_agent(
        model,
        [weather],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"weather": True})],
        checkpointer=InMemorySaver(),
    )

    async def check() -> tuple[Run, Run]:
        first = await run(agent, request("a", turn=1))
        return first, await run(agent, request("a", "q", answer, turn=2, parent=1))

    first, second = asyncio.run(check())
    assert first.finish_reason == "interrupt"
    assert first.shape[:2] == ["Look", ("weather",)]
    assert "weather" in first.shape[2]
    assert second.shape[-2:] == [{"weather": result}, "Done"]


# Cancelling, and the thread.


@pytest.mark.parametrize("in_thread", [True, False])
def test_a_cancellation_reaches_an_async_tool(in_thread: bool) -> None:
    async def check() -> None:
        waits, cancelled = threading.Event(), threading.Event()

        @tool
        async def wait() -> str:
            """Wait."""
            try:
                waits.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return ""

        thread = LoopThread()
        agent = create_agent(ScriptedModel(answers=[calls(call("wait"))]), [wait])
        source = stream(agent, request("a"))
        items: Any = thread.iterate(lambda: source) if in_thread else source
        assert (await anext(items)).tool_calls
        task = asyncio.ensure_future(anext(items))
        await asyncio.to_thread(waits.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancelled.is_set()
        await thread.close()

    asyncio.run(check())


def test_closing_between_two_pieces_cancels_the_node() -> None:
    async def check() -> None:
        cancelled, pieces = asyncio.Event(), iter((True, True, False))

        async def between() -> None:
            try:
                if not next(pieces):
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        model = ScriptedModel(answers=["It rains"], between=between, provider_id="resp_")
        conversation = request("a")
        outputs = GraphRun(graph_of(say=saying(model)), conversation).outputs(conversation.config)
        assert (await asyncio.wait_for(anext(outputs), 30)).text == "It"
        await outputs.aclose()
        assert cancelled.is_set()

    asyncio.run(check())


def test_a_tool_that_ends_the_program_ends_only_its_run() -> None:
    async def check() -> None:
        @tool
        async def leave() -> str:
            """Leave."""
            raise SystemExit(3)

        thread = LoopThread()
        agent = create_agent(ScriptedModel(answers=[calls(call("leave"))]), [leave])
        with pytest.raises(RuntimeError, match="SystemExit"):
            [item async for item in thread.iterate(lambda: stream(agent, request("a")))]
        other = create_agent(ScriptedModel(answers=["two"]), [])
        items = thread.iterate(lambda: stream(other, request("a")))
        assert Run([item async for item in items]).shape == ["two"]
        await thread.close()

    asyncio.run(check())


def test_an_agent_runs_beside_one_whose_sync_tool_blocks() -> None:
    async def check() -> None:
        blocks, go_on = threading.Event(), threading.Event()

        @tool
        def block() -> str:
            """Block."""
            blocks.set()
            go_on.wait(30)
            return "free"

        async def read(agent: Any) -> list[Any]:
            return [item async for item in thread.iterate(lambda: stream(agent, request("a")))]

        thread = LoopThread()
        blocked = create_agent(ScriptedModel(answers=[calls(call("block")), "one"]), [block])
        task = asyncio.create_task(read(blocked))
        await asyncio.to_thread(blocks.wait, 30)
        other = create_agent(ScriptedModel(answers=["two"]), [])
        assert Run(await read(other)).shape == ["two"]
        go_on.set()
        assert Run(await task).shape == [("block",), {"block": "free"}, "one"]
        await thread.close()

    asyncio.run(check())
