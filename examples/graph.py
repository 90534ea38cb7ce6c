"""A graph that writes a letter, and asks for approval before it sends it.

Run it in this folder:

    pip install langgraph langgraph-checkpoint-sqlite
    OPENAI_API_KEY=sk-... chatkeep serve --model letters=python:graph:graph

Ask for a letter, then answer "yes" or "no". The state of the graph is in `graph.db`, so that the
approval may come after a restart of the server.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

PROMPT = "Write the letter that the user wants: the letter only, in at most five sentences."

model = ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-6-luna"), stream_usage=True)
# The question below shows the letter; with this tag its words are not streamed on their own.
quiet_model = model.with_config(tags=["nostream"])


class State(MessagesState):
    """The messages, and the letter that waits for approval."""

    letter: str


async def write(state: State) -> dict[str, Any]:
    """Let the model write the letter."""
    reply = await quiet_model.ainvoke([SystemMessage(PROMPT), *state["messages"]])
    return {"letter": reply.text}


def approve(state: State) -> Command[Literal["send", "__end__"]]:
    """End the turn with a question. The session's next message is the answer."""
    answer = interrupt(f"{state['letter']}\n\nShall I send it? (yes or no)")
    if answer.strip().lower() == "yes":
        return Command(goto="send")
    return Command(goto="__end__", update={"messages": [AIMessage("I did not send it.")]})


def send(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Send the letter, once: each attempt of a turn has the same turn_id, so the same file."""
    path = Path("outbox", f"{config['configurable']['turn_id']}.txt")
    path.parent.mkdir(exist_ok=True)
    path.write_text(state["letter"])
    return {"messages": [AIMessage(f"Sent: {path}")]}


@asynccontextmanager
async def graph() -> AsyncIterator[Runnable[Any, Any]]:
    """Open the database of the checkpoints; Chatkeep closes it when the server stops."""
    builder = StateGraph(State).add_node(write).add_node(approve).add_node(send)
    builder.add_edge(START, "write").add_edge("write", "approve").add_edge("send", END)
    async with AsyncSqliteSaver.from_conn_string("graph.db") as checkpointer:
        yield builder.compile(checkpointer=checkpointer)
