"""Export and import: byte for byte, all or nothing, twice without doubling, and from elsewhere."""

import copy
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from chatkeep.api.routes.sessions import SessionChange
from chatkeep.app import create_app
from chatkeep.domain.times import now, rfc3339
from chatkeep.settings import Settings
from tests.upstream import Answer, Call, Upstream, polite


@pytest.fixture
def fresh(tmp_path: Path, new_database: Path, upstream: Upstream) -> Iterator[TestClient]:
    """A server with nothing in it."""
    shutil.copy(new_database, tmp_path)
    settings = Settings(
        data_dir=tmp_path,
        model="openai:scripted",
        max_import_record_bytes=200_000,
        max_message_chars=50_000,
        max_reply_chars=60_000,
        OPENAI_BASE_URL=f"{upstream.url}/v1",
    )
    with TestClient(create_app(settings), base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
def conversations(client: TestClient, upstream: Upstream) -> bytes:
    """An export of sessions with branches, failed and cancelled turns, emoji, own settings."""

    for session in client.get("/sessions").json():
        client.delete(f"/sessions/{session['session_id'].replace('/', '%2F')}")

    def script(call: Call) -> Answer:
        if call.is_title or "fail" not in call.messages[-1][1]:
            return polite(call)
        return Answer(status=400, body=b"{}")

    upstream.script = script

    def post(session_id: str, message: str | None, **more: Any) -> dict[str, Any]:
        body = {"session_id": session_id, **more}
        if message is not None:
            body["message"] = message
        answer: dict[str, Any] = client.post("/chat", json=body).json()
        return answer

    first = post("tree/🌳 ü", "where do 🦔🦔 live?")
    second = post("tree/🌳 ü", "and 狐?", temperature=0.5, max_tokens=7)
    post("tree/🌳 ü", "another way\n\n\t\u2028 on", parent_id=first["message_id"])
    post("tree/🌳 ü", None, regenerate=second["turn_id"])
    post("tree/🌳 ü", "another root", parent_id=None, system_prompt="Be a tree.")
    post("failed", "please fail now")
    post("failed", "and go on then")
    change = {"title": "Mine, “really”", "pinned": True, "archived": True, "context_messages": 3}
    change |= {"temperature": 0.3, "max_tokens": 77, "model": "openai:scripted"}
    change |= {"metadata": {"b": [1, 2.5, None, {"ü": "🦔"}], "a": 2**60}, "system_prompt": ""}
    changed = client.patch("/sessions/tree%2F🌳 ü", json=change).json()
    assert {name: changed[name] for name in change} == change
    head = {"head": first["message_id"]}
    assert client.patch("/sessions/tree%2F🌳 ü", json=head).is_success
    assert change.keys() | head.keys() == SessionChange.model_fields.keys()
    return client.get("/export").content


def take(client: TestClient, body: bytes) -> Any:
    response = client.post("/import", content=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_an_export_that_is_imported_and_exported_again_is_the_same(
    client: TestClient, fresh: TestClient, conversations: bytes
) -> None:
    report = take(fresh, conversations)

    assert fresh.get("/export").content == conversations
    sessions = client.get("/sessions").json()
    assert fresh.get("/sessions").json() == sessions
    assert report["imported"] == len(sessions)
    assert (report["skipped"], report["notes"]) == ([], [])
    for session in sessions:
        name = session["session_id"].replace("/", "%2F")
        for path in (f"/sessions/{name}", f"/history/{name}"):
            assert fresh.get(path).json() == client.get(path).json()
        for message in client.get(f"/history/{name}").json():
            for path in (
                f"/messages/{message['id']}/siblings",
                f"/turns/{message['turn_id']}",
                f"/turns/{message['turn_id']}/context",
            ):
                assert fresh.get(path).json() == client.get(path).json()
    assert fresh.get("/usage").json() == client.get("/usage").json()
    search = {"q": "where do live", "role": "user"}
    assert fresh.get("/search", params=search).json() == client.get("/search", params=search).json()


def test_an_imported_session_goes_on(fresh: TestClient, conversations: bytes) -> None:
    take(fresh, conversations)

    answer = fresh.post("/chat", json={"session_id": "failed", "message": "and on"})

    assert answer.status_code == 200
    assert len(fresh.get("/history/failed").json()) == 5


def test_an_export_from_before_there_was_a_setting_comes_in_without_it(
    fresh: TestClient, conversations: bytes
) -> None:
    lines = [json.loads(line) for line in conversations.splitlines()]
    for line in lines:
        if line["type"] == "session":
            del line["temperature"], line["max_tokens"]

    report = take(fresh, b"\n".join(json.dumps(line).encode() for line in lines))

    assert report["skipped"] == []
    session = fresh.get("/sessions/tree%2F🌳 ü").json()
    assert session["context_messages"] == 3
    assert (session["temperature"], session["max_tokens"]) == (None, None)


def test_importing_twice_doubles_nothing(fresh: TestClient, conversations: bytes) -> None:
    take(fresh, conversations)

    report = take(fresh, conversations)

    assert report["imported"] == 0
    assert {skipped["reason"] for skipped in report["skipped"]} == {"is here already"}
    assert fresh.get("/export").content == conversations


def test_one_session_can_be_carried_alone(
    client: TestClient, fresh: TestClient, conversations: bytes
) -> None:
    one = client.get("/export", params={"session_id": "tree/🌳 ü"})

    take(fresh, one.content)

    assert [session["session_id"] for session in fresh.get("/sessions").json()] == ["tree/🌳 ü"]
    assert client.get("/export?session_id=nobody").status_code == 404


def test_several_sessions_can_be_carried_at_once_in_the_order_in_which_they_are_named(
    client: TestClient, fresh: TestClient, conversations: bytes
) -> None:
    client.post("/chat", json={"session_id": "third", "message": "not wanted"})
    names = ["tree/🌳 ü", "failed", "tree/🌳 ü"]

    some = client.get("/export", params={"session_id": names})

    lines = [json.loads(line) for line in some.content.splitlines()]
    carried = [line["session_id"] for line in lines if line["type"] == "session"]
    assert carried == ["tree/🌳 ü", "failed"]
    assert take(fresh, some.content)["imported"] == 2
    unknown = client.get("/export", params={"session_id": ["failed", "nobody"]})
    assert unknown.status_code == 404
    many = client.get("/export", params={"session_id": ["failed"] * 101})
    assert many.status_code == 422
    assert many.json()["errors"][0]["parameter"] == "session_id"
    assert client.get("/export", params={"session_id": ["failed"] * 100}).is_success


def test_an_export_of_several_sessions_is_called_after_the_day(
    client: TestClient, conversations: bytes
) -> None:
    days = {rfc3339(now())[:10]}
    files = {
        client.get("/export", params=params).headers["content-disposition"]
        for params in ({}, {"session_id": ["failed", "tree/🌳 ü"]})
    }
    days.add(rfc3339(now())[:10])

    names = {f"chatkeep-export-{day}.jsonl" for day in days}
    assert files <= {f"attachment; filename=\"{n}\"; filename*=UTF-8''{n}" for n in names}


@pytest.mark.parametrize(
    ("title", "plain", "spelled"),
    [
        ("Capital of France", "Capital-of-France", "Capital-of-France"),
        ("Crème brûlée", "Creme-brulee", "Crème-brûlée"),
        ("フランスの首都", "conversation", "フランスの首都"),
        ("Family 👩‍👩‍👧 photos", "Family-photos", "Family-👩👩👧-photos"),
        ("../../etc/passwd", "etc-passwd", "etc-passwd"),
        ('a/b\\c:d*e?f"g<h>i|j%41', "a-b-c-d-e-f-g-h-i-j-41", "a-b-c-d-e-f-g-h-i-j-41"),
        ("-rf .bashrc.", "rf-.bashrc", "rf-.bashrc"),
        ("it's; a=b", "its-ab", "it's;-a=b"),
        ("gpj.\u202eexe", "gpj.exe", "gpj.exe"),
        ("Con", "conversation-Con", "conversation-Con"),
        ("Cön", "conversation-Con", "Cön"),
        ("nul.txt is a device", "conversation-nul.txt-is-a-device",
         "conversation-nul.txt-is-a-device"),
        ("?!…", "conversation", "!…"),
        ("...", "conversation", "conversation"),
        ("x" * 200, "x" * 80, "x" * 80),
        ("🦔" * 200, "conversation", "🦔" * 50),
        ("word " * 40, "word-" * 15 + "word", "word-" * 15 + "word"),
    ],
)  # fmt: skip
def test_the_file_of_one_session_is_called_after_its_title(
    client: TestClient, session: str, title: str, plain: str, spelled: str
) -> None:
    client.post("/chat", json={"session_id": "named", "message": "hello"})
    assert client.patch("/sessions/named", json={"title": title}).is_success

    for form, suffix in (("markdown", "md"), ("jsonl", "jsonl"), ("openai", "jsonl")):
        export = client.get("/export", params={"session_id": "named", "format": form})
        names = f"filename=\"{plain}.{suffix}\"; filename*=UTF-8''{quote(spelled)}.{suffix}"
        assert export.headers["content-disposition"] == f"attachment; {names}"


def test_a_file_that_is_cut_off_at_any_line_gives_whole_sessions_alone(
    fresh: TestClient, conversations: bytes
) -> None:
    lines = conversations.splitlines(keepends=True)
    ends = [n for n, line in enumerate(lines, 1) if b'"type":"end"' in line]
    whole = 0
    for count in range(1, len(lines) + 1, 3):
        report = take(fresh, b"".join(lines[:count]))
        known = sum(end <= count for end in ends)
        whole += report["imported"]
        assert whole == known == len(fresh.get("/sessions").json())
        if count not in ends and count > 1 and count - 1 not in ends:
            assert report["skipped"][-1]["reason"] in {"it is cut off", "is here already"}
    take(fresh, conversations)
    assert sorted(fresh.get("/export").content.splitlines()) == sorted(conversations.splitlines())


def changed(conversations: bytes, number: int, **values: Any) -> bytes:
    """The export with another value in the nth line that has this name."""
    lines = conversations.splitlines(keepends=True)
    (name,) = values
    indexes = [
        at
        for at, line in enumerate(lines)
        if name in (record := json.loads(line)) and (name == "type" or record["type"] != "call")
    ]
    at = indexes[number]
    lines[at] = json.dumps({**json.loads(lines[at]), **values}).encode() + b"\n"
    return b"".join(lines)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"parent_seq": 999}, "parent_seq"),
        ({"content": ""}, "empty"),
        ({"content": "\0"}, "U+0000"),
        ({"role": "nobody"}, "role"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "created_at"),
        ({"turn_id": "turn_of_nobody"}, "a turn that is missing"),
        ({"seq": 0}, "seq"),
        ({"seq": 2**63}, "seq"),
        ({"metadata": 5}, "metadata"),
        ({"head_seq": 999}, "head"),
        ({"user_seq": 999}, "a message that is missing"),
        ({"options": {"unknown": 1}}, "options"),
        ({"status": "happy"}, "status"),
        ({"type": "unknown"}, "tag"),
        ({"title": ""}, "title"),
        ({"session_id": "x" * 256}, "session_id"),
    ],
)
def test_what_contradicts_itself_is_left_out_and_reported(
    fresh: TestClient, conversations: bytes, values: dict[str, Any], words: str
) -> None:
    name = next(iter(values))
    own = {"content", "parent_seq", "turn_id", "seq"}
    body = changed(conversations, -1 if name in own else 1, **values)

    report = take(fresh, body)

    assert any(words in skipped["reason"] for skipped in report["skipped"]), report
    sessions = fresh.get("/sessions").json()
    assert len(sessions) == report["imported"] < 10
    assert fresh.get("/search?q=nothing").status_code == 200
    assert fresh.post("/chat", json={"session_id": "x", "message": "y"}).is_success


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"hello", 422),
        (b"{", 422),
        (b'{"type":"chatkeep","version":2}\n', 200),
        (b"[", 422),
        (b"[{]", 422),
        (b'["a", 5, null, {}]', 200),
        (b"\xef\xbb\xbf \n[]", 200),
        (b'{"a": 1}', 200),
        (b"{}", 200),
        (b"[" * 5_000, 422),
        (b'{"type":"chatkeep","version":1}\n\xff\xfe\n', 200),
        (b'["' + b"x" * 300_000 + b'"]', 413),
        (b'{"type":"chatkeep","version":1}\n"' + b"x" * 300_000, 413),
    ],
)
def test_a_file_that_is_no_export_is_refused_or_reported(
    fresh: TestClient, body: bytes, status: int
) -> None:
    response = fresh.post("/import", content=body)

    assert response.status_code == status, response.text
    assert fresh.get("/sessions").json() == []


CHATGPT: dict[str, Any] = {
    "id": "abc-1",
    "title": "Tides",
    "create_time": 1_700_000_000.5,
    "update_time": 1_700_000_100,
    "current_node": "n2",
    "mapping": {
        "n0": {"id": "n0", "parent": None, "children": ["n1"], "message": None},
        "n1": {
            "id": "n1",
            "parent": "n0",
            "children": ["n2"],
            "message": {
                "id": "n1",
                "author": {"role": "user"},
                "create_time": 1_700_000_001,
                "content": {"content_type": "text", "parts": ["Why are there tides?"]},
            },
        },
        "n2": {
            "id": "n2",
            "parent": "n1",
            "children": [],
            "message": {
                "id": "n2",
                "author": {"role": "assistant"},
                "create_time": 1_700_000_002,
                "content": {
                    "content_type": "multimodal_text",
                    "parts": ["Because of the moon.", {"content_type": "image_asset_pointer"}],
                },
            },
        },
    },
}
OPEN_WEBUI: dict[str, Any] = {
    "id": "def-2",
    "title": "",
    "created_at": 1_700_000_000,
    "updated_at": 1_700_000_100,
    "pinned": True,
    "chat": {
        "history": {
            "currentId": "b",
            "messages": {
                "a": {"id": "a", "parentId": None, "role": "user", "content": "Name a tall tree",
                      "timestamp": 1_700_000_001},
                "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "The sequoia.",
                      "timestamp": 1_700_000_002},
            },
        }
    },
}  # fmt: skip


def test_conversations_come_from_elsewhere_and_go_on_here(fresh: TestClient) -> None:
    body = json.dumps([CHATGPT, OPEN_WEBUI, {"id": "odd"}]).encode()

    report = take(fresh, body)

    assert (report["imported"], report["messages"], report["skipped_count"]) == (2, 4, 1)
    assert report["skipped"][0]["session_id"] == "odd"
    assert report["notes"] == [{"session_id": "abc-1", "left_out": ["1 image"]}]
    titles = {listed["session_id"]: listed["title"] for listed in fresh.get("/sessions").json()}
    assert titles == {"abc-1": "Tides", "def-2": "Name a tall tree"}
    assert [m["content"] for m in fresh.get("/history/def-2").json()] == [
        "Name a tall tree",
        "The sequoia.",
    ]
    assert fresh.get("/sessions/def-2").json()["pinned"] is True
    assert fresh.get("/search?q=moon").json()[0]["session_id"] == "abc-1"
    assert take(fresh, body)["imported"] == 0
    assert take(fresh, json.dumps(CHATGPT, indent=2).encode())["skipped_count"] == 1
    answer = fresh.post("/chat", json={"session_id": "abc-1", "message": "and ebb?"}).json()
    receipt = fresh.get(f"/turns/{answer['turn_id']}/context").json()
    assert receipt["messages"][0]["content"] == "Why are there tides?"


def test_markdown_is_for_people_and_openais_lists_for_programs(
    client: TestClient, conversations: bytes
) -> None:
    text = client.get("/export?format=markdown&session_id=failed").text
    assert text.startswith("# ")
    assert "## User (" in text
    assert "UTC, failed)" in text
    assert text.endswith("\n\nReply to: and go on then\n")

    (line,) = client.get("/export?format=openai&session_id=failed").content.splitlines()
    assert json.loads(line)["messages"][-1] == {
        "role": "assistant",
        "content": "Reply to: and go on then",
    }
    every = client.get("/export?format=openai").content.splitlines()
    assert len(every) == len(client.get("/sessions").json())
    assert client.get("/export?format=xml").status_code == 422


def test_a_file_that_is_no_export_is_refused_with_what_would_be_one(fresh: TestClient) -> None:
    for body in (b"<html>", b"just a note", b"%PDF-1.7", b""):
        response = fresh.post("/import", content=body)
        assert (response.status_code, response.json()["detail"]) == (
            422,
            "Not a conversation export. "
            "Chatkeep reads exports from ChatGPT and Open WebUI, and its own.",
        )
    broken = fresh.post("/import", content=b'{"id": nothing}').json()["detail"]
    assert broken.startswith("Not a conversation export: it is not JSON")
    assert broken.endswith(". Chatkeep reads exports from ChatGPT and Open WebUI, and its own.")


def test_what_is_nested_deeply_is_refused_before_it_costs_anything(fresh: TestClient) -> None:
    for body in (b"[" * 100_000, b'[{"id":"x","mapping":' + b'{"a":' * 30_000, b"[[" + b"[" * 300):
        response = fresh.post("/import", content=body)
        assert response.status_code == 422
    assert "nested" in response.json()["detail"]


def test_what_came_in_before_the_file_broke_is_reported(fresh: TestClient) -> None:
    body = json.dumps([CHATGPT]).encode()[:-1] + b', {"id": "cut'

    report = take(fresh, body)

    assert report["imported"] == 1
    assert "cannot be read" in report["skipped"][-1]["reason"]


AT = "2026-01-01T00:00:00.000000Z"


def lines_of(*sessions: dict[str, Any]) -> bytes:
    lines = [{"type": "chatkeep", "version": 1}]
    at = AT
    for session in sessions:
        messages = session.pop("messages", 2)
        own = {"session_id": "s", "title": "Words", "title_source": "model", "pinned": False,
               "archived": False, "model": None, "system_prompt": None, "context_messages": None,
               "metadata": {}, "head_seq": messages, "created_at": at, "updated_at": at,
               **session}  # fmt: skip
        end = own.pop("end", True)
        lines.append({"type": "session", **own})
        for seq in range(1, messages + 1):
            lines.append(  # noqa: PERF401  (one of several kinds of lines)
                {"type": "message", "seq": seq, "id": f"msg_{own['session_id']}_{seq}",
                 "parent_seq": seq - 1 or None, "role": "user" if seq % 2 else "assistant",
                 "content": f"text {seq}", "status": "completed", "turn_id": None,
                 "created_at": at}
            )  # fmt: skip
        if end:
            lines.append({"type": "end", "session_id": own["session_id"]})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def test_each_session_that_is_left_out_is_reported(fresh: TestClient) -> None:
    take(fresh, lines_of({"session_id": "a"}))

    report = take(
        fresh,
        lines_of({"session_id": "a"}, {"session_id": "b", "title": "x" * 2_000},
                 {"session_id": "c"}, {"session_id": "."}, {"session_id": "d\x1b]0;x"},
                 {"session_id": "e", "created_at": "2026-01-31T12:00:00"},
                 {"session_id": "f", "updated_at": "9999-12-31T23:59:59-23:59"},
                 {"session_id": "g", "metadata": {"a": json.loads("[" * 300 + "]" * 300)}},
                 {"session_id": "h", "title_pending": True}),
    )  # fmt: skip

    assert report["imported"] == 1
    assert report["skipped_count"] == 8
    assert {session["session_id"] for session in fresh.get("/sessions").json()} == {"a", "c"}


def test_a_session_that_was_cut_off_can_come_again_in_the_same_file(fresh: TestClient) -> None:
    again = {"session_id": "twice", "messages": 450}

    report = take(fresh, lines_of({**again, "end": False}, dict(again)))

    assert (report["imported"], report["skipped_count"]) == (1, 1)
    assert len(fresh.get("/history/twice").json()) == 450


TURN: dict[str, Any] = {
    "type": "turn", "id": "turn_x", "seq": 1, "status": "completed", "attempt": 1,
    "model": "openai:scripted", "options": {}, "input": None, "branch_seq": None,
    "regenerates": None, "context_messages": 5, "context_seq": 1, "system_prompt_digest": None,
    "user_message_id": "msg_s_1", "message_id": "msg_s_2", "user_seq": 1, "input_tokens": 1,
    "output_tokens": 1, "finish_reason": "stop", "error_code": None, "error_detail": None,
    "created_at": "2026-01-01T00:00:00.000000Z", "started_at": "2026-01-01T00:00:00.000000Z",
    "ended_at": "2026-01-01T00:00:00.000000Z",
}  # fmt: skip
WAITED = {"status": "cancelled", "input": "x", "user_seq": None, "error_code": "turn-cancelled"}


@pytest.mark.parametrize(
    ("turn", "is_whole"),
    [
        ({}, True),
        (WAITED, False),
        ({**WAITED, "user_message_id": "msg_new"}, True),
        ({"user_seq": None}, False),
        ({"user_seq": None, "regenerates": "turn_y"}, False),
        ({"user_message_id": "msg_nobody"}, False),
        ({"user_seq": 2}, False),
        ({"status": "failed"}, False),
        ({"status": "running", "ended_at": None}, True),
        ({"input": "x"}, False),
        ({"input_tokens": 2**62}, False),
        ({"seq": 2**62}, False),
        ({"branch_seq": 7}, False),
    ],
)
def test_a_session_that_came_in_can_be_used_whatever_its_turns_say(
    fresh: TestClient, turn: dict[str, Any], is_whole: bool
) -> None:
    lines = lines_of({}).splitlines(keepends=True)
    lines.insert(2, json.dumps({**TURN, **turn}).encode() + b"\n")

    assert take(fresh, b"".join(lines))["imported"] == int(is_whole)

    if is_whole:
        assert fresh.get("/turns/turn_x").is_success
        assert fresh.get("/turns/turn_x/events").is_success
        assert fresh.get("/turns/turn_x/context").status_code in {200, 409}
        again = fresh.post("/chat", json={"session_id": "s", "regenerate": "turn_x"})
        assert again.status_code == 200, again.text
    assert fresh.post("/chat", json={"session_id": "s", "message": "go on"}).is_success
    assert fresh.get("/usage").is_success
    assert fresh.get("/export").content.endswith(b'"session_id":"s"}\n')


def test_messages_of_tools_and_systems_are_read_by_the_model(
    fresh: TestClient, upstream: Upstream
) -> None:
    lines = lines_of({"messages": 4}).decode().splitlines(keepends=True)
    lines[3] = lines[3].replace('"assistant"', '"tool"')
    lines[4] = lines[4].replace('"user"', '"system"')
    take(fresh, "".join(lines).encode())

    assert fresh.post("/chat", json={"session_id": "s", "message": "go on"}).is_success

    read = [text for _, text in upstream.replies[-1].messages]
    assert read[1:] == ["text 1", "text 2", "text 3", "text 4", "go on"]


def test_metadata_has_a_depth_that_every_answer_can_have(client: TestClient) -> None:
    client.post("/chat", json={"session_id": "deep", "message": "a b c"})
    for depth, status in ((30, 200), (40, 422), (254, 422)):
        value = json.loads('{"a":' * depth + "1" + "}" * depth)
        change = {"metadata": value}
        assert client.patch("/sessions/deep", json=change).status_code == status
    change = {"metadata": {"pattern": "\\u0000"}}
    assert client.patch("/sessions/deep", json=change).json()["metadata"] == change["metadata"]
    assert client.get("/sessions/deep").is_success


FAR = "9998-12-31T23:59:59.000000Z"


def test_times_in_the_future_become_the_time_of_the_import(fresh: TestClient) -> None:
    """So that the session does not stay on top for ever, nor what is posted to it from now on."""
    turn = {**TURN, "created_at": FAR, "started_at": FAR, "ended_at": FAR}
    body = lines_of({"messages": 4, "created_at": FAR, "updated_at": FAR}).splitlines(True)
    body = [line.replace(AT.encode(), FAR.encode()) for line in body]
    body.insert(2, json.dumps(turn).encode() + b"\n")

    report = take(fresh, b"".join(body))

    assert report["notes"] == [{"session_id": "s", "left_out": ["9 times in the future"]}]
    assert fresh.post("/chat", json={"session_id": "new", "message": "now"}).is_success
    assert fresh.post("/chat", json={"session_id": "s", "message": "go on"}).is_success
    assert b"9998" not in fresh.get("/export").content
    times = [message["created_at"] for message in fresh.get("/history/s").json()]
    assert times == sorted(times)
    latest = rfc3339(now() + 301 * 1_000_000)
    assert max(times) < latest
    assert fresh.get("/sessions/s").json()["updated_at"] < latest


def test_times_in_the_future_come_from_elsewhere_too(fresh: TestClient) -> None:
    chat = copy.deepcopy(OPEN_WEBUI)
    chat["updated_at"] = 7_000_000_000
    chat["chat"]["history"]["messages"]["b"]["timestamp"] = 7_000_000_000_000

    report = take(fresh, json.dumps([chat]).encode())

    assert report["notes"] == [{"session_id": "def-2", "left_out": ["2 times in the future"]}]
    assert fresh.get("/sessions/def-2").json()["updated_at"] < rfc3339(now() + 301 * 1_000_000)


def test_times_that_two_clocks_may_differ_by_stay_as_they_are(fresh: TestClient) -> None:
    soon = rfc3339(now() + 200 * 1_000_000)

    report = take(fresh, lines_of({"updated_at": soon}))

    assert report["notes"] == []
    assert fresh.get("/sessions/s").json()["updated_at"] == soon


@pytest.mark.parametrize("at", ["1969-12-31T23:59:59.000000Z", "0001-01-01T00:00:00.000000Z"])
def test_a_time_before_1970_is_refused_with_a_reason(fresh: TestClient, at: str) -> None:
    report = take(fresh, lines_of({"created_at": at}))

    assert "created_at" in report["skipped"][0]["reason"]


HALF = "\ud83d"
HAZARDS: dict[str, Any] = {
    "a title with NUL and half a character": {"title": f"a\0b{HALF}c"},
    "an id with NUL and half a character": {"id": f"i\0d{HALF}"},
    "a title that is no text": {"title": {"a": [1]}},
    "huge numbers": {"create_time": 10**300, "update_time": -(10**300)},
    "a circle": {"mapping": {name: {**CHATGPT["mapping"]["n1"], "parent": parent}
                             for name, parent in (("n0", "n2"), ("n1", "n0"), ("n2", "n1"))}},
    "a parent that comes later": {"mapping": dict(reversed(CHATGPT["mapping"].items()))},
    "content with NUL": {"mapping": {"n1": json.loads(
        json.dumps(CHATGPT["mapping"]["n1"]).replace("tides", "ti\\u0000des\\ud83d"))}},
}  # fmt: skip


@pytest.mark.parametrize("name", HAZARDS)
def test_what_is_odd_in_a_conversation_does_not_keep_it_out(fresh: TestClient, name: str) -> None:
    body = json.dumps([{**CHATGPT, **HAZARDS[name]}, OPEN_WEBUI]).encode()

    report = take(fresh, body)

    assert (report["imported"], report["skipped_count"]) == (2, 0)
    for session in fresh.get("/sessions").json():
        path = f"/history/{quote(session['session_id'], safe='')}"
        assert fresh.get(path).is_success
        answer = fresh.post("/chat", json={"session_id": session["session_id"], "message": "go on"})
        assert answer.is_success
    assert fresh.get("/export").is_success


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" * 5_000])
def test_a_number_that_is_none_ends_the_reading_with_a_reason(
    fresh: TestClient, number: str
) -> None:
    body = f'[{json.dumps(OPEN_WEBUI)}, {{"id": "x", "mapping": {number}}}]'.encode()

    report = take(fresh, body)

    assert report["imported"] == 1
    assert "it is not JSON" in report["skipped"][0]["reason"]


def test_the_last_of_two_equal_names_counts(fresh: TestClient) -> None:
    body = json.dumps(OPEN_WEBUI).replace('"title": ""', '"title": "One", "title": "Two"')

    assert take(fresh, body.encode())["imported"] == 1
    assert fresh.get("/sessions/def-2").json()["title"] == "Two"


@pytest.mark.parametrize("path", ["/import", "/chat"])
def test_a_compressed_body_is_refused_clearly(fresh: TestClient, path: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

    response = fresh.post(path, content=gzip.compress(b"[]"), headers=headers)

    assert response.status_code == 415
    assert "compressed" in response.json()["detail"]


def test_a_message_has_a_length_that_others_can_wait_for(fresh: TestClient) -> None:
    chat = copy.deepcopy(OPEN_WEBUI)
    chat["chat"]["history"]["messages"]["b"]["content"] = "x" * 60_001
    ours = [
        lines_of({"session_id": name}).replace(b"text 2", b"x" * size)
        for name, size in (("long", 60_001), ("fits", 60_000))
    ]

    for body, count in ((json.dumps([chat, CHATGPT]).encode(), 1), (ours[0], 0), (ours[1], 1)):
        report = take(fresh, body)
        assert report["imported"] == count
        assert report["skipped_count"] == (1 if body is not ours[1] else 0)
    assert {listed["session_id"] for listed in fresh.get("/sessions").json()} == {"abc-1", "fits"}
    assert "CHATKEEP_MAX_REPLY_CHARS" in take(fresh, ours[0])["skipped"][0]["reason"]
