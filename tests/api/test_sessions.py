"""One session: read, changed without losing anybody's change, listed by what it is."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from tests.upstream import Upstream


@pytest.fixture
def name(client: TestClient, session: str) -> str:
    name = re.sub(r"\W+", "-", session)
    client.post("/chat", json={"session_id": name, "message": "good morning to you"})
    return name


def read(client: TestClient, name: str) -> Any:
    response = client.get(f"/sessions/{name}")
    assert response.status_code == 200
    return response


def listed(client: TestClient, **only: Any) -> list[str]:
    sessions = client.get("/sessions", params=only).json()
    paged = client.get("/sessions", params={**only, "limit": 1_000}).json()
    assert paged == sessions
    return [session["session_id"] for session in sessions]


def test_a_session_tells_all_that_can_be_set_of_it(client: TestClient, name: str) -> None:
    history = client.get(f"/history/{name}").json()

    session = read(client, name).json()

    assert session["session_id"] == name
    assert session["message_count"] == 2
    assert session["head"] == history[-1]["id"]
    assert (session["pinned"], session["archived"], session["metadata"]) == (False, False, {})
    settings = ("model", "system_prompt", "context_messages", "temperature", "max_tokens")
    for unset in (*settings, "running_turn"):
        assert session[unset] is None
    assert session["queued_turns"] == []


def test_what_a_request_names_is_changed_and_nothing_else(client: TestClient, name: str) -> None:
    before = read(client, name).json()
    change = {"pinned": True, "metadata": {"user": {"id": 7, "tags": ["a", "ü"]}}}

    changed = client.patch(f"/sessions/{name}", json=change)

    assert changed.status_code == 200
    assert changed.json() == {**before, **change}
    assert read(client, name).json() == changed.json()
    assert read(client, name).headers["etag"] == changed.headers["etag"]


def test_settings_of_a_session_hold_for_its_turns_until_they_are_taken_back(
    client: TestClient, name: str
) -> None:
    change = {"system_prompt": "Speak as a pirate.", "context_messages": 0}
    client.patch(f"/sessions/{name}", json=change)
    answer = client.post("/chat", json={"session_id": name, "message": "ahoy"}).json()
    receipt = client.get(f"/turns/{answer['turn_id']}/context").json()
    assert receipt["system_prompt"] == "Speak as a pirate."
    assert [message["content"] for message in receipt["messages"]] == ["ahoy"]

    client.patch(f"/sessions/{name}", json={"system_prompt": None, "context_messages": None})
    answer = client.post("/chat", json={"session_id": name, "message": "again"}).json()
    receipt = client.get(f"/turns/{answer['turn_id']}/context").json()
    assert receipt["system_prompt"].startswith("You are a helpful assistant")
    assert len(receipt["messages"]) == 5


def ask(client: TestClient, name: str, **more: Any) -> dict[str, Any]:
    """Post a turn; return its id, and how its reply was sampled."""
    answer = client.post("/chat", json={"session_id": name, **more})
    assert answer.status_code == 200
    turn_id = answer.json()["turn_id"]
    receipt = client.get(f"/turns/{turn_id}/context").json()
    return {"id": turn_id, "sampled": (receipt["temperature"], receipt["max_tokens"])}


def test_how_replies_are_sampled_is_set_for_a_session_and_a_turn_may_say_otherwise(
    client: TestClient, upstream: Upstream, name: str
) -> None:
    changed = client.patch(f"/sessions/{name}", json={"temperature": 1, "max_tokens": 50})
    assert (changed.json()["temperature"], changed.json()["max_tokens"]) == (1.0, 50)

    first = ask(client, name, message="one")
    assert first["sampled"] == (1.0, 50)
    sent = upstream.replies[-1].body
    assert (sent["temperature"], sent["max_completion_tokens"]) == (1.0, 50)
    assert ask(client, name, message="two", temperature=0)["sampled"] == (0.0, 50)
    assert ask(client, name, message="three", max_tokens=7)["sampled"] == (1.0, 7)

    client.patch(f"/sessions/{name}", json={"temperature": None, "max_tokens": 60})
    assert ask(client, name, message="four")["sampled"] == (None, 60)
    # Once more changes nothing.
    assert ask(client, name, regenerate=first["id"])["sampled"] == (1.0, 50)
    assert ask(client, name, regenerate=first["id"], temperature=2)["sampled"] == (2.0, 50)


def test_a_title_that_a_person_set_is_never_overwritten(client: TestClient, name: str) -> None:
    client.patch(f"/sessions/{name}", json={"title": "  Mine  "})

    client.post("/chat", json={"session_id": name, "message": "something else altogether"})

    session = read(client, name).json()
    assert (session["title"], session["title_source"]) == ("Mine", "user")


def test_a_lost_update_is_refused(client: TestClient, name: str) -> None:
    tag = read(client, name).headers["etag"]
    first = client.patch(
        f"/sessions/{name}", json={"title": "First"}, headers={"if-match": f'"x", {tag}'}
    )

    second = client.patch(f"/sessions/{name}", json={"title": "Second"}, headers={"if-match": tag})

    assert first.status_code == 200
    assert second.status_code == 412
    assert second.json()["type"] == "/problems/session-changed"
    assert read(client, name).json()["title"] == "First"
    any_tag = {"if-match": "*"}
    assert client.patch(f"/sessions/{name}", json={"title": "3"}, headers=any_tag).is_success


def test_a_tag_is_another_one_after_a_turn_and_saves_reading_the_same_twice(
    client: TestClient, name: str
) -> None:
    tag = read(client, name).headers["etag"]
    same = client.get(f"/sessions/{name}", headers={"if-none-match": tag})
    assert (same.status_code, same.content) == (304, b"")

    client.post("/chat", json={"session_id": name, "message": "more"})

    assert read(client, name).headers["etag"] != tag


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({}, "#"),
        ({"titel": "x"}, "#/titel"),
        ({"title": ""}, "#/title"),
        ({"title": "two\nlines"}, "#/title"),
        ({"title": "x" * 256}, "#/title"),
        ({"title": None}, "#/title"),
        ({"title": "\ud800"}, "#/title"),
        ({"pinned": "yes"}, "#/pinned"),
        ({"archived": None}, "#/archived"),
        ({"model": "openai:unknown"}, "#/model"),
        ({"context_messages": -1}, "#/context_messages"),
        ({"context_messages": 1_001}, "#/context_messages"),
        ({"temperature": -0.1}, "#/temperature"),
        ({"temperature": 2.1}, "#/temperature"),
        ({"temperature": "1"}, "#/temperature"),
        ({"max_tokens": 0}, "#/max_tokens"),
        ({"max_tokens": 1_000_001}, "#/max_tokens"),
        ({"max_tokens": 1.5}, "#/max_tokens"),
        ({"metadata": []}, "#/metadata"),
        ({"metadata": {"a": "x" * 20_000}}, "#/metadata"),
        ({"metadata": {"a": "\0"}}, "#/metadata"),
        ({"metadata": {"a": 2**70}}, "#/metadata"),
        ({"head": ""}, "#/head"),
        ({"head": None}, "#/head"),
    ],
)
def test_a_wrong_value_is_refused_and_named(
    client: TestClient, name: str, change: dict[str, Any], pointer: str
) -> None:
    before = read(client, name).json()

    response = client.patch(
        f"/sessions/{name}",
        content=json.dumps(change),
        headers={"content-type": "application/json"},
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer
    assert read(client, name).json() == before


def test_an_unknown_session_is_not_there_for_any_verb(client: TestClient) -> None:
    assert client.get("/sessions/nobody").status_code == 404
    assert client.patch("/sessions/nobody", json={"pinned": True}).status_code == 404
    assert client.delete("/sessions/nobody").status_code == 404


def test_the_list_can_be_asked_for_some(client: TestClient) -> None:
    for number, title in enumerate(("Äpfel und Birnen", "100% wool_socks", "Plums")):
        client.post("/chat", json={"session_id": f"some {number}", "message": "a b c"})
        client.patch(f"/sessions/some {number}", json={"title": title})
    client.patch("/sessions/some 1", json={"archived": True})
    client.patch("/sessions/some 2", json={"pinned": True})
    since = read(client, "some 1").json()["updated_at"]

    assert listed(client, archived=True) == ["some 1"]
    assert "some 1" not in listed(client, archived=False)
    assert listed(client, pinned=True, title="plums") == ["some 2"]
    assert listed(client, title="äPFEL") == ["some 0"]
    assert listed(client, title="0% w") == ["some 1"]
    assert listed(client, title="_") == ["some 1"]
    assert listed(client, title="%%") == []
    assert listed(client, updated_since=since) == ["some 2", "some 1"]
    assert client.get("/sessions?updated_since=yesterday").status_code == 422


def test_pages_of_some_lead_on_to_some(client: TestClient) -> None:
    for number in range(5):
        client.post("/chat", json={"session_id": f"kept {number}", "message": "a b c"})
        client.patch(f"/sessions/kept {number}", json={"title": f"Kept {number}"})

    first = client.get("/sessions?title=kept&limit=2")
    client.delete("/sessions/kept 3")
    second = client.get(first.links["next"]["url"])
    third = client.get(second.links["next"]["url"])

    names = [session["session_id"] for page in (first, second, third) for session in page.json()]
    assert names == ["kept 4", "kept 3", "kept 2", "kept 1", "kept 0"]
    assert "next" not in third.links


def test_the_models_on_offer_are_listed_and_what_holds_where_nothing_is_set(
    client: TestClient, name: str
) -> None:
    history = client.get(f"/history/{name}").json()
    receipt = client.get(f"/turns/{history[0]['turn_id']}/context").json()

    assert client.get("/models").json() == {
        "default": "openai:scripted",
        "models": [{"id": "openai:scripted", "provider": "openai"}],
        "defaults": {"system_prompt": receipt["system_prompt"], "context_messages": 5},
        "notice": None,
    }


@pytest.mark.parametrize(
    "odd",
    ["a/b", "/", "//x/", "ü 🦔", "a?b#c", "..a", "a/../b", "history/x", "a\u2028b", "x" * 255,
     "+", "a;b", "\\", '"', "👩‍👩‍👧", "e\u0301"],
)  # fmt: skip
def test_every_name_that_a_session_can_have_can_be_read_changed_and_deleted(
    client: TestClient, odd: str
) -> None:
    assert client.post("/chat", json={"session_id": odd, "message": "a b c"}).is_success
    path = f"/sessions/{quote(odd, safe='')}"

    assert client.get(path).json()["session_id"] == odd
    assert client.patch(path, json={"title": "Odd"}).json()["title"] == "Odd"
    assert odd in listed(client, title="Odd")
    hits = client.get("/search", params={"q": "a", "session_id": odd}).json()
    assert {hit["session_id"] for hit in hits} == {odd}
    assert client.get("/export", params={"session_id": odd}).is_success
    # The files of PostgreSQL keep what is deleted for a while, and a server cannot change that.
    is_sqlite = client.app.state.services.store.erases_files  # type: ignore[attr-defined]  # Starlette's type
    assert client.delete(path).status_code == (204 if is_sqlite else 202)
    assert client.get(path).status_code == 404
    assert odd not in listed(client)


def test_a_weak_tag_is_no_proof_that_nothing_has_changed(client: TestClient, name: str) -> None:
    weak = {"if-match": f"W/{read(client, name).headers['etag']}"}
    assert client.patch(f"/sessions/{name}", json={"title": "x"}, headers=weak).status_code == 412


def test_a_title_that_nobody_sees_is_refused(client: TestClient) -> None:
    client.post("/chat", json={"session_id": "untitled", "message": "m"})

    response = client.patch("/sessions/untitled", json={"title": "\u200b\u3164"})

    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "#/title", "detail": "must not be blank"}]
