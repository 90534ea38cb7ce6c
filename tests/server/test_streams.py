"""A turn's events: as the model writes them, again from anywhere, by any number of readers."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.process import Server, until
from tests.sse import STREAM, Reading, events, read
from tests.upstream import Answer, Call, Upstream, polite


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {"CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_HEARTBEAT_SECONDS": "0.2"}
    with Server(tmp_path_factory.mktemp("data"), running_upstream.env | env) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with server.client() as opened:
        yield opened


def stream(client: httpx2.Client, session: str, message: str, **more: object) -> Reading:
    """Post and read to the end."""
    reading = Reading()
    body = {"session_id": session, "message": message, **more}
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        for event in events(response):
            reading.take(event)
    return reading


def test_the_events_of_a_first_turn_come_in_order(
    client: httpx2.Client, server: Server, session: str
) -> None:
    body = {"session_id": session, "message": "plan a garden now"}
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        assert response.headers["cache-control"] == "no-store"
        events_seen = list(events(response))

    started, ended = events_seen[0], events_seen[-1]
    assert started.name == "turn.started"
    assert set(started.data) == {
        *("turn_id", "session_id", "user_message_id", "message_id", "model")
    }
    assert ended.name == "turn.completed"
    titled = [event.data for event in events_seen if event.name == "session.titled"]
    assert titled == [{"session_id": session, "title": "plan a garden"}]
    text = "".join(event.data["text"] for event in events_seen if event.name == "message.delta")
    assert text == ended.data["response"] == server.history(session)[-1]["content"]
    again = client.get(f"/turns/{ended.data['turn_id']}").json()
    assert (again["status"], again["attempt"], again["error"]) == ("completed", 1, None)
    assert [message["content"] for message in again["messages"]] == ["plan a garden now", text]
    assert len({event.id for event in events_seen}) == len(events_seen)


def test_text_is_passed_on_as_the_model_writes_it(
    client: httpx2.Client, upstream: Upstream, session: str
) -> None:
    pace = threading.Semaphore(0)
    pieces = ["Grüße ", "🎉🎉", " und", "\n\n", "👩‍👩‍👧 "]
    upstream.script = lambda call: polite(call) if call.is_title else Answer(pieces, pace=pace)
    seen = []
    body = {"session_id": session, "message": "write"}
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        for event in events(response):
            if event.name == "turn.started":
                pace.release()
            elif event.name == "message.delta":
                seen.append(event.data["text"])
                pace.release(1 if len(seen) < len(pieces) else 9)
    assert seen == pieces


def test_a_stream_goes_on_from_any_of_its_events_live_and_later(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    pace = threading.Semaphore(0)
    pieces = [f"piece {number} ✓ " for number in range(10)]
    upstream.script = lambda call: polite(call) if call.is_title else Answer(pieces, pace=pace)
    whole = Reading()
    body = {"session_id": session, "message": "write a lot"}
    with (
        ThreadPoolExecutor(20) as pool,
        client.stream("POST", "/chat", json=body, headers=STREAM) as response,
    ):
        resumed = []
        for event in events(response):
            whole.take(event)
            if event.name == "turn.started":
                turn_id = event.data["turn_id"]
            resumed.append((whole.text, pool.submit(read, client, turn_id, event.id)))
            pace.release(1 if len(resumed) < 9 else 9)
        live = [(before, job.result()) for before, job in resumed[:-1]]
    assert whole.text == whole.stored == "".join(pieces)
    later = [(before, read(client, turn_id, f"1-{len(before)}")) for before, _ in live]
    for before, rest in live + later:
        assert before + rest.text == rest.stored == whole.text
        assert rest.end == whole.end
        assert "turn.restarted" not in rest.names
    assert read(client, turn_id).text == whole.text

    assert whole.end is not None
    path = f"/turns/{turn_id}/events"
    assert client.get(path, params={"after": whole.end.id}).status_code == 204
    # The header is what a browser sends by itself: it knows better than the address.
    both = client.get(path, params={"after": "1-0"}, headers={"Last-Event-ID": whole.end.id})
    assert both.status_code == 204


def test_one_turn_is_read_by_many_at_once_in_every_form(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    go_on = threading.Event()
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["All ", "the same."], gate=go_on)
    )
    key = {"Idempotency-Key": f"many {session}".replace(" ", "-")}
    body = {"session_id": session, "message": "same for all"}

    def post(accept: str) -> httpx2.Response:
        with server.client() as own:
            return own.post("/chat", json=body, headers={"Accept": accept, **key})

    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(post, "application/json")
        until(lambda: len(upstream.replies) == 1)
        kinds = ["text/plain", "application/json", "text/event-stream"] * 3
        others = [pool.submit(post, kind) for kind in kinds]
        go_on.set()
        answers = [job.result() for job in others]
        turn_id = first.result().json()["turn_id"]
    assert len(upstream.replies) == 1
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["idempotent-replayed"] == "true"
    assert {answer.text for answer in answers[::3]} == {"All the same."}
    assert {answer.json()["turn_id"] for answer in answers[1::3]} == {turn_id}
    assert len({answer.text for answer in answers[2::3]}) <= 2  # the title came before or after


def test_an_idle_stream_is_kept_open_by_comments(
    client: httpx2.Client, upstream: Upstream, session: str
) -> None:
    go_on = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=go_on)
    comments: list[str] = []
    body = {"session_id": session, "message": "think long"}
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        lines = response.iter_lines()

        def seen() -> Iterator[str]:
            for line in lines:
                if line.startswith(":"):
                    comments.append(line)
                    if len(comments) == 2:
                        go_on.set()
                yield line

        names = [line for line in seen() if line.startswith("event: ")]
    assert len(comments) >= 2
    assert names[-1] == "event: turn.completed"


def test_a_reader_who_leaves_stops_nothing(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    pace = threading.Semaphore(0)
    upstream.script = lambda call: (
        polite(call) if call.is_title else Answer(["One.", " Two."], pace=pace)
    )
    body = {"session_id": session, "message": "count"}
    with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
        turn_id = next(events(response)).data["turn_id"]
    pace.release(9)
    until(lambda: client.get(f"/turns/{turn_id}").json()["status"] == "completed")
    assert server.history(session)[-1]["content"] == "One. Two."


def test_a_failure_is_the_last_event_with_the_problem_and_the_text_so_far(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    def script(call: Call) -> Answer:
        return polite(call) if call.is_title else Answer(["Once ", "upon"], cut_after=3)

    upstream.script = script
    reading = stream(client, session, "tell a story")

    assert reading.end is not None
    assert reading.end.name == "turn.failed"
    problem = reading.end.data
    assert (problem["type"], problem["status"]) == ("/problems/model-failed", 502)
    assert problem["text"] == reading.text == "Once upon"
    assert server.history(session)[-1]["content"] == "Once upon"
    again = read(client, problem["turn_id"])
    assert (again.text, again.end) == (reading.text, reading.end)


def test_white_space_alone_is_no_text_to_any_reader(
    client: httpx2.Client, upstream: Upstream, session: str
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer([" ", "\n", "\t "])
    reading = stream(client, session, "say nothing")
    assert "message.delta" not in reading.names
    assert reading.stored == ""
    upstream.script = lambda call: polite(call) if call.is_title else Answer([" ", "\n", " x"])
    assert stream(client, session, "say x").text == " \n x"


def test_a_turn_that_waits_can_be_read_from_now_on(
    client: httpx2.Client, server: Server, upstream: Upstream, session: str
) -> None:
    go_on = threading.Event()

    def script(call: Call) -> Answer:
        content = call.messages[-1][1]
        return Answer([content.upper()], gate=go_on if content == "first" else None)

    upstream.script = lambda call: polite(call) if call.is_title else script(call)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.chat, session, "first")
        until(lambda: len(upstream.replies) == 1)
        reading = Reading()
        body = {"session_id": session, "message": "second"}
        with client.stream("POST", "/chat", json=body, headers=STREAM) as response:
            for event in events(response):
                if event.name == "turn.started":
                    record = client.get(f"/turns/{event.data['turn_id']}").json()
                    go_on.set()
                reading.take(event)
        assert first.result().json()["response"] == "FIRST"
    assert record["status"] == "queued"
    assert [message["content"] for message in record["messages"]] == ["second"]
    assert reading.text == "SECOND"


def test_a_reply_of_a_million_characters_comes_in_bounded_events(
    client: httpx2.Client, upstream: Upstream, session: str
) -> None:
    huge = "äöü€🎈" * 200_000
    upstream.script = lambda call: polite(call) if call.is_title else Answer([huge])
    reading = stream(client, session, "write a book")
    again = read(client, str(reading.end and reading.end.data["turn_id"]))
    assert reading.text == again.text == huge
    assert again.names.count("message.delta") == -(-len(huge) // 16_384)


@pytest.mark.parametrize("after", ["x", "0-0", "1", "1--1", "1-1x", "1-0é", "9" * 101])
def test_a_position_that_is_none_is_refused(client: httpx2.Client, after: str) -> None:
    answer = client.get("/turns/turn_none/events", params={"after": after})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["", "/events", "/context"])
def test_an_unknown_turn_is_not_found(client: httpx2.Client, path: str) -> None:
    answer = client.get(f"/turns/turn_none{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/turn-not-found")


def test_a_position_that_the_turn_never_had_is_told_that_its_text_is_void(
    client: httpx2.Client, server: Server, session: str
) -> None:
    turn_id = server.chat(session, "hello you there").json()["turn_id"]
    for after in ("1-99999", "2-1", "7-0te"):
        reading = read(client, turn_id, after)
        assert reading.names[0] == "turn.restarted"
        assert reading.text == reading.stored


def test_a_reader_that_splits_at_every_kind_of_line_end_loses_nothing(
    server: Server, upstream: Upstream, session: str
) -> None:
    text = "one\u2028two\u2029three\x85four\nfive\r\nsix"
    upstream.script = lambda call: polite(call) if call.is_title else Answer([text])

    body = {"session_id": session, "message": "many lines please"}
    with server.client() as client:
        streamed = client.post("/chat", json=body, headers=STREAM).text

    lines = [line for line in streamed.splitlines() if '"text":' in line]
    assert [json.loads(line.removeprefix("data: "))["text"] for line in lines] == [text]
