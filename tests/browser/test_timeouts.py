"""A model that says nothing: the server gives it up, and the page tells."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import button, expect_messages, only_first, send, wait_until_answered
from tests.process import Server
from tests.upstream import Answer, Upstream


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_FIRST_TOKEN_TIMEOUT": "2",
        "CHATKEEP_MODEL_TIMEOUT": "2",
        "CHATKEEP_MODEL_RETRIES": "0",
    }
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def test_a_silent_model_times_out_and_is_retried(page: Page, upstream: Upstream) -> None:
    upstream.script = only_first(Answer(hang=True))
    send(page, "anyone there?")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The model did not answer in time.")
    button(page, "Try again").click()
    expect_messages(page, "anyone there?", "Reply to: anyone there?")
    wait_until_answered(page)
    expect(note).to_have_count(0)
