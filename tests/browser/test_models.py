"""The chosen model answers, also when an answer is regenerated."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    field,
    hold,
    questions,
    release,
    send,
    session_of,
    wait_until_answered,
    wait_until_held,
)
from tests.browser.session_list import StoredSession, expect_error, store
from tests.process import Server, until
from tests.upstream import Upstream

FIRST, SECOND, THIRD = "openai:scripted", "openai:scripted-b", "openai:scripted-c"


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": FIRST,
        "CHATKEEP_MODELS": f"{SECOND},{THIRD}",
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def models(upstream: Upstream) -> list[str]:
    return [call.body["model"] for call in upstream.replies]


def test_an_answer_is_regenerated_by_the_model_that_is_chosen_then(
    page: Page, upstream: Upstream
) -> None:
    send(page, "hello")
    wait_until_answered(page)
    expect(answers(page)).to_contain_text(FIRST)
    page.get_by_role("combobox", name="Model").select_option(SECOND)
    button(page, "Regenerate").click()
    expect(answers(page)).to_contain_text("2/2")
    expect(answers(page)).to_contain_text(SECOND)
    assert models(upstream) == ["scripted", "scripted-b"]


def test_a_chosen_model_is_used_before_the_server_confirms_it(
    page: Page, upstream: Upstream
) -> None:
    send(page, "hello")
    wait_until_answered(page)
    routes = hold(page, "**/sessions/*")
    page.get_by_role("combobox", name="Model").select_option(SECOND)
    wait_until_held(page, routes)
    button(page, "Regenerate").click()
    send(page, "and now?")
    assert models(upstream) == ["scripted"]
    release(page, "**/sessions/*", routes)
    expect(answers(page).last).to_contain_text("Reply to: and now?")
    wait_until_answered(page)
    assert models(upstream) == ["scripted", "scripted-b", "scripted-b"]


def test_a_choice_that_hangs_does_not_block_messages_forever(
    page: Page, server: Server, upstream: Upstream
) -> None:
    send(page, "hello")
    wait_until_answered(page)
    routes = hold(page, "**/sessions/*")
    page.get_by_role("combobox", name="Model").select_option(SECOND)
    wait_until_held(page, routes)
    send(page, "is anybody there?")
    expect(answers(page).last).to_contain_text("Reply to: is anybody there?")
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    expect(page.get_by_role("combobox", name="Model")).to_have_value(FIRST)
    assert models(upstream) == ["scripted", "scripted"]
    page.unroute("**/sessions/*")


def test_a_model_that_cannot_be_chosen_is_reverted(page: Page, page_errors: list[str]) -> None:
    send(page, "hello")
    wait_until_answered(page)
    page.route("**/sessions/*", lambda route: route.fulfill(status=503, body="{}"))
    page.get_by_role("combobox", name="Model").select_option(SECOND)
    expect(page.get_by_text("The server answered 503.")).to_be_visible()
    expect(page.get_by_role("combobox", name="Model")).to_have_value(FIRST)
    expect_error(page_errors, "503")


def test_an_answer_is_regenerated_by_another_model_with_the_keyboard_alone(
    page: Page, server: Server, upstream: Upstream
) -> None:
    send(page, "hello")
    wait_until_answered(page)
    button(page, "Regenerate with another model").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem")).to_have_text([FIRST, SECOND, THIRD])
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("2/2")
    expect(answers(page)).to_contain_text(THIRD)
    expect(field(page)).to_be_focused()
    wait_until_answered(page)
    assert models(upstream) == ["scripted", "scripted-c"]
    # It was for this reply alone.
    assert server.get(f"/sessions/{session_of(page)}")["model"] is None


def test_an_edited_message_is_answered_by_the_model_that_is_chosen(
    page: Page, upstream: Upstream
) -> None:
    send(page, "hello")
    wait_until_answered(page)
    page.get_by_role("combobox", name="Model").select_option(SECOND)
    expect(page.get_by_role("combobox", name="Model")).to_have_value(SECOND)
    questions(page).hover()
    button(page, "Edit the message").click()
    page.get_by_role("textbox", name="Edit the message").fill("hello there")
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("Reply to: hello there")
    wait_until_answered(page)
    assert models(upstream) == ["scripted", "scripted-b"]


def test_an_imported_answer_can_be_regenerated(
    open_page: OpenPage, server: Server, session: str
) -> None:
    store(server, StoredSession(session, messages=("When is high tide?", "Twice a day.")))
    page = open_page(session)
    expect_messages(page, "When is high tide?", "Twice a day.")
    button(page, "Regenerate").click()
    expect_messages(page, "When is high tide?", "Reply to: When is high tide?")
    wait_until_answered(page)
    expect(questions(page)).to_contain_text("2/2")
    button(page, "Previous branch").click()
    expect_messages(page, "When is high tide?", "Twice a day.")
    until(lambda: server.contents(session) == ["When is high tide?", "Twice a day."])


def test_an_imported_message_without_an_answer_can_be_answered(
    open_page: OpenPage, server: Server, session: str
) -> None:
    store(server, StoredSession(session, messages=("Is anybody there?",)))
    page = open_page(session)
    expect(page.get_by_role("alert")).to_contain_text("No answer from the model.")
    button(page, "Try again").click()
    expect_messages(page, "Is anybody there?", "Reply to: Is anybody there?")
    expect(page.get_by_role("alert")).to_have_count(0)
