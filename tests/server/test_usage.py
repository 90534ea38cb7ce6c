"""The count of tokens: every call, whatever became of it, and what is only an estimate."""

import contextlib
import threading
from typing import Any

import httpx2

from tests.process import Server, until
from tests.upstream import Answer, Call, Upstream, polite


def usage(server: Server, by: str, session: str, **only: str) -> list[dict[str, Any]]:
    with server.client() as client:
        filters = {"by": by, "session_id": session, **only}
        rows: list[dict[str, Any]] = client.get("/usage", params=filters).json()
        return rows


def counted(server: Server, session: str, kind: str) -> dict[str, Any]:
    rows = [row for row in usage(server, "session", session) if row["kind"] == kind]
    return rows[0] if rows else {"calls": 0}


def test_replies_and_titles_are_counted_apart(server: Server, session: str) -> None:
    for message in ("good morning to you", "and good evening"):
        server.chat(session, message)

    until(lambda: counted(server, session, "title")["calls"] == 1)
    reply = counted(server, session, "reply")
    assert (reply["calls"], reply["input_tokens"], reply["output_tokens"]) == (2, 22, 14)
    assert reply["estimated"] == reply["retries"] == reply["cancelled"] == reply["failed"] == 0
    title = counted(server, session, "title")
    assert (title["input_tokens"], title["output_tokens"]) == (11, 7)


def test_tokens_are_told_by_turn_model_and_day(server: Server, session: str) -> None:
    answers = [server.chat(session, f"good morning {n}").json() for n in range(3)]

    turns = [row for row in usage(server, "turn", session) if row["kind"] == "reply"]
    assert {row["turn_id"] for row in turns} == {answer["turn_id"] for answer in answers}
    (whole,) = [r for r in usage(server, "day,model,session", session) if r["kind"] == "reply"]
    day = server.sessions()[session]["updated_at"][:10]
    assert (whole["day"], whole["model"]) == (day, "openai:scripted")
    assert (whole["session_id"], whole["turn_id"]) == (session, None)
    assert usage(server, "day", session, until=day) == []
    assert usage(server, "day", session, since=day) != []


def test_what_a_provider_does_not_say_is_estimated_and_marked(
    server: Server, upstream: Upstream, session: str
) -> None:
    pace = threading.Semaphore(1)
    sentence = "A sentence of about ten tokens, all in all. "

    def script(call: Call) -> Answer:
        return polite(call) if call.is_title else Answer([sentence, "never"], pace=pace)

    upstream.script = script
    thread = threading.Thread(target=server.chat, args=(session, "x" * 4_000))
    thread.start()
    with server.client() as client:
        turn_id = until(
            lambda: (
                (response := client.get(f"/sessions/{session}")).is_success
                and response.json()["running_turn"]
            )
        )
        with client.stream("GET", f"/turns/{turn_id}/events") as stream:
            next(line for line in stream.iter_lines() if "A sentence" in line)
        client.post(f"/turns/{turn_id}/cancel")
    thread.join()

    reply = counted(server, session, "reply")
    assert (reply["calls"], reply["cancelled"], reply["estimated"]) == (1, 1, 1)
    assert 1_000 <= reply["input_tokens"] <= 1_100
    assert reply["output_tokens"] == 11
    assert reply["estimated_input_tokens"] == reply["input_tokens"]
    assert reply["estimated_output_tokens"] == reply["output_tokens"]


def test_repeated_calls_are_counted_each(server: Server, upstream: Upstream, session: str) -> None:
    answers = iter([Answer(status=500), Answer(status=500)])
    upstream.script = lambda call: polite(call) if call.is_title else next(answers, polite(call))

    assert server.chat(session, "third time lucky").status_code == 200

    reply = counted(server, session, "reply")
    assert (reply["calls"], reply["retries"], reply["failed"]) == (3, 2, 2)
    # Those that failed without a word cost nothing.
    assert (reply["input_tokens"], reply["estimated"]) == (11, 0)


def test_an_attempt_that_a_crash_has_cut_short_is_counted(
    server: Server, upstream: Upstream, session: str
) -> None:
    gate = threading.Event()
    upstream.script = lambda call: polite(call) if call.is_title else Answer(gate=gate)
    thread = threading.Thread(target=_try, args=(server, session))
    thread.start()
    until(lambda: upstream.replies)
    server.kill()
    thread.join()
    upstream.script = polite
    server.start()

    until(lambda: len(server.history(session)) == 2)
    reply = counted(server, session, "reply")
    assert (reply["calls"], reply["interrupted"], reply["retries"]) == (2, 1, 1)
    assert reply["estimated"] == 1


def _try(server: Server, session: str) -> None:
    with contextlib.suppress(httpx2.TransportError):
        server.chat(session, "cut short by a crash")


def test_a_wrong_question_is_refused(server: Server) -> None:
    with server.client() as client:
        assert client.get("/usage?by=week").status_code == 422
        assert client.get("/usage?since=soon").status_code == 422
