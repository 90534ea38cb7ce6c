"""What a user sees of a conversation, on a real server with a scripted model."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from tests.process import PATIENCE, Server, until
from tests.upstream import Answer, Call, Upstream, polite


def test_turn_four_reads_the_system_prompt_the_five_messages_before_and_the_new_one(
    server: Server, upstream: Upstream, session: str
) -> None:
    for number in range(1, 5):
        assert server.chat(session, f"question {number}").status_code == 200

    sent = upstream.replies[3].messages

    assert sent[0][0] == "system"
    assert sent[1:] == [
        ("assistant", "Reply to: question 1"),
        ("user", "question 2"),
        ("assistant", "Reply to: question 2"),
        ("user", "question 3"),
        ("assistant", "Reply to: question 3"),
        ("user", "question 4"),
    ]


def test_a_first_turn_makes_one_more_call_for_the_title_that_starts_before_the_reply_ends(
    server: Server, upstream: Upstream, session: str
) -> None:
    title_came = threading.Event()

    def script(call: Call) -> Answer:
        if call.is_title:
            title_came.set()
            return polite(call)
        # The reply is held back until the title's call is there: it must not wait for the reply.
        return Answer(["Held back."], gate=title_came)

    upstream.script = script
    first = server.chat(session, "plan a picnic").json()
    server.chat(session, "and a second one")

    assert first["title"] == "plan a picnic"
    assert len(upstream.titles) == 1
    assert len(upstream.replies) == 2
    assert server.sessions()[session]["title_source"] == "model"


def test_an_answer_has_the_contracts_members(server: Server, session: str) -> None:
    answer = server.chat(session, "hello there friend").json()

    assert set(answer) == {
        "response",
        "session_id",
        "title",
        "turn_id",
        "user_message_id",
        "message_id",
        "model",
        "usage",
        "finish_reason",
    }
    assert answer["response"] == "Reply to: hello there friend"
    assert answer["usage"] == {"input_tokens": 11, "output_tokens": 7}
    assert answer["finish_reason"] == "stop"
    history = server.history(session)
    assert [message["id"] for message in history] == [
        answer["user_message_id"],
        answer["message_id"],
    ]
    assert {message["turn_id"] for message in history} == {answer["turn_id"]}


def test_plain_text_is_the_models_text_and_nothing_else(server: Server, session: str) -> None:
    with server.client(headers={"accept": "text/plain"}) as client:
        response = client.post("/chat", json={"session_id": session, "message": "grüße an alle"})

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "Reply to: grüße an alle"


def test_two_simultaneous_first_posts_make_one_session_and_one_title(
    server: Server, upstream: Upstream, session: str
) -> None:
    before = len(server.sessions())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: server.chat(session, f"first of all {n}"), range(8)))

    assert [answer.status_code for answer in answers] == [200] * 8
    assert len(server.sessions()) == before + 1
    assert len(upstream.titles) == 1
    assert len(server.history(session)) == 16


def test_fifty_posts_at_once_lose_nothing_and_every_prompt_is_what_was_stored_before_it(
    server: Server, upstream: Upstream
) -> None:
    posts = [(f"s{n % 5}", f"message {n}") for n in range(50)]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda post: server.chat(*post), posts))

    assert [answer.status_code for answer in answers] == [200] * 50
    prompts = {call.messages[-1][1]: call.messages[1:-1] for call in upstream.replies}
    assert len(prompts) == 50
    for session in range(5):
        stored = [(m["role"], m["content"]) for m in server.history(f"s{session}")]
        assert len(stored) == 20
        assert {text for role, text in stored if role == "user"} == {
            text for name, text in posts if name == f"s{session}"
        }
        for index in range(0, 20, 2):
            assert stored[index + 1] == ("assistant", f"Reply to: {stored[index][1]}")
            assert prompts[stored[index][1]] == stored[max(0, index - 5) : index]


def test_a_turn_goes_on_when_its_client_goes_away(
    server: Server, upstream: Upstream, session: str
) -> None:
    model_called, answer_now = threading.Event(), threading.Event()

    def script(call: Call) -> Answer:
        if call.is_title:
            return polite(call)
        model_called.set()
        return Answer(["Still here."], gate=answer_now)

    upstream.script = script
    body = json.dumps({"session_id": session, "message": "are you there"}).encode()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = f"POST /chat HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        assert model_called.wait(PATIENCE)
    answer_now.set()

    history = until(lambda: messages if len(messages := server.history(session)) == 2 else None)
    assert history[1]["content"] == "Still here."
