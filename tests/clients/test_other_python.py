"""Pydantic AI, `llm` and Instructor, unmodified."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.border import (
    HELLO,
    LONG,
    LONG_REPLY,
    MESSAGES,
    OBJECT,
    REPLIES,
    ROLES,
    Border,
)
from tests.clients.environments import Client

PYDANTIC_AI = "pydantic_ai_agent.py"
LLM = "llm_conversation.py"
COMPLETIONS = "/v1/chat/completions"
RESPONSES = "/v1/responses"
KINDS = ["completions", "responses", "chained"]
LLM_PATHS = {
    "own-completions": COMPLETIONS,
    "own-responses": RESPONSES,
    "openai/gpt-5-mini": RESPONSES,
}


@pytest.mark.parametrize("kind", KINDS)
def test_pydantic_ai_carries_three_turns_with_a_tool_on(
    python: Client, borders: Border, tmp_path: Path, kind: str
) -> None:
    before = borders.newest_sessions()
    result = python.run(PYDANTIC_AI, "turns", kind, *MESSAGES, url=borders.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    if kind == "completions":
        assert borders.newest_sessions() == before
    else:
        assert borders.roles(borders.session_of(result["last"])) == ROLES


@pytest.mark.parametrize("kind", KINDS)
def test_pydantic_ai_parses_an_answer_into_an_object(
    python: Client, borders: Border, tmp_path: Path, kind: str
) -> None:
    result = python.run(PYDANTIC_AI, "parsed", kind, HELLO, url=borders.url, folder=tmp_path)
    assert result == OBJECT


@pytest.mark.parametrize("kind", KINDS)
def test_pydantic_ai_streams_and_sees_a_cut(
    python: Client, borders: Border, tmp_path: Path, kind: str
) -> None:
    arguments = (PYDANTIC_AI, "streamed", kind, LONG)
    whole = python.run(*arguments, url=borders.url, folder=tmp_path)
    assert whole == {"text": LONG_REPLY, "error": None, "again": None}
    borders.will("cut", COMPLETIONS if kind == "completions" else RESPONSES)
    result = python.run(*arguments, url=borders.url, folder=tmp_path)
    assert result["error"]
    assert LONG_REPLY.startswith(result["text"])
    assert result["again"] == LONG_REPLY


@pytest.mark.parametrize("fault", ["drop", "lose"])
def test_a_retry_of_pydantic_ai_is_one_turn(
    python: Client, borders: Border, tmp_path: Path, session: str, fault: Any
) -> None:
    borders.will(fault, RESPONSES)
    arguments = (PYDANTIC_AI, "turns", "chained", session)
    result = python.run(*arguments, url=borders.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    assert len(borders.posts(RESPONSES)) == 2
    assert borders.roles(borders.session_of(result["last"])) == ["user", "assistant"]
    assert len(borders.upstream.replies) == 1


@pytest.mark.parametrize("model", LLM_PATHS)
def test_llm_carries_three_turns_with_a_tool_on(
    python: Client, borders: Border, tmp_path: Path, model: str
) -> None:
    result = python.run(LLM, "turns", model, *MESSAGES, url=borders.url, folder=tmp_path)
    # The empty message that the plugin sends between a call and its result is left out.
    assert result["replies"] == REPLIES
    assert borders.upstream.refusals == []


@pytest.mark.parametrize("model", LLM_PATHS)
def test_llm_makes_an_object(python: Client, borders: Border, tmp_path: Path, model: str) -> None:
    result = python.run(LLM, "parsed", model, HELLO, url=borders.url, folder=tmp_path)
    assert result["object"] == OBJECT


@pytest.mark.parametrize("model", LLM_PATHS)
def test_llm_streams_and_sees_a_cut(
    python: Client, borders: Border, tmp_path: Path, model: str
) -> None:
    borders.will("cut", LLM_PATHS[model])
    result = python.run(LLM, "streamed", model, LONG, url=borders.url, folder=tmp_path)
    assert result["error"]
    assert LONG_REPLY.startswith(result["text"])
    assert result["again"] == LONG_REPLY


@pytest.mark.parametrize("model", LLM_PATHS)
def test_a_retry_of_llm_is_one_turn(
    python: Client, borders: Border, tmp_path: Path, session: str, model: str
) -> None:
    borders.will("drop", LLM_PATHS[model])
    before = borders.newest_sessions()
    result = python.run(LLM, "turns", model, session, url=borders.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    assert len(borders.posts(LLM_PATHS[model])) == 2
    sessions = borders.newest_sessions() - before
    # `llm` itself lets nothing be stored.
    assert len(sessions) == (model == "openai/gpt-5-mini")
    for name in sessions:
        assert borders.roles(name) == ["user", "assistant"]
        assert len(borders.upstream.replies) == 1


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA", "RESPONSES_TOOLS"])
def test_instructor_makes_an_object(
    python: Client, borders: Border, tmp_path: Path, mode: str
) -> None:
    arguments = ("instructor_objects.py", mode, HELLO)
    assert python.run(*arguments, url=borders.url, folder=tmp_path) == OBJECT
