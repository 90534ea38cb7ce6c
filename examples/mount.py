"""An application of one's own, with Chatkeep and its page below /chat.

Run it in this folder:

    pip install langchain
    OPENAI_API_KEY=sk-... uvicorn mount:app --timeout-graceful-shutdown 5

Open http://127.0.0.1:8000/chat/ in a browser, or post to http://127.0.0.1:8000/chat/chat. Without a
time limit uvicorn would not stop while a page is open, because the page reads an endless stream.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from agent import agent
from chatkeep.app import create_app

# The agent runs on this application's event loop, where its connections belong.
chatkeep = create_app(models={"support": agent})


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Start and stop Chatkeep: Starlette does not run the lifespan of what is mounted."""
    async with chatkeep.router.lifespan_context(chatkeep):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/chat", chatkeep)


@app.get("/")
async def home() -> dict[str, str]:
    """Answer a request to the application itself."""
    return {"chat": "/chat/"}
