"""A LangGraph graph behind GraphServe: a server of OpenAI's Responses protocol, from PyPI.

GraphServe has no store of its own: what it keeps is in the checkpointer of the graph, here that of
`graph.py`, on disk. A conversation is named `conv_` and 32 hexadecimal digits (any other name
silently begins a new one), and a turn is one request:

    POST /v1/responses {"model": "chat", "conversation": "conv_…", "input": "…", "stream": false}

With `"stream": true` it answers in OpenAI's events (`response.output_text.delta`). The history is
`GET /v1/responses/resp_chat.…/input_items?limit=50` with the same digits: the whole conversation,
the oldest messages first, and `limit` takes the oldest ones.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from graphserve import GraphRegistry, create_openai_router
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.rivals import common, graph

registry = GraphRegistry()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Open the checkpointer for as long as the server runs."""
    path = str(graph.settings.folder / "served.db")
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        registry.register("chat", graph.builder.compile(checkpointer=saver))
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(create_openai_router(registry), prefix="/v1")


if __name__ == "__main__":
    common.serve(app, graph.settings.port)
