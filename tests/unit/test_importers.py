"""Conversations of other products, as they are, as they were, and as nobody should write them."""

import copy
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.transfer.importers import ConvertedConversation, Unreadable, convert

AT = 1_764_090_229.36345
JSONObject = dict[str, Any]


# --- Exports, as small as they can be ---


def gpt_message(role: str, *parts: object, at: Any = AT, **more: Any) -> JSONObject:
    kind = "text" if all(isinstance(part, str) for part in parts) else "multimodal_text"
    return {
        "author": {"role": role},
        "create_time": at,
        "content": {"content_type": kind, "parts": list(parts)},
        "status": "finished_successfully",
        "recipient": "all",
        "metadata": {},
        **more,
    }


def gpt_node(name: str, parent: str | None, message: object, *children: str) -> JSONObject:
    return {"id": name, "parent": parent, "children": list(children), "message": message}


def gpt(*nodes: JSONObject, **more: Any) -> JSONObject:
    return {
        "title": "Tides",
        "create_time": AT,
        "update_time": AT + 60,
        "conversation_id": "6925e174-6714",
        "current_node": nodes[-1]["id"] if nodes else None,
        "mapping": {node["id"]: node for node in nodes},
        **more,
    }


def gpt_line(*messages: object, **more: Any) -> JSONObject:
    """A conversation without branches, whose nodes are called n0, n1, …"""
    last = len(messages) - 1
    return gpt(
        *(
            gpt_node(
                f"n{index}",
                f"n{index - 1}" if index else None,
                message,
                *([f"n{index + 1}"] if index < last else []),
            )
            for index, message in enumerate(messages)
        ),
        **more,
    )


def owui_message(
    name: str, parent: str | None, role: str, content: object, **more: Any
) -> JSONObject:
    return {
        "id": name,
        "parentId": parent,
        "childrenIds": [],
        "role": role,
        "content": content,
        "timestamp": 1_720_000_000,
        **more,
    }


def owui(*messages: JSONObject, **more: Any) -> JSONObject:
    names = [message["id"] for message in messages]
    chat = {
        "title": "Journal",
        "models": ["llama3:8b"],
        "history": {
            "messages": dict(zip(names, messages, strict=True)),
            "currentId": names[-1] if names else None,
        },
        "messages": [],
        "timestamp": 1_720_000_000_123,
    }
    return {
        "id": "3e4e21ba",
        "title": "Journal",
        "chat": {**chat, **more.pop("chat", {})},
        "created_at": 1_720_000_000,
        "updated_at": 1_720_000_100,
        "pinned": False,
        "archived": False,
        "meta": {},
        "folder_id": None,
        **more,
    }


def branches(converted: ConvertedConversation) -> list[tuple[int | None, str, str]]:
    return [(row["parent_seq"], row["role"], row["content"]) for row in converted.messages]


def content(*messages: object, **more: Any) -> str:
    """The text of the only message that is imported of a conversation with ChatGPT."""
    (row,) = convert(gpt_line(*messages, **more)).messages
    return str(row["content"])


# --- ChatGPT ---


def test_a_conversation_with_chatgpt_becomes_a_session_and_its_messages() -> None:
    converted = convert(
        gpt_line(
            None,
            gpt_message("user", "What is a tide?"),
            gpt_message("assistant", "Water.", at=AT + 5, metadata={"model_slug": "gpt-4o"}),
            is_archived=True,
        )
    )

    assert converted.session == {
        "session_id": "6925e174-6714",
        "title": "Tides",
        "title_source": "user",
        "pinned": False,
        "archived": True,
        "model": None,
        "system_prompt": None,
        "context_messages": None,
        "metadata": {"imported_from": "chatgpt", "models": ["gpt-4o"]},
        "head_seq": 2,
        "created_at": "2025-11-25T17:03:49.363450Z",
        "updated_at": "2025-11-25T17:04:49.363450Z",
    }
    first, second = converted.messages
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first.pop("id"))
    assert first == {
        "seq": 1,
        "parent_seq": None,
        "role": "user",
        "content": "What is a tide?",
        "status": "completed",
        "turn_id": None,
        "created_at": "2025-11-25T17:03:49.363450Z",
    }
    assert (second["seq"], second["parent_seq"]) == (2, 1)
    assert second["created_at"] == "2025-11-25T17:03:54.363450Z"
    assert converted.notes == ()


def test_branches_stay_branches_and_the_current_node_is_the_head() -> None:
    converted = convert(
        gpt(
            gpt_node("root", None, None, "b", "a"),
            gpt_node("a", "root", gpt_message("user", "second draft")),
            gpt_node("b", "root", gpt_message("user", "first draft"), "b1", "b2"),
            gpt_node("b2", "b", gpt_message("assistant", "again")),
            gpt_node("b1", "b", gpt_message("assistant", "once")),
            current_node="b2",
        )
    )

    assert branches(converted) == [
        (None, "user", "first draft"),
        (1, "assistant", "once"),
        (1, "assistant", "again"),
        (None, "user", "second draft"),
    ]
    assert converted.session["head_seq"] == 3


def test_an_export_without_lists_of_children_keeps_its_tree() -> None:
    item = gpt_line(gpt_message("user", "Hi"), gpt_message("assistant", "Hello"))
    for node in item["mapping"].values():
        del node["children"]

    assert branches(convert(item)) == [(None, "user", "Hi"), (1, "assistant", "Hello")]


def test_what_a_person_did_not_see_is_left_out_and_its_children_move_up() -> None:
    hidden = {"is_visually_hidden_from_conversation": True}
    thoughts = gpt_message("assistant", content={"content_type": "thoughts", "thoughts": [{}]})
    recap = gpt_message("assistant", content={"content_type": "reasoning_recap", "content": "3 s"})
    call = {"content_type": "code", "language": "python", "text": "1 + 1"}
    instructions = {"content_type": "user_editable_context", "user_profile": "A sailor"}
    converted = convert(
        gpt_line(
            None,
            gpt_message("system", "", metadata=hidden),
            gpt_message("user", content=instructions, metadata=hidden),
            gpt_message("system", "Be nice.", metadata=hidden),
            gpt_message("user", "Add"),
            thoughts,
            recap,
            gpt_message("assistant", content=call, recipient="python"),
            gpt_message("tool", content={"content_type": "execution_output", "text": "2"}),
            gpt_message("tool", content={"content_type": "tether_browsing_display", "result": ""}),
            gpt_message("assistant", ""),
            gpt_message("assistant", "Two."),
            gpt_message("critic", "Wrong."),
        )
    )

    assert branches(converted) == [
        (None, "user", "Add"),
        (1, "tool", "```\n2\n```"),
        (2, "assistant", "Two."),
    ]
    assert converted.session["head_seq"] == 3, "the nearest message, from the last node up"
    assert converted.notes == (
        "2 reasoning messages",
        "1 tool call",
        "2 hidden messages",
        "1 message of an unknown role",
    )


def test_a_system_message_that_is_shown_is_imported() -> None:
    converted = convert(gpt_line(gpt_message("system", "Be brief."), gpt_message("user", "Hi")))

    assert branches(converted) == [(None, "system", "Be brief."), (1, "user", "Hi")]


def test_images_recordings_and_files_become_lines_and_are_counted() -> None:
    message = gpt_message(
        "user",
        {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_1"},
        "What is this?",
        {"content_type": "audio_transcription", "text": "I mean the bird."},
        {"content_type": "audio_asset_pointer", "asset_pointer": "sediment://file_2"},
        {"content_type": "real_time_user_audio_video_asset_pointer"},
        {"content_type": "video_container_asset_pointer"},
        {"content_type": "hologram"},
        metadata={
            "attachments": [
                {"id": "file_1", "name": "bird.png", "mime_type": "image/png"},
                {"id": "file_3", "name": "notes\n.pdf", "mime_type": "application/pdf"},
                {"id": "file_4", "mime_type": "image/png"},
                {"id": "file_5"},
            ]
        },
    )
    converted = convert(gpt_line(message))

    assert converted.messages[0]["content"].splitlines() == [
        "[image]",
        "What is this?",
        "I mean the bird.",
        "[audio]",
        "[audio]",
        "[file: video]",
        "[file: notes .pdf]",
        "[image]",
        "[file: unnamed]",
    ]
    assert converted.notes == (
        "2 images",
        "2 audio recordings",
        "3 files",
        "1 part of an unknown kind",
    )


def test_code_is_fenced_so_that_nothing_in_it_ends_the_fence() -> None:
    code = {"content_type": "code", "language": "python", "text": 'print("```")'}

    assert content(gpt_message("assistant", content=code)) == '````python\nprint("```")\n````'


def test_a_quoted_page_keeps_its_title_and_its_address() -> None:
    quote = {"content_type": "tether_quote", "title": "T", "url": "https://a.example", "text": "Q"}

    assert content(gpt_message("tool", content=quote)) == "T\nhttps://a.example\nQ"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Yes \ue200cite\ue202turn0search0\ue202turn0news3\ue201.", "Yes."),
        ("Yes\ue200filecite\ue202turn0file0\ue201 and\ue200cite\ue202turn1view0\ue201", "Yes and"),
        ("Cut off \ue200cite\ue202turn0sea", "Cut off"),
        ("Cut off \ue200cit", "Cut off"),
        ('In \ue200entity\ue202["city","Porto \\"O\\"",""]\ue201 now', 'In Porto "O" now'),
        ("In \ue200entity\ue202nonsense\ue201 now", "In now"),
        ("See \ue200url\ue202this\ue202https://a.example\ue201!", "See [this](https://a.example)!"),
        ("See \ue200url\ue202this\ue202turn0search0\ue201!", "See this!"),
        ("A \ue203marked\ue204 word", "A marked word"),
    ],
)
def test_citation_marks_are_gone_and_what_they_showed_is_not(text: str, shown: str) -> None:
    assert content(gpt_message("assistant", text)) == shown


def test_a_persons_own_private_characters_stay() -> None:
    assert content(gpt_message("user", "\ue200 prompt")) == "\ue200 prompt"


@pytest.mark.parametrize(
    "more",
    [
        {"status": "in_progress", "end_turn": False},
        {"metadata": {"finish_details": {"type": "interrupted", "reason": "client_stopped"}}},
    ],
)
def test_an_answer_that_was_stopped_is_cancelled(more: JSONObject) -> None:
    converted = convert(
        gpt_line(gpt_message("user", "Go", **more), gpt_message("assistant", "Wel", **more))
    )

    assert [row["status"] for row in converted.messages] == ["completed", "cancelled"]


@pytest.mark.parametrize("title", [None, "", " \n", "\ud800", "New chat", 7])
def test_a_conversation_that_nobody_named_gets_a_title_later(title: object) -> None:
    session = convert(gpt_line(gpt_message("user", "Hi"), title=title)).session

    assert (session["title"], session["title_source"]) == ("", "provisional")


def test_a_title_is_one_line() -> None:
    session = convert(
        gpt_line(gpt_message("user", "Hi"), title=" a\r\n\x07b\u2028c\ud800 " + "x" * 300)
    ).session

    assert session["title"] == "a b c " + "x" * 249


# --- Open WebUI ---


def test_a_chat_of_open_webui_becomes_a_session_and_its_messages() -> None:
    converted = convert(
        owui(
            owui_message("m1", None, "user", "Hi", models=["llama3:8b", "qwen3"]),
            owui_message("m2", "m1", "assistant", "Hello", model="llama3:8b", done=True),
            owui_message("m3", "m1", "assistant", "Hej", model="qwen3", timestamp=1_720_000_009),
            pinned=True,
            meta={"tags": ["greeting", 3]},
            chat={"system": "Be nice.", "params": {"system": "Be brief."}},
        )
    )

    assert converted.session == {
        "session_id": "3e4e21ba",
        "title": "Journal",
        "title_source": "user",
        "pinned": True,
        "archived": False,
        "model": None,
        "system_prompt": "Be brief.",
        "context_messages": None,
        "metadata": {
            "imported_from": "open-webui",
            "models": ["llama3:8b", "qwen3"],
            "tags": ["greeting"],
        },
        "head_seq": 3,
        "created_at": "2024-07-03T09:46:40.000000Z",
        "updated_at": "2024-07-03T09:48:20.000000Z",
    }
    assert branches(converted) == [
        (None, "user", "Hi"),
        (1, "assistant", "Hello"),
        (1, "assistant", "Hej"),
    ]
    assert converted.messages[2]["created_at"] == "2024-07-03T09:46:49.000000Z"


def test_an_old_chat_that_has_only_a_list_becomes_one_line() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    wrapped = convert({"id": "c", "chat": {"title": "Old", "messages": messages}})
    bare = convert({"id": "c", "title": "Old", "messages": messages, "timestamp": 1_700_000})

    assert branches(wrapped) == branches(bare) == [(None, "user", "Hi"), (1, "assistant", "Hello")]
    assert wrapped.session["head_seq"] == 2
    assert wrapped.messages[1]["created_at"] == "1970-01-01T00:00:00.000000Z"
    assert bare.messages[1]["created_at"] == "1970-01-20T16:13:20.000000Z"


def test_a_list_with_one_id_twice_loses_no_message() -> None:
    rows = [{"id": "x", "role": "user", "content": text} for text in "ab"]

    assert branches(convert({"id": "c", "chat": {"messages": rows}})) == [
        (None, "user", "a"),
        (1, "user", "b"),
    ]


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_a_time_follows_from_its_size(unit: int) -> None:
    converted = convert(
        owui(
            owui_message("m", None, "user", "Hi", timestamp=1_720_000_001 * unit),
            created_at=1_720_000_000 * unit,
            updated_at=1_720_000_002 * unit,
        )
    )

    assert converted.session["created_at"] == "2024-07-03T09:46:40.000000Z"
    assert converted.messages[0]["created_at"] == "2024-07-03T09:46:41.000000Z"
    assert converted.session["updated_at"] == "2024-07-03T09:46:42.000000Z"


def test_files_and_embedded_images_become_lines_and_search_results_do_not() -> None:
    converted = convert(
        owui(
            owui_message(
                "m",
                None,
                "user",
                [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {}}],
                files=[
                    {"type": "image", "url": "data:image/png;base64,AAAA"},
                    {"type": "file", "file": {"filename": "a.pdf"}},
                    {"type": "file", "name": "b.png", "content_type": "image/png"},
                    {"type": "web_search", "name": "tides"},
                ],
            ),
            owui_message("n", "m", "assistant", "So: ![x](data:image/png;base64,AAAA) there"),
        )
    )

    assert branches(converted) == [
        (None, "user", "Look:\n[image]\n[image]\n[file: a.pdf]\n[image]"),
        (1, "assistant", "So: [image] there"),
    ]
    assert converted.notes == ("4 images", "1 file")


def test_an_answer_that_is_stored_as_items_is_read_from_them() -> None:
    output = [
        {"type": "reasoning", "content": [{"type": "output_text", "text": "Hm."}]},
        {"type": "function_call", "name": "now"},
        {"type": "message", "content": [{"type": "output_text", "text": "Noon."}]},
    ]
    converted = convert(owui(owui_message("m", None, "assistant", "", output=output)))

    assert branches(converted) == [(None, "assistant", "Noon.")]
    assert converted.notes == ("1 reasoning message", "1 tool call")


def test_reasoning_in_the_text_stays_where_it_is() -> None:
    text = (
        '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> Hm\n</details>\nYes'
    )

    assert branches(convert(owui(owui_message("m", None, "assistant", text))))[0][2] == text


def test_answers_that_failed_or_were_merged_are_named_and_stopped_ones_cancelled() -> None:
    converted = convert(
        owui(
            owui_message("m", None, "user", "Go", done=False),
            owui_message("n", "m", "assistant", "Wel", done=False),
            owui_message("o", "m", "assistant", "Well", merged={"content": "Best of both"}),
            owui_message("p", "m", "assistant", "", error={"content": "Out of memory"}),
        )
    )

    assert [row["status"] for row in converted.messages] == ["completed", "cancelled", "completed"]
    assert converted.session["head_seq"] == 1, (
        "the answer is left out, so the question is shown last"
    )
    assert converted.notes == ("1 failed answer", "1 merged answer")


# --- Both: ids, times, what cannot be read ---


def test_importing_twice_gives_the_same_ids() -> None:
    item = gpt_line(gpt_message("user", "Hi"), gpt_message("assistant", "Hello"))
    again = copy.deepcopy(item)
    again["title"], again["mapping"]["n1"]["message"] = "Other", gpt_message("assistant", "Hey")
    other = {**item, "conversation_id": "another"}

    def ids(converted: ConvertedConversation) -> list[str]:
        return [row["id"] for row in converted.messages]

    assert ids(convert(item)) == ids(convert(again))
    assert not set(ids(convert(item))) & set(ids(convert(other)))


@pytest.mark.parametrize(
    ("ids", "session_id"),
    [
        ({"conversation_id": None, "id": "b"}, "b"),
        ({"conversation_id": " \x00a\x85\ud800 b\n"}, "a b"),
        ({"conversation_id": "..", "id": "b"}, "b"),
        ({"conversation_id": "x" * 254 + "  y"}, "x" * 254),
    ],
)
def test_a_session_is_named_as_the_conversation_was(ids: JSONObject, session_id: str) -> None:
    converted = convert(gpt_line(gpt_message("user", "Hi"), **ids))

    assert converted.session["session_id"] == session_id


@pytest.mark.parametrize(
    "missing", [None, -1, 0, True, "now", float("nan"), 1e300, 10**400, Decimal("NaN")]
)
def test_a_message_without_a_time_has_its_parents(missing: Any) -> None:
    converted = convert(
        gpt_line(
            gpt_message("user", "a", at=missing),
            gpt_message("assistant", "b", at=AT + 9),
            gpt_message("user", "c", at=missing),
            gpt_message("assistant", "d", at=AT + 1),
            create_time=missing,
            update_time=missing,
        )
    )

    assert [row["created_at"][17:19] for row in converted.messages] == ["50", "58", "58", "58"]
    assert converted.session["created_at"] == converted.messages[0]["created_at"]
    assert converted.session["updated_at"] == converted.messages[3]["created_at"]


def test_a_session_begins_no_later_and_ends_no_earlier_than_its_messages() -> None:
    converted = convert(
        gpt_line(
            gpt_message("user", "a"),
            gpt_message("assistant", "b", at=AT + 9),
            create_time=AT + 5,
            update_time=Decimal("1764090230.5"),
        )
    )

    assert converted.session["created_at"] == converted.messages[0]["created_at"]
    assert converted.session["updated_at"] == converted.messages[1]["created_at"]


def test_numbers_that_a_parser_keeps_exact_are_times_too() -> None:
    converted = convert(gpt_line(gpt_message("user", "a", at=Decimal("1764090230.123456"))))

    assert converted.messages[0]["created_at"] == "2025-11-25T17:03:50.123456Z"


def test_text_is_unchanged_but_for_what_no_database_takes() -> None:
    assert content(gpt_message("user", "  a\0\r\n\ud83d\ude00\ud800b ")) == "  a\r\n😀\ufffdb "


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "not a conversation of"),
        ([], "not a conversation of"),
        ({"chat_messages": []}, "not a conversation of"),
        ({"session_id": "a", "title": "Our own"}, "not a conversation of"),
        ({"mapping": {}, "id": "a"}, "no messages"),
        ({"mapping": {}}, "no id"),
        (gpt_line(gpt_message("user", "Hi"), conversation_id="."), "no id"),
        (gpt_line(gpt_message("user", " \n"), gpt_message("assistant", "")), "no messages"),
        (owui(), "no messages"),
        ({"id": "a", "messages": [{"sender": "human", "text": "Hi"}]}, "no messages"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(item: object, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        convert(item)


# --- Hostile exports ---


def test_circles_dead_parents_and_lying_children_lose_no_message() -> None:
    text = gpt_message("user", "x")
    converted = convert(
        gpt(
            gpt_node("self", "self", text, "self", "b"),
            gpt_node("a", "b", text, "b", "a", "a"),
            gpt_node("b", "c", text, "ghost"),
            gpt_node("c", "a", text),
            gpt_node("orphan", "ghost", text, "self"),
        )
    )

    assert [row["parent_seq"] for row in converted.messages] == [None, None, 2, 3, None]
    assert broken_rules(converted) == []


@pytest.mark.slow
def test_a_hundred_thousand_messages_in_one_line_are_read() -> None:
    converted = convert(gpt_line(*[gpt_message("user", "x")] * 100_000))

    assert converted.messages[-1]["parent_seq"] == 99_999


def test_signs_and_brackets_without_end_do_not_slow_the_reading() -> None:
    for text in ("\ue200" * 300_000, " " * 300_000, "\ue200entity\ue202[" + '"\\' * 300_000):
        convert(gpt_line(gpt_message("assistant", "x", text + "x")))
    for text in ("![" * 300_000, "![](data:image/" * 100_000):
        convert(owui(owui_message("m", None, "assistant", text)))


def slots(value: Any) -> list[tuple[Any, Any]]:
    """Where each value in a JSON value is: its container and its key."""
    listed, waiting = [], [value]
    while waiting:
        container = waiting.pop()
        size = len(container) if isinstance(container, list) else 0
        keys = container if isinstance(container, dict) else range(size)
        listed += [(container, key) for key in keys]
        waiting += [container[key] for key in keys]
    return listed


def broken_rules(converted: ConvertedConversation) -> list[str]:
    """What is wrong with records, whatever they were made of."""
    session, messages = converted.session, converted.messages
    session_id, title = session["session_id"], session["title"]
    time = re.compile(r"(19[789]\d|2[01]\d\d|2200)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
    times = {None: session["created_at"], **{row["seq"]: row["created_at"] for row in messages}}
    values = (container[key] for container, key in slots([session, *messages]))
    strings = [value for value in values if isinstance(value, str)]
    rules = {
        "reject_unstorable": not re.search("[\0\ud800-\udfff]", " ".join(strings)),
        "session id": 1 <= len(session_id) <= 255
        and session_id == session_id.strip()
        and session_id not in {".", ".."}
        and not re.search(r"[\x00-\x1f\x7f-\x9f]", session_id),
        "title": title == " ".join(title.split()) and len(title) <= 255,
        "title source": session["title_source"] == ("user" if title else "provisional"),
        "numbers": [row["seq"] for row in messages] == list(range(1, len(messages) + 1)),
        "parents": all(
            row["parent_seq"] is None or 1 <= row["parent_seq"] < row["seq"] for row in messages
        ),
        "head": 1 <= session["head_seq"] <= len(messages),
        "ids": len({row["id"] for row in messages}) == len(messages),
        "text": all(row["content"].strip() for row in messages),
        "roles": {row["role"] for row in messages} <= {"user", "assistant", "system", "tool"},
        "status": {row["status"] for row in messages} <= {"completed", "cancelled"},
        "form of times": all(map(time.fullmatch, [session["updated_at"], *times.values()])),
        "order of times": all(
            times[row["parent_seq"]] <= row["created_at"] <= session["updated_at"]
            for row in messages
        ),
        "flags": isinstance(session["pinned"], bool) and isinstance(session["archived"], bool),
        "notes": all(re.fullmatch(r"[1-9][\d,]* [a-z ]+", note) for note in converted.notes),
    }  # fmt: skip
    return [rule for rule, is_kept in rules.items() if not is_kept]


TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**9, max_value=10**20),
    st.floats(),
    TEXT,
    st.sampled_from(["user", "assistant", "system", "tool", "text", "n0", "n1", "n2", "all", ".."]),
)
KEYS = st.one_of(
    TEXT,
    st.sampled_from(
        "id conversation_id title create_time update_time current_node mapping message parent "
        "children author role content content_type parts text metadata attachments recipient chat "
        "history messages currentId parentId childrenIds timestamp files output models".split()
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)

WHOLE = [
    gpt(
        gpt_node("n0", None, None, "n1"),
        gpt_node("n1", "n0", gpt_message("user", "Hi", {"content_type": "x"}), "n2", "n3"),
        gpt_node("n2", "n1", gpt_message("assistant", "A \ue200cite\ue202turn0search0\ue201.")),
        gpt_node("n3", "n1", gpt_message("assistant", "B", at=None), "n4"),
        gpt_node("n4", "n3", gpt_message("tool", content={"content_type": "code", "text": "1"})),
    ),
    owui(
        owui_message("n0", None, "user", "Hi", files=[{"type": "image"}]),
        owui_message("n1", "n0", "assistant", "Hello", model="m", output=[{"type": "message"}]),
        owui_message("n2", "n0", "assistant", [{"type": "text", "text": "Hej"}], error={}),
    ),
    {"id": "n", "chat": {"messages": [{"role": "user", "content": "Hi", "id": "n0"}] * 2}},
]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """An export in which a few values are others, or copies of some from elsewhere in it."""
    item = json.loads(json.dumps(draw(st.sampled_from(WHOLE))))
    for _ in range(draw(st.integers(1, 4))):
        listed = slots(item)
        container, key = draw(st.sampled_from(listed))
        source, name = draw(st.sampled_from(listed))
        container[key] = draw(st.one_of(JSON, st.just(copy.deepcopy(source[name]))))
        if isinstance(container, dict) and draw(st.booleans()):
            container[draw(KEYS)] = container.pop(key)
    return item


@given(st.one_of(JSON, mutated()))
def test_whatever_an_export_holds_the_records_keep_the_rules(item: Any) -> None:
    try:
        converted = convert(copy.deepcopy(item))
    except Unreadable:
        return
    assert broken_rules(converted) == []
    assert convert(copy.deepcopy(item)) == converted
