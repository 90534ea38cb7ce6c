"""Search: every word, any language, any query, and snippets that are safe to show."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from chatkeep.store.search import hits


def say(client: TestClient, session_id: str, *messages: str) -> None:
    for message in messages:
        sent = client.post("/chat", json={"session_id": session_id, "message": message})
        assert sent.status_code == 200


def find(client: TestClient, q: str, **more: Any) -> list[dict[str, Any]]:
    response = client.get("/search", params={"q": q, **more})
    assert response.status_code == 200, response.text
    hits: list[dict[str, Any]] = response.json()
    return hits


def sessions_with(client: TestClient, q: str, **more: Any) -> list[str]:
    """The sessions in which a user's message was found."""
    return [hit["session_id"] for hit in find(client, q, role="user", **more)]


def marked(hit: dict[str, Any]) -> list[str]:
    return [part["text"] for part in hit["snippet"] if part["match"]]


@pytest.mark.parametrize(
    ("message", "query"),
    [
        ("the quagmire of Paris", "QUAGMIRE"),
        ("ein schönes Gürteltier", "gurteltier"),
        ("a gurteltiere too", "Gürteltiere"),
        ("フランスの首都はどこですか", "首都"),
        ("江戸城の天守", "天"),
        ("ﾃﾞｰﾀ と ＡＢＣＤ", "abcd"),
        ("สวัสดีครับ ช่วยอธิบาย", "อธิบาย"),
        ("한국어로검색해주세요", "검색"),
        ("नमस्ते क्या आप", "नमस्ते"),
        ("напишите стихотворение", "СТИХОТВОРЕНИЕ"),
        ("call foo_quux(bar)", "foo_quux"),
        ("it can't_be O'Neillish", "o'neillish"),
        ("an 🦔 emojified hedgehog", "🦔 emojified"),
        ("zzyzx-road, exit 239", '"road exit"'),
        ("perambulation", "peramb*"),
    ],
)
def test_words_of_any_language_are_found_and_marked(
    client: TestClient, session: str, message: str, query: str
) -> None:
    say(client, session, message)

    hits = [hit for hit in find(client, query) if hit["session_id"] == session]

    assert {hit["role"] for hit in hits} >= {"user"}
    for hit in hits:
        assert marked(hit)
    (message_hit,) = [hit for hit in hits if hit["role"] == "user"]
    assert "".join(part["text"] for part in message_hit["snippet"]) == message


@pytest.mark.parametrize(
    "query",
    ['"', "AND", "OR NOT", "NEAR(", "a AND", "*", "^", "body:", "-", "()", "' OR 1=1 --", "\x00",
     '"unclosed', "{x} : y", "a" * 1_000, "+" * 1_000, '" * "', "scope:t1", "\ufffd", "%", "🦔"],
)  # fmt: skip
def test_a_hostile_query_is_words(client: TestClient, query: str) -> None:
    assert isinstance(find(client, query), list)


def test_words_of_fts_are_words(client: TestClient, session: str) -> None:
    say(client, session, "neither fish AND fowl NEAR water")

    assert sessions_with(client, "fowl AND fish") == [session]
    assert sessions_with(client, "fish OR unheardof") == []
    assert sessions_with(client, "NEAR") == [session]


def test_every_word_must_be_there_and_a_phrase_in_its_order(
    client: TestClient, session: str
) -> None:
    say(client, session, "weasels love green marmalade")

    assert sessions_with(client, "marmalade weasels") == [session]
    assert sessions_with(client, "marmalade wolverines") == []
    assert sessions_with(client, '"green marmalade"') == [session]
    assert sessions_with(client, '"marmalade green"') == []
    assert sessions_with(client, "marma") == []


def test_hits_can_be_narrowed(client: TestClient, session: str) -> None:
    say(client, session, "1st cassowary")
    say(client, f"{session} too", "2nd cassowary")
    seen = client.get(f"/history/{session} too").json()[0]["created_at"]

    assert sessions_with(client, "cassowary") == [f"{session} too", session]
    assert sessions_with(client, "cassowary", session_id=session) == [session]
    assert sessions_with(client, "cassowary", since=seen) == [f"{session} too"]
    assert sessions_with(client, "cassowary", until=seen) == [session]
    roles = {hit["role"] for hit in find(client, "cassowary", role=["user", "assistant"])}
    assert roles == {"user", "assistant"}
    assert client.get("/search?q=x&session_id=nobody").status_code == 404
    assert client.get("/search?q=x&role=nobody").status_code == 422
    assert client.get("/search").status_code == 422


def test_titles_are_found_as_they_are_now(client: TestClient, session: str) -> None:
    say(client, session, "a b c")
    client.patch(f"/sessions/{session}", json={"title": "Oldish Bandicoot"})
    client.patch(f"/sessions/{session}", json={"title": "Newish Bandicoot"})

    (hit,) = find(client, "bandicoot")

    assert (hit["session_id"], hit["title"]) == (session, "Newish Bandicoot")
    assert (hit["message_id"], hit["role"]) == (None, None)
    assert find(client, "oldish") == []


def test_a_hit_tells_whether_it_is_on_the_active_branch(client: TestClient, session: str) -> None:
    def post(message: str, **more: Any) -> dict[str, Any]:
        body = {"session_id": session, "message": message, **more}
        return dict(client.post("/chat", json=body).json())

    def branches() -> dict[str, bool]:
        hits = find(client, "binturong")
        return {hit["message_id"]: hit["on_active_branch"] for hit in hits}

    first = post("a binturong")
    left = post("a left binturong")
    right = post("a right binturong", parent_id=first["message_id"])
    client.patch(f"/sessions/{session}", json={"title": "Binturong"})

    def names(answer: dict[str, Any]) -> set[str]:
        return {answer["user_message_id"], answer["message_id"]}

    active = branches()
    assert active.pop(None) is True  # type: ignore[call-overload]  # a title has no message
    assert {name for name in active if not active[name]} == names(left)
    assert {name for name in active if active[name]} == names(first) | names(right)

    client.patch(f"/sessions/{session}", json={"head": left["message_id"]})
    assert {name for name, is_active in branches().items() if not is_active} == names(right)


def test_a_message_that_is_about_it_comes_first(client: TestClient, session: str) -> None:
    say(client, f"{session} 1", "okapi okapi okapi, nothing but okapi")
    say(client, f"{session} 2", "once upon a time " * 40 + "there was an okapi")

    assert sessions_with(client, "okapi") == [f"{session} 1", f"{session} 2"]


def test_a_snippet_is_text_around_the_words(client: TestClient, session: str) -> None:
    before, after = "padding " * 200, " and more" * 200
    say(client, session, f"{before}<script>alert('wallaby')</script>{after}")

    (hit,) = find(client, "wallaby", role="user")

    text = "".join(part["text"] for part in hit["snippet"])
    assert text.startswith("…")
    assert text.endswith("…")
    assert len(text) < 300
    # Plain text in pieces: who shows it as text shows a tag as a tag.
    assert "<script>alert('wallaby')</script>" in text
    assert marked(hit) == ["wallaby"]


def test_pages_put_together_have_every_hit_once_while_new_ones_come(
    client: TestClient, session: str
) -> None:
    say(client, session, *(f"numbat number {number}" for number in range(30)))
    whole = {hit["message_id"] for hit in find(client, "numbat", limit=100)}
    assert len(whole) > 60

    url, ids = "/search?q=numbat&limit=7", []
    while url:
        page = client.get(url)
        assert len(page.json()) <= 7
        ids += [hit["message_id"] for hit in page.json()]
        say(client, f"{session} later", "another numbat")
        url = page.links.get("next", {}).get("url", "")

    assert len(ids) == len(set(ids))
    assert set(ids) == whole


def test_pages_go_on_beyond_the_window_that_is_ranked(
    client: TestClient, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hits, "WINDOW", 4)
    say(client, session, *(f"dunnart {'dunnart ' * (n % 3)}{n}" for n in range(10)))

    url, ids = "/search?q=dunnart&limit=3", []
    while url:
        page = client.get(url)
        ids += [hit["message_id"] for hit in page.json()]
        url = page.links.get("next", {}).get("url", "")

    whole = [m["id"] for m in client.get(f"/history/{session}").json()]
    assert sorted(map(str, ids)) == sorted([*whole, "None"])


@pytest.mark.parametrize("after", ["x", "WzEsMl0", "W251bGwsMSwiMHgxIiwxXQ", "////"])
def test_a_place_that_is_none_is_refused(client: TestClient, after: str) -> None:
    response = client.get("/search", params={"q": "x", "after": after})

    assert response.status_code == 422


def test_a_page_asks_for_what_the_first_one_asked_for(client: TestClient, session: str) -> None:
    say(client, session, "quoll number one", "quoll number two")

    first = client.get("/search?q=quoll&role=user&role=assistant&limit=1")

    assert first.links["next"]["url"].count("role=") == 2


def test_times_are_kept_where_many_messages_have_the_same(client: TestClient) -> None:
    from tests.api.test_archive import lines_of

    body = lines_of({"session_id": "same time", "messages": 900}).replace(b"text ", b"bilby ")
    assert client.post("/import", content=body).json()["imported"] == 1
    sessions_with = {"q": "bilby", "limit": 100}

    after = client.get("/search", params={**sessions_with, "since": "2026-01-01T00:00:00.5Z"})
    before = client.get("/search", params={**sessions_with, "until": "2026-01-01T00:00:00.5Z"})

    assert after.json() == []
    assert len(before.json()) == 100
