"""Objects that answer as `python:` models: they run in the server's own process."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain.tools import tool
from langchain_core.messages import BaseMessage
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
        raise ValueError("the register is down")
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


agent = create_agent(model(), tools=[find_order, wait_for, block], system_prompt="You help.")


async def graph() -> Any:
    """A graph with a checkpointer: two nodes that are noted, and one that asks for approval."""
    saver = AsyncSqliteSaver.from_conn_string(os.environ["CHECKPOINTS"])
    checkpointer = await saver.__aenter__()

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
    return builder.compile(checkpointer=checkpointer)


async def echo(messages: list[BaseMessage]) -> AsyncIterator[str]:
    """An async generator that repeats what it read."""
    for message in messages:
        yield f"[{message.type}: {message.text}]"


def fails(_messages: list[BaseMessage]) -> str:
    """Raises what nobody outside may read."""
    raise ValueError("the secret is 4711")
