"""What the rival subjects have in common: their environment, and how they are served."""

import os
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

from benchmarks.rivals import SYSTEM

__all__ = [
    "PRIOR",
    "SYSTEM",
    "History",
    "Settings",
    "Spoken",
    "Turn",
    "chat_model",
    "serve",
    "spoken",
]

PRIOR = 5
"""Messages before the new one that the model is sent, as Chatkeep sends them."""


@dataclass(frozen=True)
class Settings:
    """What the environment of a subject sets."""

    base_url: str
    api_key: str
    model: str
    folder: Path
    port: int


def settings() -> Settings:
    """Read the environment, and make the folder of the database."""
    folder = Path(os.environ["DATA_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    return Settings(
        base_url=os.environ["OPENAI_BASE_URL"],
        api_key=os.environ["OPENAI_API_KEY"],
        model=os.environ["MODEL"],
        folder=folder,
        port=int(os.environ["PORT"]),
    )


def chat_model(chosen: Settings) -> ChatOpenAI:
    """LangChain's client of the model, with the defaults of its documentation."""
    return ChatOpenAI(
        model=chosen.model, base_url=chosen.base_url, api_key=SecretStr(chosen.api_key)
    )


class Turn(BaseModel):
    """One message of a user."""

    session_id: str
    message: str


class Spoken(BaseModel):
    """One stored message."""

    role: str
    content: str


class History(BaseModel):
    """The newest messages of a session, oldest first."""

    messages: list[Spoken]


def spoken(messages: list[BaseMessage], limit: int) -> History:
    """The tutorials' way to page: all of a session was loaded, and its end is shown."""
    roles = {"human": "user", "ai": "assistant"}
    return History(
        messages=[
            Spoken(role=roles.get(message.type, message.type), content=str(message.text))
            for message in messages[-limit:]
        ]
    )


def serve(app: FastAPI, port: int) -> None:
    """Serve on what uvicorn runs fastest on, in one process, as Chatkeep is served."""
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
