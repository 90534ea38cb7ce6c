"""How long a connection lasts."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from chatkeep.api.openai import websocket

ADDRESS = "ws://localhost:8000/v1/responses"
REQUEST = {"type": "response.create", "model": "openai:scripted", "input": "Hi.", "store": False}


def test_a_connection_whose_time_is_over_is_told_so(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CONNECTION_SECONDS", 0)

    with client.websocket_connect(ADDRESS) as connection:
        message = connection.receive_json()
        assert (message["type"], message["status"]) == ("error", 400)
        assert message["error"]["code"] == "websocket_connection_limit_reached"
        with pytest.raises(WebSocketDisconnect) as closed:
            connection.receive_json()
    assert closed.value.code == 1000


def test_a_connection_without_requests_is_closed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "IDLE_SECONDS", 0)

    with (
        client.websocket_connect(ADDRESS) as connection,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        connection.receive_json()
    assert closed.value.code == 1000


def test_a_conversation_that_is_larger_than_a_request_is_not_remembered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket.Context, "size", 10**9)

    with client.websocket_connect(ADDRESS) as connection:
        connection.send_json(REQUEST)
        while (event := connection.receive_json())["type"] != "response.completed":
            pass
        connection.send_json({**REQUEST, "previous_response_id": event["response"]["id"]})
        assert connection.receive_json()["error"]["code"] == "previous_response_not_found"
