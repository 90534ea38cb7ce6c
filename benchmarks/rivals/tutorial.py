"""A chat server as LangChain's tutorials teach it, with its messages in SQLite.

The pieces are theirs: `prompt | model | StrOutputParser` in `RunnableWithMessageHistory`, and
`SQLChatMessageHistory` on an asynchronous engine, made anew for every request. LangChain has
deprecated the first and no longer maintains the package of the second; they are still what one
finds.

Choices, each in the subject's favour where ordinary users differ. The database is in WAL mode and a
writer waits 30 seconds for another (by default it is a rollback journal and 5 seconds, and a reply
whose storing fails is answered all the same). `synchronous` stays SQLite's FULL, as in Chatkeep,
unless the environment's SYNC says another. The model is sent the last five messages only, trimmed
the documented way, though the history loads all of them. The title of a new session is made after
its first reply; a session that has one is asked for it by primary key.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import itemgetter

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_community.chat_message_histories import SQLChatMessageHistory
from langchain_core.messages import trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory
from pydantic import BaseModel
from sqlalchemy import Column, MetaData, String, Table, event, insert, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.rivals import common

settings = common.settings()
engine = create_async_engine(f"sqlite+aiosqlite:///{settings.folder / 'tutorial.db'}?timeout=30")
if (synchronous := os.environ.get("SYNC")) is not None:

    @event.listens_for(engine.sync_engine, "connect")
    def relax(connection: DBAPIConnection, _record: object) -> None:
        """Do not wait for the disk as Chatkeep does."""
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.close()


tables = MetaData()
titles = Table(
    "titles",
    tables,
    Column("session_id", String, primary_key=True),
    Column("title", String, nullable=False),
)

model = common.chat_model(settings)
prompt = ChatPromptTemplate.from_messages(
    [("system", common.SYSTEM), MessagesPlaceholder("history"), ("human", "{input}")]
)
trimmer = trim_messages(max_tokens=common.PRIOR, strategy="last", token_counter=len)
chain = (
    RunnablePassthrough.assign(history=itemgetter("history") | trimmer)
    | prompt
    | model
    | StrOutputParser()
)
titler = (
    ChatPromptTemplate.from_template(
        "Write a title of at most six words for a conversation that begins: {input}"
    )
    | model
    | StrOutputParser()
)


def stored(session_id: str) -> SQLChatMessageHistory:
    """The messages of one session."""
    return SQLChatMessageHistory(session_id, connection=engine)


conversation = RunnableWithMessageHistory(
    chain, stored, input_messages_key="input", history_messages_key="history"
)


class Reply(BaseModel):
    """What the model said, and what the session is called."""

    response: str
    title: str


async def titled(turn: common.Turn) -> str:
    """The title of a session; its first turn has it made."""
    async with engine.connect() as connection:
        query = select(titles.c.title).where(titles.c.session_id == turn.session_id)
        title = await connection.scalar(query)
    if title is None:
        title = await titler.ainvoke({"input": turn.message})
        async with engine.begin() as connection:
            row = insert(titles).values(session_id=turn.session_id, title=title)
            await connection.execute(row.prefix_with("OR IGNORE"))
    return title


def input_of(turn: common.Turn) -> tuple[dict[str, str], RunnableConfig]:
    """A turn, as the chain takes it."""
    return {"input": turn.message}, {"configurable": {"session_id": turn.session_id}}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Prepare the database, and let go of it."""
    async with engine.connect() as connection:
        await connection.execute(text("PRAGMA journal_mode=WAL"))
    async with engine.begin() as connection:
        await connection.run_sync(tables.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/chat")
async def chat(turn: common.Turn) -> Reply:
    """Answer in one piece."""
    response = await conversation.ainvoke(*input_of(turn))
    return Reply(response=response, title=await titled(turn))


async def events(turn: common.Turn) -> AsyncIterator[str]:
    """Pass the reply's pieces on as they come, then see to the title."""
    async for piece in conversation.astream(*input_of(turn)):
        if piece:
            yield f"data: {json.dumps({'text': piece})}\n\n"
    await titled(turn)
    yield "data: [DONE]\n\n"


@app.post("/chat/stream")
async def stream(turn: common.Turn) -> StreamingResponse:
    """Answer as server-sent events."""
    return StreamingResponse(events(turn), media_type="text/event-stream")


@app.get("/history")
async def history(session_id: str, limit: int = 50) -> common.History:
    """The newest messages of a session."""
    return common.spoken(await stored(session_id).aget_messages(), limit)


if __name__ == "__main__":
    common.serve(app, settings.port)
