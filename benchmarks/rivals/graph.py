"""A chat server on LangGraph, whose SQLite checkpointer keeps the conversations.

One node that calls the model, and a thread for each session: LangGraph's own quick start, which is
what LangChain's documentation sends the users of `RunnableWithMessageHistory` to. The checkpointer
sets WAL mode itself and keeps SQLite's default of `synchronous` (FULL), and everything goes through
its one connection. How often it stores is LangGraph's default too. The model is sent the last five
messages before the new one.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from langchain_core.messages import AIMessageChunk, BaseMessage, SystemMessage, trim_messages
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel

from benchmarks.rivals import common

Graph = CompiledStateGraph[Any, Any, Any, Any]

settings = common.settings()
model = common.chat_model(settings)
trimmer = trim_messages(max_tokens=common.PRIOR + 1, strategy="last", token_counter=len)


async def call(state: MessagesState) -> dict[str, list[BaseMessage]]:
    """The graph's one node."""
    recent = await trimmer.ainvoke(state["messages"])
    return {"messages": [await model.ainvoke([SystemMessage(common.SYSTEM), *recent])]}


builder = StateGraph(MessagesState)
builder.add_node("model", call)
builder.add_edge(START, "model")
builder.add_edge("model", END)


class Reply(BaseModel):
    """What the model said."""

    response: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the checkpointer for as long as the server runs."""
    async with AsyncSqliteSaver.from_conn_string(str(settings.folder / "graph.db")) as saver:
        app.state.graph = builder.compile(checkpointer=saver)
        yield


app = FastAPI(lifespan=lifespan)


def thread(session_id: str) -> RunnableConfig:
    """A session's thread."""
    return {"configurable": {"thread_id": session_id}}


def input_of(turn: common.Turn) -> tuple[dict[str, list[dict[str, str]]], RunnableConfig]:
    """A turn, as the graph takes it."""
    return {"messages": [{"role": "user", "content": turn.message}]}, thread(turn.session_id)


@app.post("/chat")
async def chat(turn: common.Turn, request: Request) -> Reply:
    """Answer in one piece."""
    state = await request.app.state.graph.ainvoke(*input_of(turn))
    return Reply(response=state["messages"][-1].text)


async def events(graph: Graph, turn: common.Turn) -> AsyncIterator[str]:
    """Pass the reply's pieces on as they come."""
    async for piece, _ in graph.astream(*input_of(turn), stream_mode="messages"):
        if isinstance(piece, AIMessageChunk) and piece.text:
            yield f"data: {json.dumps({'text': piece.text})}\n\n"
    yield "data: [DONE]\n\n"


@app.post("/chat/stream")
async def stream(turn: common.Turn, request: Request) -> StreamingResponse:
    """Answer as server-sent events."""
    return StreamingResponse(events(request.app.state.graph, turn), media_type="text/event-stream")


@app.get("/history")
async def history(request: Request, session_id: str, limit: int = 50) -> common.History:
    """The newest messages of a session."""
    state = await request.app.state.graph.aget_state(thread(session_id))
    return common.spoken(state.values.get("messages", []), limit)


if __name__ == "__main__":
    common.serve(app, settings.port)
