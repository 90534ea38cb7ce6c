"""Objects that answer as `python:` models: they run in the server's own process."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.tools import ToolException, tool
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


def note(word: str) -> None:
    """Write down, where the test reads it, what has run; it survives the death of the process."""
    with Path(os.environ["NOTES"]).open("a", encoding="utf-8") as file:
        file.write(f"{word}\n")


def model() -> ChatOpenAI:
    """The scripted model."""
    return ChatOpenAI(model="scripted", stream_usage=True, max_retries=0)


@tool
def find_order(number: str) -> str:
    """Look up an order by its number."""
    note(f"find {number}")
    if number == "broken":
        raise ToolException("The register is down.")
    return f"Order {number} is packed."


@tool
async def wait_for(signal: str) -> str:
    """Wait until the test goes on."""
    note(f"wait {signal}")
    try:
        while not Path(os.environ["NOTES"]).with_name(signal).exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return "It went on."


@tool
async def block(seconds: float) -> str:
    """Block the event loop, as careless code does."""
    note("block")
    time.sleep(seconds)  # noqa: ASYNC251  (that is what it is for)
    return "Blocked."


@tool
def hold(seconds: float) -> str:
    """Work in a thread, which nobody can stop."""
    note("hold")
    time.sleep(seconds)
    note("held")
    return "Held."


find_order.handle_tool_error = True
agent = create_agent(model(), tools=[find_order, wait_for, block, hold], system_prompt="You help.")


@asynccontextmanager
async def graph() -> AsyncIterator[Any]:
    """A graph with a checkpointer: two nodes that are noted, and one that asks for approval."""

    def look(state: MessagesState) -> dict[str, Any]:
        note("look")
        return {"messages": [("ai", f"Looked for {len(state['messages'])}.")]}

    async def work(_state: MessagesState) -> dict[str, Any]:
        await wait_for.ainvoke({"signal": "go"})
        note("worked")
        return {"messages": [("ai", "Done.")]}

    async def approve(_state: MessagesState) -> dict[str, Any]:
        answer = interrupt("Shall I send it?")
        note(f"approved: {answer}")
        return {"messages": [("ai", f"Sent, as you said {answer!r}.")]}

    builder = StateGraph(MessagesState)
    for node in (look, work, approve):
        builder.add_node(node)
    builder.add_edge(START, "look")
    builder.add_edge("look", "work")
    builder.add_edge("work", "approve")
    async with AsyncSqliteSaver.from_conn_string(os.environ["CHECKPOINTS"]) as checkpointer:
        yield builder.compile(checkpointer=checkpointer)


async def echo(messages: list[BaseMessage]) -> AsyncIterator[str]:
    """An async generator that repeats what it read."""
    for message in messages:
        yield f"[{message.type}: {message.text}]"


def fails(_messages: list[BaseMessage]) -> str:
    """Raises what nobody outside may read."""
    raise ValueError("the secret is swordfish")


async def staged(_messages: list[BaseMessage]) -> AsyncIterator[Any]:
    """Reasoning, two calls of tools with their results, and a reply, in many small pieces."""
    for word in ("I ", "should ", "look ", "🎈 "):
        yield AIMessageChunk([{"type": "reasoning", "reasoning": word}], id="m1")
        await pause()
    for word in ("Let ", "me ", "look."):
        yield AIMessageChunk(word, id="m1")
        await pause()
    calls = [
        {"name": "find", "args": {"number": number}, "id": f"call_{number}"} for number in "12"
    ]
    yield AIMessage("Let me look.", tool_calls=calls, id="m1")
    for number in "12":
        await pause()
        yield ToolMessage(f"grün {number}", tool_call_id=f"call_{number}", name="find")
    for word in ("So ", "it ", "is ", "grün ", "🎈."):
        yield AIMessageChunk(word, id="m2")
        await pause()


async def mumbles(_messages: list[BaseMessage]) -> AsyncIterator[Any]:
    """Text that a tool's result follows, and reasoning after which nothing comes."""
    yield AIMessageChunk("I look it up. ", id="m1")
    yield ToolMessage("green", tool_call_id="call_1", name="find")
    yield AIMessageChunk([{"type": "reasoning", "reasoning": "That is all."}], id="m2")


@asynccontextmanager
async def leaves() -> AsyncIterator[Any]:
    """A factory that ends the program."""
    sys.exit(3)
    yield echo


async def pause() -> None:
    """Go on when the test has let so many pieces go; without a file for that, at once."""
    number = next(PIECES)
    file = Path(os.environ["NOTES"]).with_name("pace")
    while file.exists() and number > int(file.read_text()):
        await asyncio.sleep(0.005)


PIECES = itertools.count(1)
