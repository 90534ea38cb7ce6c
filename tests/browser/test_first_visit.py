"""What somebody sees who has just started the server as the README says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from chatkeep import examples
from tests.browser.conftest import OpenPage
from tests.browser.page import answers, send, wait_until_answered
from tests.process import Server


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"CHATKEEP_MODEL_TIMEOUT": "300", "CHATKEEP_TITLE_WAIT": "60"}
    with Server(tmp_path_factory.mktemp("data"), env) as running:
        yield running


def test_the_page_explains_that_the_model_is_a_demonstration_and_how_to_connect_a_real_one(
    open_page: OpenPage,
) -> None:
    page = open_page()
    notice = page.locator(".notice")
    expect(notice).to_contain_text("small model for demonstrations, and often wrong")
    expect(notice.locator("code")).to_have_text(
        f"OPENAI_API_KEY=… chatkeep serve --model {examples.OPENAI}"
    )

    send(page, "What is the capital of France?")
    wait_until_answered(page)

    expect(answers(page)).to_have_count(1)
    expect(page.locator(".notice")).to_have_count(0)
    expect(page.get_by_role("heading", name="Capital of France")).to_be_visible()


def test_the_server_explains_it_too_when_it_starts(server: Server, tmp_path: Path) -> None:
    assert f"--model {examples.OPENAI}" in server.log.read_text()
