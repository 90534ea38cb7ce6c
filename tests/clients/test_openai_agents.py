"""OpenAI's Agents SDK for Python, unmodified."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.border import (
    LONG,
    LONG_REPLY,
    MESSAGES,
    REPLIES,
    ROLES,
    THANKS,
    Border,
)
from tests.clients.environments import Client

PROGRAM = "agents_sdk.py"


@pytest.mark.parametrize("way", ["plain", "chained"])
def test_three_turns_with_a_tool_by_items_or_by_the_last_response(
    python: Client, borders: Border, tmp_path: Path, way: str
) -> None:
    result = python.run(PROGRAM, way, *MESSAGES, url=borders.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert borders.roles(borders.session_of(result["last"])) == ROLES
    # The instructions are sent with each request, and are not carried on.
    systems = [m for m in borders.upstream.replies[-1].messages if m[0] == "system"]
    assert systems == [("system", "Be brief.")]


def test_three_turns_with_a_tool_in_a_conversation(
    python: Client, borders: Border, tmp_path: Path
) -> None:
    result = python.run(PROGRAM, "conversation", *MESSAGES, url=borders.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    assert borders.roles(result["conversation"]) == ROLES


def test_the_sdks_own_session_is_a_conversation(
    python: Client, borders: Border, tmp_path: Path
) -> None:
    before = borders.newest_sessions()
    result = python.run(PROGRAM, "session", *MESSAGES, url=borders.url, folder=tmp_path)
    assert result["replies"] == REPLIES
    call = ["reasoning", "function_call", "function_call_output", "message"]
    assert result["items"] == ["message", "message", "message", *call, "message", "message"]
    assert result["newest_are_last"]
    assert result["popped_is_last"]
    assert result["left"] == len(result["items"]) - 1
    # Cleared: only the bare responses that the SDK made are left, and those are archived.
    assert result["conversation"] not in borders.newest_sessions()
    listed = {s["session_id"] for s in borders.servers[0].get("/sessions?archived=false")}
    assert not (borders.newest_sessions() - before) & listed


def test_a_run_is_streamed(python: Client, borders: Border, tmp_path: Path) -> None:
    result = python.run(PROGRAM, "streamed", MESSAGES[1], url=borders.url, folder=tmp_path)
    assert (result["text"], result["final"], result["error"]) == (REPLIES[1], REPLIES[1], None)


def test_what_a_cut_stream_began_is_complete_and_goes_on(
    python: Client, borders: Border, tmp_path: Path
) -> None:
    borders.will("cut", "/v1/responses")
    result = python.run(PROGRAM, "resumed", LONG, THANKS, url=borders.url, folder=tmp_path)
    assert result["error"]
    assert LONG_REPLY.startswith(result["text"])
    assert result["text"] not in {"", LONG_REPLY}
    assert result["stored"] == LONG_REPLY
    assert result["next"] == f"This is message 2: {THANKS}"
    roles = ["user", "assistant", "user", "assistant"]
    assert borders.roles(borders.session_of(result["response"])) == roles


@pytest.mark.parametrize("kind", ["drop", "lose"])
@pytest.mark.parametrize("way", ["conversation", "chained"])
def test_a_retry_is_one_turn(
    python: Client, borders: Border, tmp_path: Path, session: str, kind: Any, way: str
) -> None:
    borders.will(kind, "/v1/responses")
    result = python.run(PROGRAM, way, session, url=borders.url, folder=tmp_path)
    assert result["replies"] == [f"This is message 1: {session}"]
    assert len(borders.posts("/v1/responses")) == 2
    name = result.get("conversation") or borders.session_of(result["last"])
    assert borders.roles(name) == ["user", "assistant"]
    assert len(borders.upstream.replies) == 1
