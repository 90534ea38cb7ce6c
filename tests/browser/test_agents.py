"""An agent's work on the page, while it happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import answers, button, expect_messages, send, wait_until_answered
from tests.browser.test_steps import fold, line
from tests.process import Server
from tests.upstream import Upstream


class Agent:
    """Lets a staged agent go on by so many pieces."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "pace"

    def let(self, pieces: int) -> None:
        new = self._file.with_name("new")
        new.write_text(str(pieces))
        new.rename(self._file)


@pytest.fixture
def agent(running_server: Server) -> Agent:
    return Agent(running_server.folder)


@pytest.fixture
def running_server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    env = {
        **upstream.env,
        "CHATKEEP_MODEL": "staged=python:tests.agents:staged",
        "CHATKEEP_MODELS": "openai:scripted",
        "NOTES": str(tmp_path / "notes"),
    }
    Agent(tmp_path).let(0)
    with Server(tmp_path, env) as running:
        yield running
        Agent(tmp_path).let(1_000_000)


def test_an_agents_work_is_seen_while_it_happens_and_after_a_reload(
    page: Page, agent: Agent
) -> None:
    send(page, "Is it green?")
    agent.let(3)
    expect(fold(page, "Reasoning")).to_have_attribute("open", "")
    expect(page.get_by_text("I should look 🎈")).to_be_visible()
    agent.let(6)
    expect(answers(page).get_by_text("Let me look.")).to_be_visible()
    expect(fold(page, "Reasoning")).not_to_have_attribute("open", "")
    agent.let(7)
    expect(line(page, "find").first).to_contain_text("Running")
    # Another page, or the same one again, finds it as it is.
    page.reload()
    expect(line(page, "find").first).to_contain_text("Running")
    agent.let(8)
    expect(line(page, "find").first).not_to_contain_text("Running")
    line(page, "find").first.click()
    expect(page.get_by_text("grün 1")).to_be_visible()
    agent.let(11)
    expect(answers(page).get_by_text("So it is")).to_be_visible()
    agent.let(1_000)
    wait_until_answered(page)
    expect_messages(page, "Is it green?", "So it is grün 🎈.")
    page.reload()
    expect_messages(page, "Is it green?", "So it is grün 🎈.")
    expect(line(page, "find")).to_have_count(2)


def test_an_agents_answer_is_given_again_beside_the_first(page: Page, agent: Agent) -> None:
    agent.let(1_000)
    send(page, "Is it green?")
    wait_until_answered(page)
    answers(page).first.hover()
    button(page, "Regenerate").first.click()
    wait_until_answered(page)
    expect(page.get_by_role("group", name="Branches").get_by_text("2/2")).to_be_visible()
    button(page, "Previous branch").click()
    expect(page.get_by_role("group", name="Branches").get_by_text("1/2")).to_be_visible()
    expect_messages(page, "Is it green?", "So it is grün 🎈.")
