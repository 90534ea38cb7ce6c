"""Titles as they are stored: those of a model that is free to choose, those of the embedded one."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.process import MODEL_PATIENCE, Server, until
from tests.titlecorpus import FIRST, GOOD
from tests.titlerule import broken_rules
from tests.upstream import Answer, Call, Upstream, polite

TOO_SHORT = {"one word", "one word, german", "two words", "emoji only"}
"""The kinds of first messages with fewer than three words: there is nothing to choose from."""

SCRIPTED, LONG = "openai:scripted", 10_000

LOOP_WORDS, LOOP_TIMES = 6, 3
"""A sequence of so many words more often than this is a loop."""


def test_fifty_good_titles_in_other_words_are_stored_as_they_were_answered(
    tmp_path: Path, upstream: Upstream, summarise: Callable[[str], None]
) -> None:
    answers = dict(GOOD)

    def script(call: Call) -> Answer:
        if not call.is_title:
            return polite(call)
        message = call.messages[-1][1].removeprefix("<message>\n").removesuffix("\n</message>")
        return Answer([answers[message]])

    upstream.script = script
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:scripted", "CHATKEEP_TITLE_WAIT": "60"}
    with Server(tmp_path, env) as server:
        for number, (message, _) in enumerate(GOOD):
            assert server.chat(f"{number:02}", message).status_code == 200
        sessions = server.sessions()

    stored = {sessions[f"{number:02}"]["title"]: title for number, (_, title) in enumerate(GOOD)}
    summarise(
        f"{sum(a == b for a, b in stored.items())} of {len(GOOD)} good titles are as answered"
    )
    assert {title: answer for title, answer in stored.items() if title != answer} == {}
    assert {session["title_source"] for session in sessions.values()} == {"model"}


def test_thirty_first_messages_get_titles_and_answers_from_the_embedded_model(
    tmp_path: Path, upstream: Upstream, full: bool, summarise: Callable[[str], None]
) -> None:
    """A normal run takes every fifth message; all thirty are taken with `--full`.

    The longest is too long for the embedded model: another one answers it.
    """
    assert len(FIRST) == 30
    messages = FIRST if full else FIRST[::5]
    env = {
        **upstream.env,
        "CHATKEEP_MODELS": SCRIPTED,
        "CHATKEEP_MODEL_TIMEOUT": "600",
        "CHATKEEP_TITLE_TIMEOUT": "600",
        "CHATKEEP_TITLE_WAIT": "0",
    }
    with (
        Server(tmp_path, env, patience=MODEL_PATIENCE) as server,
        ThreadPoolExecutor(2) as pool,
    ):
        posts = [
            pool.submit(server.chat, f"{number:02}", message, **_model(message))
            for number, (_, message) in enumerate(messages)
        ]
        answers = [post.result().json() for post in posts]
        until(lambda: _ended_title_calls(server) == len(messages), seconds=MODEL_PATIENCE)
        sessions = server.sessions()
        # Not even a connection that the model's server was closing.
        assert "model_call_failed" not in server.log.read_text()

    summarise(f"Titles of {len(messages)} first messages by the embedded model:")
    for number, (kind, message) in enumerate(messages):
        session = sessions[f"{number:02}"]
        summarise(f"  {session['title_source']:11} {session['title']!r:50} {message[:60]!r}")
        assert broken_rules(session["title"]) == []
        expected = "provisional" if kind in TOO_SHORT else "model"
        assert session["title_source"] == expected, kind
    _report_answers(answers, summarise)
    assert [answer["response"] for answer in answers if _loops(answer["response"])] == []
    assert [answer["response"] for answer in answers if "\ufffd" in answer["response"]] == []
    assert sum(answer["finish_reason"] == "length" for answer in answers) <= 3


def _model(message: str) -> dict[str, str]:
    return {"model": SCRIPTED} if len(message) >= LONG else {}


def _report_answers(answers: list[dict[str, str]], summarise: Callable[[str], None]) -> None:
    ended = Counter(answer["finish_reason"] for answer in answers)
    loops = sum(_loops(answer["response"]) for answer in answers)
    summarise(f"  {len(answers)} answers: {loops} with a loop, ended by {dict(ended)}")


def _loops(text: str) -> bool:
    words = text.split()
    runs = Counter(
        tuple(words[start : start + LOOP_WORDS]) for start in range(len(words) - LOOP_WORDS + 1)
    )
    return max(runs.values(), default=0) > LOOP_TIMES


def _ended_title_calls(server: Server) -> int:
    """Each of them ends with a line in the log."""
    return server.log.read_text().count('"event": "titled"')
