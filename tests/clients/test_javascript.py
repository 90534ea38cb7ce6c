"""Clients for JavaScript, unmodified: OpenAI's library, its Agents SDK, and Vercel's AI SDK."""

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
    THANKS,
    Border,
    assistant,
)
from tests.clients.environments import Client
from tests.upstream import Answer, Call

LIBRARY = "openai_client.js"
AGENTS = "agents_sdk.js"
AI_SDK = "ai_sdk.js"
CALL = ["reasoning", "function_call", "function_call_output", "message"]
AI_VERSIONS = pytest.mark.parametrize("version", ["5", "6"])
ONE_TURN = ["user", "assistant"]


def test_the_library_carries_three_turns_with_a_tool_on_by_the_last_response(
    node: Client, border: Border, tmp_path: Path
) -> None:
    result = node.run(LIBRARY, "chained", *MESSAGES, url=border.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert border.roles(border.session_of(result["last"])) == ROLES


def test_the_library_carries_three_turns_with_a_tool_on_in_a_conversation(
    node: Client, border: Border, tmp_path: Path
) -> None:
    result = node.run(LIBRARY, "conversation", *MESSAGES, url=border.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert result["kinds"] == ["message", "message", "message", *CALL, "message", "message"]
    assert border.roles(result["conversation"]) == ROLES


def test_the_library_reads_the_rest_of_a_stream_that_was_cut(
    node: Client, border: Border, tmp_path: Path
) -> None:
    border.will("cut", "/v1/responses")
    result = node.run(LIBRARY, "resumed", LONG, url=border.url, folder=tmp_path)
    assert result["error"]
    assert result["text"] == result["helperText"] == LONG_REPLY
    assert result["numbers"] == list(range(len(result["numbers"])))
    assert result["helperNumbers"] == result["numbers"][result["after"] + 1 :]
    assert border.roles(border.session_of(result["last"])) == ONE_TURN


@pytest.mark.parametrize("fault", ["drop", "lose"])
def test_a_retry_of_the_library_is_one_turn(
    node: Client, border: Border, tmp_path: Path, session: str, fault: Any
) -> None:
    border.will(fault, "/v1/responses")
    result = node.run(LIBRARY, "chained", session, url=border.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    assert len(border.posts("/v1/responses")) == 2
    assert border.roles(border.session_of(result["last"])) == ONE_TURN
    assert len(border.upstream.replies) == 1


def test_the_library_parses_an_answer_into_an_object(
    node: Client, border: Border, tmp_path: Path
) -> None:
    assert node.run(LIBRARY, "parsed", HELLO, url=border.url, folder=tmp_path) == OBJECT


def test_the_library_streams_a_chat_completion(
    node: Client, border: Border, tmp_path: Path
) -> None:
    result = node.run(LIBRARY, "completions", LONG, url=border.url, folder=tmp_path)
    assert result == {"text": LONG_REPLY}


def test_an_error_is_the_librarys_own(node: Client, border: Border, tmp_path: Path) -> None:
    assert node.run(LIBRARY, "failed", url=border.url, folder=tmp_path) == {
        "name": "BadRequestError",
        "status": 400,
        "code": "previous_response_not_found",
        "param": "previous_response_id",
        "type": "invalid_request_error",
    }


@pytest.mark.parametrize("way", ["plain", "chained"])
def test_the_agents_sdk_carries_three_turns_with_a_tool_on(
    node: Client, border: Border, tmp_path: Path, way: str
) -> None:
    result = node.run(AGENTS, way, *MESSAGES, url=border.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert border.roles(border.session_of(result["last"])) == ROLES


def test_the_agents_sdks_own_session_is_a_conversation(
    node: Client, border: Border, tmp_path: Path
) -> None:
    result = node.run(AGENTS, "session", *MESSAGES, url=border.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert len(result["items"]) == 9
    assert result["left"] == 8
    assert result["conversation"] not in border.newest_sessions()


def test_the_agents_sdk_streams_a_run(node: Client, border: Border, tmp_path: Path) -> None:
    result = node.run(AGENTS, "streamed", MESSAGES[1], url=border.url, folder=tmp_path)
    assert result == {"text": REPLIES[1], "final": REPLIES[1]}


@AI_VERSIONS
@pytest.mark.parametrize("way", ["turns", "chained"])
def test_the_ai_sdk_carries_three_turns_with_a_tool_on(
    node: Client, border: Border, tmp_path: Path, version: str, way: str
) -> None:
    result = node.run(AI_SDK, version, way, *MESSAGES, url=border.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert border.roles(border.session_of(result["last"])) == ROLES
    assert border.upstream.refusals == []
    if way == "turns":
        # What the server has is not sent again, but named: version 6 does that with reasoning only.
        assert b'"item_reference"' in border.posts("/v1/responses")[-1].body


@AI_VERSIONS
def test_the_ai_sdk_carries_a_conversation_on(
    node: Client, border: Border, tmp_path: Path, version: str
) -> None:
    texts = [HELLO, THANKS]
    result = node.run(AI_SDK, version, "conversation", *texts, url=border.url, folder=tmp_path)
    assert result["replies"] == [REPLIES[0], f"This is message 2: {THANKS}"]
    assert border.roles(result["conversation"]) == ONE_TURN * 2


@AI_VERSIONS
def test_the_ai_sdk_streams_a_loop_of_tools(
    node: Client, border: Border, tmp_path: Path, version: str
) -> None:
    arguments = (AI_SDK, version, "streamed", MESSAGES[1])
    result = node.run(*arguments, url=border.url, folder=tmp_path)
    assert result == {"text": REPLIES[1], "error": None, "again": None}


@AI_VERSIONS
def test_the_ai_sdk_sees_that_a_stream_is_cut_and_asks_again(
    node: Client, border: Border, tmp_path: Path, version: str
) -> None:
    border.will("cut", "/v1/responses")
    result = node.run(AI_SDK, version, "streamed", LONG, url=border.url, folder=tmp_path)
    assert result["error"]
    assert LONG_REPLY.startswith(result["text"])
    assert result["again"] == LONG_REPLY


@AI_VERSIONS
def test_the_ai_sdk_makes_an_object(
    node: Client, border: Border, tmp_path: Path, version: str
) -> None:
    assert node.run(AI_SDK, version, "object", HELLO, url=border.url, folder=tmp_path) == OBJECT


@AI_VERSIONS
def test_a_retry_of_the_ai_sdk_after_a_failure_is_one_turn(
    node: Client, border: Border, tmp_path: Path, session: str, version: str
) -> None:
    """It has no mark: the server knows it by its equal body."""

    def script(call: Call) -> Answer:
        is_first = len(border.posts("/v1/responses")) == 1
        return Answer(status=503) if is_first else assistant(call)

    border.upstream.script = script
    result = node.run(AI_SDK, version, "turns", session, url=border.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    assert len(border.posts("/v1/responses")) == 2
    assert border.roles(border.session_of(result["last"])) == ONE_TURN


@AI_VERSIONS
def test_a_retry_of_the_ai_sdk_whose_connection_broke_is_one_turn(
    node: Client, border: Border, tmp_path: Path, session: str, version: str
) -> None:
    def script(call: Call) -> Answer:
        answer = assistant(call)
        answer.gate = border.has_retried
        return answer

    border.upstream.script = script
    before = border.newest_sessions()
    border.will("drop", "/v1/responses")
    result = node.run(AI_SDK, version, "turns", session, url=border.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    name = border.session_of(result["last"])
    assert border.newest_sessions() - before == {name}
    assert border.roles(name) == ONE_TURN
    assert len(border.upstream.replies) == 1


@AI_VERSIONS
def test_the_ai_sdk_uses_chat_completions(
    node: Client, border: Border, tmp_path: Path, version: str
) -> None:
    before = border.newest_sessions()
    arguments = (AI_SDK, version, "completions", *MESSAGES)
    result = node.run(*arguments, url=border.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert border.newest_sessions() == before
