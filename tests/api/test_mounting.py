"""Chatkeep within another application, with objects of that as models."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from langchain_core.messages import BaseMessage

from chatkeep.app import create_app
from chatkeep.settings import Settings


async def parrot(messages: list[BaseMessage]) -> AsyncIterator[str]:
    for word in messages[-1].text.split():
        yield f"{word} "


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path, allowed_hosts=("testserver",))
    chatkeep = create_app(settings, models={"parrot": parrot})

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with chatkeep.router.lifespan_context(chatkeep):
            yield

    app = FastAPI(lifespan=lifespan)
    # At the path that one of its own routes has.
    app.mount("/chat", chatkeep)

    @app.get("/")
    async def home() -> str:
        return "the other one"

    with TestClient(app) as opened:
        yield opened


def test_everything_works_below_the_path_where_it_is_mounted(client: TestClient) -> None:
    assert client.get("/").json() == "the other one"
    for path in ("/chat/healthz", "/chat/readyz", "/chat/", "/chat/assets/index.js"):
        assert client.get(path).status_code == 200, path
    body = {"session_id": "a/b", "message": "good morning"}
    answer = client.post("/chat/chat", json=body).json()
    assert (answer["response"], answer["model"]) == ("good morning ", "parrot")
    assert client.get("/chat/models").json()["default"] == "parrot"
    for name in ("a/b", "a%2Fb"):
        history = client.get(f"/chat/history/{name}").json()
        assert [message["content"] for message in history] == ["good morning", "good morning "]
    client.post("/chat/chat", json={**body, "session_id": "other"})
    link = client.get("/chat/sessions", params={"limit": 1}).headers["link"]
    assert link.startswith("<sessions?")


def test_a_websocket_is_opened_below_that_path_too(client: TestClient) -> None:
    request = {"type": "response.create", "model": "parrot", "input": "good morning"}
    with client.websocket_connect("/chat/v1/responses") as connection:
        connection.send_json({**request, "store": False})
        while (event := connection.receive_json())["type"] != "response.completed":
            assert event["type"].startswith("response."), event
    assert event["response"]["output"][0]["content"][0]["text"] == "good morning "


def test_the_address_of_a_stream_leads_to_it(client: TestClient) -> None:
    body = {"session_id": "s", "message": "good morning"}
    stream = client.post("/chat/chat", json=body, headers={"Accept": "text/event-stream"})
    location = stream.headers["content-location"]
    again = client.get(location, headers={"Accept": "text/event-stream"})
    assert again.text.endswith(stream.text.partition("event: turn.completed")[2])


def test_what_leads_nowhere_is_unknown_there_too(client: TestClient) -> None:
    for path in ("/chat/nothing", "/chat/chat/chat", "/chatter"):
        assert client.get(path).status_code == 404, path
