"""A provider that fails, in every way that it can: the contract's status, and the session lives."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.process import PATIENCE, Server, until
from tests.upstream import Answer, Call, Upstream, polite

MODEL_TIMEOUT = 2


@pytest.fixture(scope="module", params=["direct", "langchain"])
def running_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    running_upstream: Upstream,
) -> Iterator[Server]:
    """The models of all three providers on one server that gives up soon."""
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_MODEL_CLIENT": request.param,
        "CHATKEEP_MODELS": "anthropic:scripted,ollama:scripted",
        "CHATKEEP_FIRST_TOKEN_TIMEOUT": str(MODEL_TIMEOUT),
        "CHATKEEP_MODEL_TIMEOUT": str(MODEL_TIMEOUT),
        "CHATKEEP_BODY_TIMEOUT": str(MODEL_TIMEOUT),
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def fails(answer: Answer) -> Callable[[Call], Answer]:
    return lambda call: polite(call) if call.is_title else answer


CASES = {
    "401": (Answer(status=401), 502, "model-misconfigured"),
    "403": (Answer(status=403), 502, "model-misconfigured"),
    "404": (Answer(status=404), 502, "model-misconfigured"),
    "429": (Answer(status=429, headers={"Retry-After": "0"}), 503, "model-busy"),
    "400": (Answer(status=400), 502, "model-failed"),
    "half a character": (
        Answer(status=400, body=b'{"error": {"message": "bad \\ud800"}, "type": "error"}'),
        502,
        "model-failed",
    ),
    "a date beyond time": (
        Answer(status=429, headers={"Retry-After": "Fri, 31 Dec 99999999999 23:59:59 GMT"}),
        503,
        "model-busy",
    ),
    "nothing but white space": (Answer([" ", "\n"]), 502, "model-failed"),
    "500": (Answer(status=500), 502, "model-failed"),
    "hangs": (Answer(hang=True), 504, "model-timed-out"),
    "cut mid-answer": (Answer(["one ", "two ", "three"], cut_after=3), 502, "model-failed"),
    "ends without an end": (Answer(["one ", "two"], finish=False), 502, "model-failed"),
    "empty": (Answer([]), 502, "model-failed"),
    "no API": (Answer(body=b"<html>not for you</html>"), 502, "model-misconfigured"),
}


@pytest.mark.parametrize("model", ["openai:scripted", "anthropic:scripted", "ollama:scripted"])
@pytest.mark.parametrize("case", CASES)
def test_a_failure_has_its_status_and_the_session_works_at_the_next_post(
    server: Server, upstream: Upstream, session: str, case: str, model: str
) -> None:
    answer, status, code = CASES[case]
    upstream.script = fails(answer)
    began = time.monotonic()

    failed = server.chat(session, "does it work?", model=model)

    assert time.monotonic() - began < PATIENCE
    assert (failed.status_code, failed.json()["type"]) == (status, f"/problems/{code}")
    assert failed.headers["content-type"] == "application/problem+json"
    assert failed.json()["turn_id"].startswith("turn_")
    assert "sk-" not in failed.text
    assert "/srv/secret" not in failed.text
    stored = server.history(session)
    assert stored[0]["content"] == "does it work?"
    assert {message["status"] for message in stored} == {"failed"}
    upstream.script = polite
    works = server.chat(session, "and now?", model=model)
    assert works.json()["response"] == "Reply to: and now?"


KEY, ADDRESS = (
    {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"},
    {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL", "ollama": "OLLAMA_HOST"},
)
TOO_LONG = b'{"error": {"message": "This model\'s maximum context length is 8192 tokens"}}'
MESSAGES = {
    "401": (Answer(status=401), "The API key was rejected. Check {key} on the server."),
    "403": (
        Answer(status=403),
        "The API key may not use this model (HTTP 403). Check {key} on the server.",
    ),
    "404": (
        Answer(status=404),
        "The model's provider does not know this model (HTTP 404). Check the model's name, and "
        "{address} on the server.",
    ),
    "429": (
        Answer(status=429, headers={"Retry-After": "0"}),
        "Rate limit reached. Try again in a moment.",
    ),
    "too long": (
        Answer(status=400, body=TOO_LONG),
        "This conversation is too long for the model. Read fewer previous messages, or start a "
        "new chat.",
    ),
    "cut mid-answer": (
        Answer(["one ", "two ", "three"], cut_after=3),
        "The answer broke off: the connection to the model was lost.",
    ),
    "ends without an end": (Answer(["one"], finish=False), "The answer broke off before its end."),
    "cut before any text": (
        Answer(["one"], cut_after=0),
        "The model closed the connection without an answer.",
    ),
    "empty": (Answer([]), "The model's answer was empty."),
}
REFUSED = "The model's provider refused access (HTTP {status}). Check OLLAMA_HOST on the server."


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
@pytest.mark.parametrize("case", MESSAGES)
def test_a_failure_says_what_happened_and_what_can_be_done(
    server: Server, upstream: Upstream, session: str, case: str, provider: str
) -> None:
    answer, message = MESSAGES[case]
    upstream.script = fails(answer)
    if provider == "ollama" and case in {"401", "403"}:
        message = REFUSED.format(status=case)

    failed = server.chat(session, "does it work?", model=f"{provider}:scripted").json()

    detail = message.format(key=KEY.get(provider), address=ADDRESS[provider])
    assert failed["detail"] == detail
    turn = server.get(f"/turns/{failed['turn_id']}")
    assert turn["error"] == {name: failed[name] for name in ("type", "title", "detail")}


def test_a_reply_that_is_cut_keeps_its_text_and_the_model_reads_it_next_time(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = fails(Answer(["half an ", "answer", " lost"], cut_after=3))

    server.chat(session, "tell me")
    upstream.script = polite
    server.chat(session, "go on")

    stored = [(m["role"], m["content"], m["status"]) for m in server.history(session)]
    assert stored[:2] == [
        ("user", "tell me", "failed"),
        ("assistant", "half an answer", "failed"),
    ]
    assert upstream.replies[-1].messages[1:] == [
        ("user", "tell me"),
        ("assistant", "half an answer"),
        ("user", "go on"),
    ]


def test_a_turn_without_any_reply_is_listed_and_stays_out_of_the_context(
    server: Server, upstream: Upstream, session: str
) -> None:
    server.chat(session, "first")
    upstream.script = fails(Answer(status=400))
    server.chat(session, "second")
    upstream.script = polite
    server.chat(session, "third")

    assert [m["content"] for m in server.history(session)] == [
        "first",
        "Reply to: first",
        "second",
        "third",
        "Reply to: third",
    ]
    assert upstream.replies[-1].messages[1:] == [
        ("user", "first"),
        ("assistant", "Reply to: first"),
        ("user", "third"),
    ]


def test_a_megabyte_of_text_is_an_answer(server: Server, upstream: Upstream, session: str) -> None:
    pieces = ["0123456789abcdef" * 256] * 256
    upstream.script = fails(Answer(pieces))

    answer = server.chat(session, "write a lot")

    assert answer.status_code == 200
    assert answer.json()["response"] == "".join(pieces)
    assert server.history(session)[1]["content"] == "".join(pieces)


def test_a_failure_that_passes_is_not_seen(
    server: Server, upstream: Upstream, session: str
) -> None:
    left = [Answer(status=500), Answer(status=429, headers={"Retry-After": "1"})]
    upstream.script = lambda call: polite(call) if call.is_title or not left else left.pop(0)

    answer = server.chat(session, "try again")

    assert answer.status_code == 200
    tries = upstream.replies
    assert len(tries) == 3
    assert tries[2].began - tries[1].began >= 1, "Retry-After was not waited for"


def test_a_provider_that_asks_for_a_long_pause_is_not_waited_for(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = fails(Answer(status=429, headers={"Retry-After": "3600"}))

    answer = server.chat(session, "now please")

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3600"
    assert answer.json()["detail"] == "Rate limit reached. Try again in 60 minutes."
    assert len(upstream.replies) == 1


def test_a_refused_connection_is_a_failed_model_and_leaves_no_turn_running(
    tmp_path: Path,
) -> None:
    nobody = "http://127.0.0.1:9"
    models = ["openai:any", "anthropic:any", "ollama:any"]
    env = {
        "CHATKEEP_MODEL": models[0],
        "CHATKEEP_MODELS": ",".join(models[1:]),
        "OPENAI_BASE_URL": nobody,
        "ANTHROPIC_BASE_URL": nobody,
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "OLLAMA_HOST": nobody,
    }
    with Server(tmp_path, env) as lonely:
        for model in models:
            for message in ("anyone there?", "still nobody?"):
                failed = lonely.chat(model, message, model=model)
                assert failed.status_code == 502
                assert failed.json()["type"] == "/problems/model-failed"
                assert failed.json()["detail"] == (
                    "The model could not be reached at 127.0.0.1:9. Check that it is running, and "
                    f"{ADDRESS[model.partition(':')[0]]} on the server."
                )
            assert [m["status"] for m in lonely.history(model)] == ["failed", "failed"]
            assert lonely.sessions()[model]["title"].startswith("Anyone there, ")


def test_a_missing_key_is_our_configuration(tmp_path: Path) -> None:
    env = {"CHATKEEP_MODEL": "anthropic:any", "CHATKEEP_MODELS": "openai:any"}
    with Server(tmp_path, env) as keyless:
        for model in ("anthropic:any", "openai:any"):
            failed = keyless.chat(model, "anyone there?", model=model)
            assert failed.status_code == 502
            assert failed.json()["type"] == "/problems/model-misconfigured"
            variable = KEY[model.partition(":")[0]]
            missing = f"The API key is missing. Set {variable} on the server."
            assert failed.json()["detail"] == missing


def test_a_models_text_is_cleaned_of_what_a_database_cannot_store(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = fails(Answer(["a\0b ", "\ud83d", "\ude00", " c\udc00", "\ud800"]))

    answer = server.chat(session, "write something odd")

    assert answer.json()["response"] == "a\ufffdb \U0001f600 c\ufffd\ufffd"
    assert server.history(session)[1]["content"] == "a\ufffdb \U0001f600 c\ufffd\ufffd"


def test_a_title_call_that_fails_is_tried_again_and_harms_no_turn(
    server: Server, upstream: Upstream, session: str
) -> None:
    upstream.script = lambda call: Answer(status=400) if call.is_title else polite(call)
    first = server.chat(session, "garden plans for spring")
    assert first.status_code == 200
    assert server.sessions()[session]["title_source"] == "provisional"
    until(lambda: len(upstream.titles) == 3)

    upstream.script = polite

    def titled_after_another_turn() -> dict[str, str] | None:
        assert server.chat(session, "and for autumn").status_code == 200
        record: dict[str, str] = server.sessions()[session]
        return record if record["title_source"] == "model" else None

    assert until(titled_after_another_turn)["title"] == "garden plans for"


def test_keys_and_texts_are_not_in_the_log(
    server: Server, upstream: Upstream, session: str
) -> None:
    server.chat(session, "a very private matter")
    upstream.script = fails(Answer(status=401))
    server.chat(session, "a very private matter")

    log = server.log.read_text()
    assert "turn_ended" in log
    assert "private matter" not in log
    assert "sk-test" not in log
    for line in log.splitlines():
        if not line.startswith("Chatkeep answers"):
            json.loads(line)


def test_a_body_that_does_not_arrive_is_not_waited_for(server: Server) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = f"POST /chat HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 100\r\n"
        connection.sendall(f'{head}Content-Type: application/json\r\n\r\n{{"sess'.encode())
        connection.settimeout(PATIENCE)
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
