"""LangChain's `ChatOpenAI`, unmodified."""

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

PROGRAM = "langchain_chat.py"
KINDS = ["completions", "responses", "chained"]
PATHS = {
    "completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "chained": "/v1/responses",
}


@pytest.mark.parametrize("way", ["turns", "agent"])
@pytest.mark.parametrize("kind", KINDS)
def test_three_turns_with_a_tool(
    development: Client, borders: Border, tmp_path: Path, kind: str, way: str
) -> None:
    before = borders.newest_sessions()
    result = development.run(PROGRAM, way, kind, *MESSAGES, url=borders.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert result["tokens"] > 0
    assert borders.upstream.refusals == []
    if kind == "completions":
        assert borders.newest_sessions() == before
    else:
        assert borders.roles(borders.session_of(result["last"])) == ROLES


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_parsed_into_an_object(
    development: Client, borders: Border, tmp_path: Path, kind: str
) -> None:
    result = development.run(PROGRAM, "parsed", kind, HELLO, url=borders.url, folder=tmp_path)
    assert result == OBJECT


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_gives_the_whole_answer(
    development: Client, borders: Border, tmp_path: Path, kind: str
) -> None:
    result = development.run(PROGRAM, "streamed", kind, LONG, url=borders.url, folder=tmp_path)
    assert result == {"text": LONG_REPLY, "error": None, "again": None}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_stream_is_an_error_and_another_call_has_the_answer(
    development: Client, borders: Border, tmp_path: Path, kind: str
) -> None:
    borders.will("cut", PATHS[kind])
    result = development.run(PROGRAM, "streamed", kind, LONG, url=borders.url, folder=tmp_path)
    assert result["error"]
    assert LONG_REPLY.startswith(result["text"])
    assert result["again"] == LONG_REPLY


@pytest.mark.parametrize("fault", ["drop", "lose"])
@pytest.mark.parametrize("kind", ["responses", "chained"])
def test_a_retry_is_one_turn(
    development: Client, borders: Border, tmp_path: Path, session: str, kind: str, fault: Any
) -> None:
    before = borders.newest_sessions()
    borders.will(fault, "/v1/responses")
    result = development.run(PROGRAM, "turns", kind, session, url=borders.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    assert len(borders.posts("/v1/responses")) == 2
    name = borders.session_of(result["last"])
    assert borders.newest_sessions() - before == {name}
    assert borders.roles(name) == ["user", "assistant"]
    assert len(borders.upstream.replies) == 1
