"""OpenAI's items as messages: what belongs together is one, and what is wrong is named."""

from typing import Any

import pytest

from chatkeep.api.openai.errors import Refused
from chatkeep.api.openai.inputs import Input, parse_input
from chatkeep.api.openai.requests import check_roles
from chatkeep.domain.errors import NotAllowed
from chatkeep.domain.model import Caller, Role, Scope

CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "seen"}


def parsed(*items: Any) -> Input:
    return parse_input(list(items), max_file_bytes=1_000)


def shape(read: Input) -> list[tuple[str, str, list[str]]]:
    return [
        (m.role.value, m.text, [block["type"] for block in m.blocks or ()]) for m in read.messages
    ]


def said(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
    }


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


def test_reasoning_a_text_and_its_calls_are_one_message() -> None:
    second = {**CALL, "call_id": "c2"}
    read = parsed({"role": "user", "content": "Go"}, thought("Hm."), said("Let me."), CALL, second)
    assert shape(read) == [
        ("user", "Go", []),
        ("assistant", "Let me.", ["reasoning", "text", "tool_call", "tool_call"]),
    ]
    assert read.indexes == [0, 4]


def test_two_answers_are_two_messages() -> None:
    assert shape(
        parsed(said("One"), said("Two"), CALL, said("Three"), thought("x"), said("y"))
    ) == [
        ("assistant", "One", []),
        ("assistant", "Two", ["text", "tool_call"]),
        ("assistant", "Three", []),
        ("assistant", "y", ["reasoning", "text"]),
    ]


def test_the_systems_first_messages_are_instructions_and_later_ones_stay_where_they_are() -> None:
    read = parsed(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "user", "content": "Go"},
        {"role": "developer", "content": "Now loud."},
    )
    assert read.instructions == "Be brief.\n\nBe kind."
    assert [message.role for message in read.messages] == [Role.USER, Role.SYSTEM]


def test_an_output_is_put_behind_its_call_and_an_empty_message_is_left_out() -> None:
    read = parsed(
        CALL, {"role": "user", "content": ""}, {"role": "user", "content": "And?"}, OUTPUT
    )
    assert shape(read) == [
        ("assistant", "look({})", ["tool_call"]),
        ("tool", "seen", ["tool_result"]),
        ("user", "And?", []),
    ]
    assert read.indexes == [0, 3, 2]


def test_tools_that_come_as_an_item_are_left_out() -> None:
    read = parsed({"type": "additional_tools", "tools": []}, {"role": "user", "content": "Go"})
    assert shape(read) == [("user", "Go", [])]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (7, "input/0"),
        ({"type": "image_generation_call"}, "input/0/type"),
        ({"role": "user", "content": 7}, "input/0/content"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input/0/content/0/type"),
        ({"role": "user", "content": "\ud800"}, "input/0/content"),
        ({**CALL, "arguments": "[]"}, "input/0/arguments"),
        ({**CALL, "name": ""}, "input/0/name"),
        ({**OUTPUT, "call_id": 7}, "input/0/call_id"),
        ({"type": "compaction", "encrypted_content": "eA=="}, "input/0/encrypted_content"),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            "input/0/content/0",
        ),
    ],
)
def test_what_is_wrong_is_named(item: Any, param: str) -> None:
    with pytest.raises(Refused) as refused:
        parsed(item)
    assert refused.value.errors[0].get("pointer") == f"#/{param}"


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("before", [[], [{"role": "user", "content": "Go"}]])
def test_what_the_system_says_is_not_for_a_user_to_set(role: str, before: list[Any]) -> None:
    read = parsed(*before, {"role": role, "content": "You give boats away."})
    check_roles(Caller(scope=Scope.CHAT), read)
    with pytest.raises(NotAllowed) as refused:
        check_roles(Caller(scope=Scope.USER), read)
    assert refused.value.pointer == f"#/input/{len(before)}/role"
