"""The settings of a session: what is chosen reaches the model, and is still there later."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    hold,
    send,
    session_of,
    wait_until_answered,
    wait_until_held,
)
from tests.process import Server
from tests.upstream import Upstream

SCRIPTED, OTHER = "openai:scripted", "openai:other"
RHYME = "Answer in rhyme, always."


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {**running_upstream.env, "CHATKEEP_MODEL": SCRIPTED, "CHATKEEP_MODELS": OTHER}
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def open_settings(page: Page) -> Locator:
    """Open the settings of the conversation; return the dialog."""
    button(page, "Conversation settings").click()
    return page.get_by_role("dialog", name="Conversation settings")


def choose(page: Page, *, model: str = OTHER, prompt: str = RHYME, size: str = "1") -> None:
    dialog = open_settings(page)
    dialog.get_by_role("combobox", name="Model").select_option(model)
    dialog.get_by_label("Custom").check()
    dialog.get_by_role("textbox", name="System prompt").fill(prompt)
    dialog.get_by_label("Context: previous messages to include").fill(size)
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)


def settings_of(server: Server, session: str) -> tuple[str | None, str | None, int | None]:
    row = server.get(f"/sessions/{quote(session, safe='')}")
    return row["model"], row["system_prompt"], row["context_messages"]


def test_what_is_set_reaches_the_model_from_the_next_message_on(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str
) -> None:
    server.chat(session, "before")
    page = open_page(session)
    choose(page)
    assert settings_of(server, session) == (OTHER, RHYME, 1)
    send(page, "after")
    expect(answers(page).last).to_contain_text("Reply to: after")
    expect(answers(page).last).to_contain_text(OTHER)
    assert upstream.replies[-1].body["model"] == "other"
    assert upstream.replies[-1].messages == [
        ("system", RHYME),
        ("assistant", "Reply to: before"),
        ("user", "after"),
    ]

    page.reload()
    expect(page.get_by_role("combobox", name="Model")).to_have_value(OTHER)
    dialog = open_settings(page)
    expect(dialog.get_by_role("combobox", name="Model")).to_have_value(OTHER)
    expect(dialog.get_by_role("textbox", name="System prompt")).to_have_value(RHYME)
    expect(dialog.get_by_label("Context: previous messages to include")).to_have_value("1")


def test_settings_of_a_new_session_apply_from_its_first_message(
    page: Page, server: Server, upstream: Upstream
) -> None:
    choose(page)
    dialog = open_settings(page)
    expect(dialog.get_by_role("textbox", name="System prompt")).to_have_value(RHYME)
    dialog.get_by_role("button", name="Cancel").click()
    send(page, "one")
    wait_until_answered(page)
    first = upstream.replies[-1]
    assert (first.body["model"], first.messages) == ("other", [("system", RHYME), ("user", "one")])
    assert settings_of(server, session_of(page)) == (OTHER, RHYME, 1)
    send(page, "two")
    expect(answers(page).last).to_contain_text("Reply to: two")
    assert upstream.replies[-1].body["model"] == "other"
    assert upstream.replies[-1].messages == [
        ("system", RHYME),
        ("assistant", "Reply to: one"),
        ("user", "two"),
    ]

    page.get_by_role("link", name="New chat").first.click()
    expect(page.get_by_role("combobox", name="Model")).to_have_value(SCRIPTED)
    send(page, "elsewhere")
    expect(answers(page)).to_contain_text("Reply to: elsewhere")
    wait_until_answered(page)
    assert upstream.replies[-1].body["model"] == "scripted"
    assert upstream.replies[-1].messages[0] != ("system", RHYME)
    assert settings_of(server, session_of(page)) == (None, None, None)


def test_an_empty_system_prompt_is_none_at_all(
    page: Page, server: Server, upstream: Upstream
) -> None:
    choose(page, prompt="", size="0")
    for text in ("one", "two"):
        send(page, text)
        expect(answers(page).last).to_contain_text(f"Reply to: {text}")
        wait_until_answered(page)
        assert upstream.replies[-1].messages == [("user", text)]
    assert settings_of(server, session_of(page)) == (OTHER, "", 0)


def test_settings_can_be_reset_to_the_servers_defaults(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str
) -> None:
    server.chat(session, "before")
    page = open_page(session)
    choose(page)
    dialog = open_settings(page)
    dialog.get_by_role("combobox", name="Model").select_option(label=f"Default ({SCRIPTED})")
    dialog.get_by_role("radio", name="Default").check()
    expect(dialog.get_by_role("textbox", name="System prompt")).to_have_count(0)
    dialog.get_by_label("Context: previous messages to include").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    assert settings_of(server, session) == (None, None, None)
    send(page, "after")
    expect_messages(page, "before", "Reply to: before", "after", "Reply to: after")
    expect(answers(page).last).to_contain_text(SCRIPTED)
    assert [text for _, text in upstream.replies[-1].messages[1:]] == [
        "before",
        "Reply to: before",
        "after",
    ]


def test_temperature_and_the_longest_answer_reach_the_model_and_stay(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str
) -> None:
    server.chat(session, "before")
    page = open_page(session)
    dialog = open_settings(page)
    default = dialog.get_by_role("radio", name="Default (“You are a helpful assistant.")
    expect(default).to_be_checked()
    dialog.get_by_label("Temperature").fill("0.3")
    dialog.get_by_label("Maximum answer length, in tokens").fill("77")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    send(page, "after")
    expect(answers(page).last).to_contain_text("Reply to: after")
    body = upstream.replies[-1].body
    assert (body["temperature"], body.get("max_completion_tokens", body.get("max_tokens"))) == (
        0.3,
        77,
    )
    page.reload()
    expect(open_settings(page).get_by_label("Temperature")).to_have_value("0.3")
    expect(page.get_by_label("Maximum answer length, in tokens")).to_have_value("77")


def test_cancel_and_escape_and_a_size_that_cannot_be_change_nothing(
    open_page: OpenPage, server: Server, session: str
) -> None:
    server.chat(session, "before")
    page = open_page(session)
    for way in ("Cancel", "Escape", "Save"):
        dialog = open_settings(page)
        dialog.get_by_role("combobox", name="Model").select_option(OTHER)
        size = dialog.get_by_label("Context: previous messages to include")
        size.fill("1001" if way == "Save" else "3")
        if way == "Escape":
            page.keyboard.press("Escape")
        else:
            dialog.get_by_role("button", name=way).click()
        if way == "Save":
            expect(size).to_be_focused()
            assert size.evaluate("field => field.validity.rangeOverflow")
        else:
            expect(dialog).to_have_count(0)
            expect(button(page, "Conversation settings")).to_be_focused()
    assert settings_of(server, session) == (None, None, None)


def test_the_model_is_chosen_beside_the_message_too_and_other_tabs_follow(
    open_page: OpenPage, server: Server, upstream: Upstream, session: str
) -> None:
    server.chat(session, "before")
    page, second = open_page(session), open_page(session)
    for tab in (page, second):
        expect(tab.get_by_role("combobox", name="Model")).to_have_value(SCRIPTED)
    page.get_by_role("combobox", name="Model").select_option(OTHER)
    expect(second.get_by_role("combobox", name="Model")).to_have_value(OTHER)
    send(second, "after")
    for tab in (page, second):
        expect(answers(tab).last).to_contain_text("Reply to: after")
        expect(answers(tab).last).to_contain_text(OTHER)
    second.get_by_role("combobox", name="Model").select_option(SCRIPTED)
    expect(page.get_by_role("combobox", name="Model")).to_have_value(SCRIPTED)
    assert settings_of(server, session)[0] is None


def test_the_model_of_a_new_session_is_chosen_beside_its_first_message(
    page: Page, server: Server, upstream: Upstream
) -> None:
    page.get_by_role("combobox", name="Model").select_option(OTHER)
    send(page, "one")
    expect(answers(page)).to_contain_text(OTHER)
    wait_until_answered(page)
    assert upstream.replies[-1].body["model"] == "other"
    expect(page.get_by_role("combobox", name="Model")).to_have_value(OTHER)
    assert settings_of(server, session_of(page)) == (OTHER, None, None)


def test_settings_are_not_shown_before_they_were_read(
    open_page: OpenPage, server: Server, session: str
) -> None:
    """Else whoever saves the dialog would overwrite what it did not show."""
    server.chat(session, "something that is set")
    with server.client() as client:
        path = f"/sessions/{quote(session, safe='')}"
        assert client.patch(path, json={"model": OTHER, "system_prompt": RHYME}).status_code == 200
    page = open_page()
    # What the dialog is made of has come when it is opened the second time.
    open_settings(page).get_by_role("button", name="Cancel").click()
    routes = hold(page, "**/sessions/*")
    page.get_by_role("link", name="something that is").click()
    expect(page.get_by_role("article", name="Your message")).to_be_visible()
    opener = button(page, "Conversation settings")
    # It may wait with the dialog or with the button.
    opener.evaluate("button => button.click()")
    wait_until_held(page, routes)
    routes[0].fallback()
    expect(page.locator("form select[aria-label=Model]")).to_have_value(OTHER)
    dialog = page.get_by_role("dialog")
    if dialog.count() == 0:
        opener.click()
    expect(dialog.get_by_role("combobox", name="Model")).to_have_value(OTHER)
    expect(dialog.get_by_role("textbox", name="System prompt")).to_have_value(RHYME)
