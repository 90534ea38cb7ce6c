"""Responses over a WebSocket, with a real server and the clients that people use."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import websockets.exceptions
from websockets.sync.client import ClientConnection, connect

from tests.process import PATIENCE, Server, files_with, run_command, until
from tests.upstream import Answer, ToolCall, Upstream, polite

MODEL = "openai:scripted"
MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": MODEL,
        "CHATKEEP_MAX_BODY_BYTES": str(MAX_BYTES),
        "CHATKEEP_MAX_CHAT_BYTES": str(MAX_BYTES),
        "CHATKEEP_HEARTBEAT_SECONDS": "0.3",
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def address(server: Server) -> str:
    return f"{server.url.replace('http', 'ws', 1)}/v1/responses"


@contextlib.contextmanager
def opened(server: Server, **headers: str) -> Iterator[ClientConnection]:
    with connect(
        address(server), additional_headers=headers, open_timeout=PATIENCE, max_size=None
    ) as connection:
        yield connection


def send(connection: ClientConnection, **members: Any) -> None:
    message = {"type": "response.create", "model": MODEL, **members}
    connection.send(json.dumps(message))


def receive(connection: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(PATIENCE))
    return message


ENDS = {"response.completed", "response.failed", "response.incomplete", "error"}


def events(connection: ClientConnection) -> list[dict[str, Any]]:
    """The events of one response, or the error instead."""
    received = [receive(connection)]
    while received[-1]["type"] not in ENDS:
        received.append(receive(connection))
    return received


def respond(connection: ClientConnection, **members: Any) -> dict[str, Any]:
    """The response to a request."""
    send(connection, **members)
    last = events(connection)[-1]
    assert last["type"] == "response.completed", last
    response: dict[str, Any] = last["response"]
    return response


def refused(connection: ClientConnection, **members: Any) -> dict[str, Any]:
    """The error that a request is answered with."""
    send(connection, **members)
    [message] = events(connection)
    assert message["type"] == "error", message
    error: dict[str, Any] = message["error"]
    return error | {"status": message["status"]}


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
def test_openais_client_has_a_conversation_over_one_connection(
    server: Server, upstream: Upstream
) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    ids: list[str] = []
    with client.responses.connect() as connection:
        for number, question in enumerate(("one", "two", "three")):
            connection.response.create(
                model=MODEL, input=question, previous_response_id=ids[-1] if ids else None
            )
            text = ""
            for event in connection:
                if event.type == "response.output_text.delta":
                    text += event.delta
                if event.type == "response.completed":
                    ids.append(event.response.id)
                    assert event.response.output_text == text == f"Reply to: {question}"
                    break
            sent = [m for m in upstream.replies[-1].messages if m[0] != "system"]
            assert len(sent) == 2 * number + 1
    # What was stored is there for every other client, too.
    assert client.responses.retrieve(ids[-1]).output_text == "Reply to: three"
    assert len(client.responses.input_items.list(ids[0]).data) == 1


def test_the_events_are_those_of_the_stream_over_http(server: Server, upstream: Upstream) -> None:
    with opened(server) as connection:
        send(connection, input="hello")
        sent = events(connection)
    response_id = sent[-1]["response"]["id"]
    with (
        server.client() as client,
        client.stream("GET", f"/v1/responses/{response_id}", params={"stream": "true"}) as stream,
    ):
        lines = [line for line in stream.iter_lines() if line.startswith("data: {")]
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    assert [json.loads(line.removeprefix("data: ")) for line in lines] == sent


def test_responses_that_are_not_stored_go_on_from_each_other_within_a_connection(
    server: Server, upstream: Upstream
) -> None:
    with opened(server) as connection:
        first = respond(connection, input="my word is heron", store=False)
        second = respond(
            connection, input="which word?", store=False, previous_response_id=first["id"]
        )
        assert second["previous_response_id"] == first["id"]
        respond(connection, input="again", store=False, previous_response_id=second["id"])
        assert upstream.replies[-1].messages == [
            ("user", "my word is heron"),
            ("assistant", "Reply to: my word is heron"),
            ("user", "which word?"),
            ("assistant", "Reply to: which word?"),
            ("user", "again"),
        ]
        # Only the last one is remembered.
        error = refused(connection, input="x", store=False, previous_response_id=first["id"])
        assert (error["status"], error["code"]) == (400, "previous_response_not_found")
        with opened(server) as another:
            error = refused(another, input="x", store=False, previous_response_id=second["id"])
            assert error["code"] == "previous_response_not_found"
    with server.client() as client:
        assert client.get(f"/v1/responses/{second['id']}").status_code == 404
    assert files_with(server.folder, "my word is heron") == []


def test_what_was_not_stored_can_become_the_beginning_of_what_is(
    server: Server, upstream: Upstream
) -> None:
    with opened(server) as connection:
        first = respond(connection, input="my word is egret", store=False)
        second = respond(connection, input="which word?", previous_response_id=first["id"])
    with server.client() as client:
        body = {"model": MODEL, "input": "again", "previous_response_id": second["id"]}
        client.post("/v1/responses", json=body)
    contents = [text for role, text in upstream.replies[-1].messages if role == "user"]
    assert contents == ["my word is egret", "which word?", "again"]


def test_a_response_that_is_not_stored_goes_on_from_one_that_is(
    server: Server, upstream: Upstream
) -> None:
    with opened(server) as connection:
        first = respond(connection, input="my word is stork")
        respond(connection, input="which word?", store=False, previous_response_id=first["id"])
        assert upstream.replies[-1].messages == [
            ("user", "my word is stork"),
            ("assistant", "Reply to: my word is stork"),
            ("user", "which word?"),
        ]


def test_tools_are_called_and_their_outputs_read_without_a_session(
    server: Server, upstream: Upstream
) -> None:
    upstream.script = lambda call: (
        polite(call)
        if call.tool_results
        else Answer(["Let me see."], tool_calls=[ToolCall("weather", {"city": "Oslo"})])
    )
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    with opened(server) as connection:
        first = respond(connection, input="rain?", store=False, tools=[tool])
        [call] = [item for item in first["output"] if item["type"] == "function_call"]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "wet"}
        respond(
            connection,
            input=[output],
            store=False,
            tools=[tool],
            previous_response_id=first["id"],
        )
        assert upstream.replies[-1].tool_results == [(call["call_id"], "wet")]
        assert ("assistant", "Let me see.") in upstream.replies[-1].messages


def test_a_continuation_that_fails_is_the_end_of_its_chain(
    server: Server, upstream: Upstream
) -> None:
    output = {"type": "function_call_output", "call_id": "call_missing", "output": "?"}
    with opened(server) as connection:
        first = respond(connection, input="hello", store=False)
        error = refused(connection, input=[output], store=False, previous_response_id=first["id"])
        assert (error["code"], error["param"]) == ("invalid_value", "input[0].call_id")
        error = refused(connection, input="again", store=False, previous_response_id=first["id"])
        assert error["code"] == "previous_response_not_found"
        upstream.script = lambda _call: Answer(status=400, body=b"{}")
        first = respond_failed(connection)
        assert first["status"] == "failed"
        upstream.script = polite
        assert respond(connection, input="a new one", store=False)["status"] == "completed"


def respond_failed(connection: ClientConnection) -> dict[str, Any]:
    send(connection, input="hello", store=False)
    last = events(connection)[-1]
    assert last["type"] == "response.failed"
    response: dict[str, Any] = last["response"]
    return response


def test_a_request_that_generates_nothing_only_prepares_the_next(
    server: Server, upstream: Upstream
) -> None:
    with opened(server) as connection:
        send(connection, input="my word is ibis", store=False, generate=False)
        sent = events(connection)
        assert [event["type"] for event in sent] == [
            "response.created",
            "response.in_progress",
            "response.completed",
        ]
        response = sent[-1]["response"]
        assert (response["status"], response["output"]) == ("completed", [])
        assert upstream.replies == []
        respond(connection, input="which?", store=False, previous_response_id=response["id"])
    assert upstream.replies[-1].messages == [("user", "my word is ibis"), ("user", "which?")]


def test_what_is_only_prepared_has_the_conversation_before_it(
    server: Server, upstream: Upstream
) -> None:
    with opened(server) as connection:
        first = respond(connection, input="my word is crane")
        prepared = respond(
            connection, input="listen", generate=False, previous_response_id=first["id"]
        )
        assert prepared["store"] is False
        respond(connection, input="which?", previous_response_id=prepared["id"])
        texts = [text for role, text in upstream.replies[-1].messages if role == "user"]
        assert texts == ["my word is crane", "listen", "which?"]
        session = next(iter(server.sessions()))
        error = refused(connection, input="x", generate=False, conversation=session)
        assert (error["code"], error["param"]) == ("unsupported_parameter", "generate")


def test_requests_wait_for_the_one_before_them_and_too_many_are_refused(
    server: Server, upstream: Upstream
) -> None:
    gate = threading.Event()
    upstream.script = lambda call: Answer([f"Reply to: {call.messages[-1][1]}"], gate=gate)
    with opened(server) as connection:
        for number in range(20):
            send(connection, input=str(number), store=False, stream_id=f"lane {number}")
        received = []
        while not (received and received[-1]["type"] == "error"):
            received.append(receive(connection))
        assert received[-1]["error"]["code"] == "rate_limit_exceeded"
        assert len(upstream.replies) <= 1
        gate.set()
        ends = [event for event in received if event["type"] in ENDS]
        while len(ends) < 20:
            event = receive(connection)
            ends += [event] if event["type"] in ENDS else []
    answered = [end for end in ends if end["type"] == "response.completed"]
    assert len(answered) >= 16
    assert [text_of(end["response"]) for end in answered] == [
        f"Reply to: {number}" for number in range(len(answered))
    ]
    assert [end["stream_id"] for end in answered] == [f"lane {n}" for n in range(len(answered))]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "malformed_body"),
        ("[1]", "invalid_request"),
        ("{}", "invalid_value"),
        ('{"type": "session.update"}', "invalid_value"),
        ('{"type": "response.create"}', "missing_required_parameter"),
        ('{"type": "response.create", "model": "gpt-9", "input": "x"}', "model_not_found"),
    ],
)
def test_what_cannot_be_answered_is_an_error_and_the_connection_goes_on(
    server: Server, message: str, code: str
) -> None:
    with opened(server) as connection:
        connection.send(message)
        answer = receive(connection)
        assert (answer["type"], answer["error"]["code"]) == ("error", code)
        assert answer["status"] in {400, 404}
        assert respond(connection, input="hello", store=False)["status"] == "completed"


def test_steering_is_refused_in_its_own_words(server: Server) -> None:
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": "faster"}
    with opened(server) as connection:
        connection.send(json.dumps(steer))
        failed = receive(connection)
    assert failed["type"] == "response.steer.failed"
    assert failed["error"]["code"] == "steering_not_supported"
    assert failed["steer"] == {"previous_response_id": "resp_1"}


def test_a_message_that_is_too_large_ends_the_connection(server: Server) -> None:
    with opened(server) as connection:
        send(connection, input="x" * MAX_BYTES, store=False)
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            receive(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_stored_response_goes_on_without_its_connection_and_the_same_request_joins_it(
    server: Server, upstream: Upstream
) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda _call: Answer(["one ", "two ", "three"], pace=pace)
    with opened(server) as connection:
        send(connection, input="count")
        response_id = receive(connection)["response"]["id"]
        pace.release()
    with server.client() as client:
        path = f"/v1/responses/{response_id}"
        # The server has noticed that its client is gone once the request joins.
        with opened(server) as connection:
            send(connection, input="count")
            created = receive(connection)
            pace.release(100)
            last = events(connection)[-1]
        joined = created["response"]["id"]
        assert client.get(path).json()["status"] in {"completed", "in_progress"}
    assert joined == response_id
    assert text_of(last["response"]) == "one two three"
    assert len(upstream.replies) == 1


def test_a_response_that_is_not_stored_ends_with_its_connection(
    server: Server, upstream: Upstream
) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda _call: Answer(["word "] * 50, pace=pace)
    with opened(server) as connection:
        send(connection, input="count", store=False)
        receive(connection)
        until(lambda: upstream.replies)
    pace.release(1_000)
    until(lambda: "unstored_turn_ended" in server.log.read_text())
    until(lambda: "turn-cancelled" in server.log.read_text())


def status_of_handshake(server: Server, **headers: str) -> tuple[int, Any]:
    with pytest.raises(websockets.exceptions.InvalidStatus) as failed, opened(server, **headers):
        pass
    response = failed.value.response
    return response.status_code, json.loads(response.body or b"{}")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://evil.example"}, "foreign_origin"),
        ({"Origin": "null"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
    ],
)
def test_a_foreign_page_does_not_get_a_connection(
    server: Server, headers: dict[str, str], code: str
) -> None:
    status, body = status_of_handshake(server, **headers)

    assert (status, body["error"]["code"]) == (403, code)


def test_a_name_that_is_not_the_servers_does_not_get_a_connection(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    with (
        pytest.raises(websockets.exceptions.InvalidStatus) as failed,
        connect(
            f"ws://evil.example:{port}/v1/responses", sock=_socket(server), open_timeout=PATIENCE
        ),
    ):
        pass
    assert failed.value.response.status_code == 403
    assert b"foreign_host" in (failed.value.response.body or b"")


def _socket(server: Server) -> Any:
    import socket

    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def test_no_other_address_takes_a_websocket(server: Server) -> None:
    for path in ("/chat", "/v1/chat/completions", "/", "/v1/responses/resp_1"):
        with (
            pytest.raises(websockets.exceptions.InvalidStatus) as failed,
            connect(server.url.replace("http", "ws", 1) + path, open_timeout=PATIENCE),
        ):
            pass
        assert failed.value.response.status_code == 404, path


def needs_key(server: Server) -> bool:
    with server.client() as client:
        return client.get("/sessions").status_code == 401


def test_a_connection_needs_a_key_and_ends_with_it(tmp_path: Path, upstream: Upstream) -> None:
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": MODEL,
        "CHATKEEP_HEARTBEAT_SECONDS": "0.3",
    }
    with Server(tmp_path, env) as server:
        made = run_command("keys", "create", "app", env=server.env, folder=tmp_path)
        secret = made.stdout.strip()
        until(lambda: needs_key(server))
        status, body = status_of_handshake(server)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        headers = {"Authorization": f"Bearer {secret}"}
        with opened(server, **headers, **{"Chatkeep-User": "alice"}) as connection:
            response = respond(connection, input="hello")
            with server.client(headers=headers) as client:
                path = f"/v1/responses/{response['id']}"
                assert client.get(path).status_code == 404
                user = {"Chatkeep-User": "alice"}
                assert client.get(path, headers=user).status_code == 200
            rows = run_command("keys", "list", env=server.env, folder=tmp_path).stdout
            key_id = rows.splitlines()[-1].split("\t")[0]
            run_command("keys", "revoke", "--yes", key_id, env=server.env, folder=tmp_path)
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                receive(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_server_that_stops_tells_its_connections(tmp_path: Path, upstream: Upstream) -> None:
    with Server(tmp_path, {**upstream.env, "CHATKEEP_MODEL": MODEL}) as server:
        with opened(server) as connection:
            respond(connection, input="hello", store=False)
            server.stop()
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                receive(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
