"""The server dies, or the connection to it: nothing is lost, doubled or left standing."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Error, Page, Route, expect

from tests.browser.conftest import Pace
from tests.browser.page import (
    answers,
    button,
    expect_messages,
    field,
    replying,
    send,
    session_of,
    wait_until_answered,
)
from tests.browser.proxied_server import ProxiedServer
from tests.upstream import Answer, Upstream

AWAY = "The server cannot be reached. Trying again…"


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[ProxiedServer]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_DRAIN_SECONDS": "0",
        "CHATKEEP_HEARTBEAT_SECONDS": "1",
    }
    proxied = ProxiedServer(tmp_path_factory.mktemp("data"), env)
    with proxied.proxy, proxied:
        yield proxied


@pytest.fixture
def server(
    running_server: ProxiedServer, upstream: Upstream, page_errors: list[str]
) -> Iterator[ProxiedServer]:
    """Tests may break it; lost connections in the browser's console are expected."""
    yield running_server
    running_server.restore()
    lost = r"Failed to load resource: net::ERR_\w+$"
    page_errors[:] = [line for line in page_errors if not re.match(lost, line)]


def words(name: str, count: int = 20) -> list[str]:
    return [f"{name}{number} 🦔 " for number in range(count)]


def test_a_server_that_dies_during_an_answer_completes_it_after_a_restart(
    page: Page, server: ProxiedServer, upstream: Upstream, pace: Pace
) -> None:
    again = Pace()
    scripts = [Answer(words("again"), pace=again.semaphore), Answer(words("first"))]
    scripts[1].pace = pace.semaphore
    upstream.script = replying(lambda _: scripts.pop())
    send(page, "write a lot")
    pace.write(3)
    expect(answers(page)).to_contain_text("first2")

    server.kill()
    expect(answers(page)).to_contain_text("The connection was lost. Trying again…")
    # Only one element reports it.
    expect(page.get_by_text("Trying again…")).to_have_count(1)
    expect(answers(page)).to_contain_text("first2")
    server.start()
    again.write(2)
    expect(answers(page)).to_contain_text("again1")
    expect(answers(page)).not_to_contain_text("first")
    again.write(1_000)

    wait_until_answered(page)
    expect(page.get_by_text(AWAY)).to_have_count(0)
    expect(answers(page)).not_to_contain_text("Trying again")
    expect_messages(page, "write a lot", "".join(words("again")).strip())
    stored = server.history(session_of(page))
    assert [m["content"] for m in stored] == ["write a lot", "".join(words("again"))]
    assert stored[1]["status"] == "completed"


def test_a_message_that_is_sent_while_the_server_is_away_is_sent_when_it_is_back(
    page: Page, server: ProxiedServer, upstream: Upstream
) -> None:
    send(page, "before")
    wait_until_answered(page)
    server.kill()
    send(page, "meanwhile")
    expect(answers(page).last).to_contain_text("The server cannot be reached.")
    expect(page.get_by_text("cannot be reached")).to_have_count(1)
    expect(page.get_by_label("The model is thinking")).to_have_count(0)
    server.start()
    expect_messages(page, "before", "Reply to: before", "meanwhile", "Reply to: meanwhile")
    wait_until_answered(page)
    assert len(server.contents(session_of(page))) == 4
    assert [call.messages[-1][1] for call in upstream.replies] == ["before", "meanwhile"]


def test_messages_are_sent_in_the_order_in_which_they_were_written(
    page: Page, server: ProxiedServer
) -> None:
    send(page, "before")
    wait_until_answered(page)
    server.proxy.is_closed = True
    send(page, "one")
    expect(answers(page).last).to_contain_text("Will be sent when the server is back.")
    server.proxy.is_closed = False
    send(page, "two")
    replies = ["Reply to: before", "one", "Reply to: one", "two", "Reply to: two"]
    expect_messages(page, "before", *replies)
    wait_until_answered(page)
    assert server.contents(session_of(page)) == ["before", *replies]


def test_a_message_that_waits_for_the_server_can_be_cancelled(
    page: Page, server: ProxiedServer
) -> None:
    send(page, "before")
    wait_until_answered(page)
    server.proxy.is_closed = True
    send(page, "never mind")
    unsent = answers(page).last
    expect(unsent).to_contain_text("Will be sent when the server is back.")
    unsent.get_by_role("button", name="Cancel").click()
    expect_messages(page, "before", "Reply to: before")
    # The text returns to the message field.
    expect(field(page)).to_have_value("never mind")
    server.proxy.is_closed = False
    page.reload()
    expect_messages(page, "before", "Reply to: before")
    assert server.contents(session_of(page)) == ["before", "Reply to: before"]


def test_a_message_that_arrived_though_its_answer_was_lost_is_there_once_when_cancelled(
    page: Page, server: ProxiedServer
) -> None:
    send(page, "before")
    wait_until_answered(page)
    server.lost_responses = 20
    send(page, "did it arrive?")
    answers(page).last.get_by_role("button", name="Cancel").click()
    # It did: the page learns of it from the server's events.
    expect_messages(
        page, "before", "Reply to: before", "did it arrive?", "Reply to: did it arrive?"
    )
    server.lost_responses = 0
    assert server.contents(session_of(page)).count("did it arrive?") == 1


@pytest.mark.parametrize("earlier", ["in a session", "as the first of a session"])
def test_a_message_that_was_not_sent_survives_a_reload(
    page: Page, server: ProxiedServer, page_errors: list[str], earlier: str
) -> None:
    before = []
    if earlier == "in a session":
        send(page, "before")
        wait_until_answered(page)
        before = ["before", "Reply to: before"]
    server.proxy.is_closed = True
    send(page, "meanwhile")
    expect(answers(page).last).to_contain_text("Will be sent when the server is back.")
    address = page.url
    with pytest.raises(Error, match="net::ERR_"):
        page.reload()
    page.wait_for_url("chrome-error://**")
    server.proxy.is_closed = False
    page.goto(address)
    expect_messages(page, *before, "meanwhile", "Reply to: meanwhile")
    wait_until_answered(page)
    assert server.contents(session_of(page)) == [*before, "meanwhile", "Reply to: meanwhile"]
    page.reload()
    expect_messages(page, *before, "meanwhile", "Reply to: meanwhile")
    wait_until_answered(page)
    assert server.contents(session_of(page)) == [*before, "meanwhile", "Reply to: meanwhile"]
    if not before:
        # The new page asks for a session that the server has not seen yet.
        page_errors[:] = [line for line in page_errors if "status of 404" not in line]


def test_a_message_is_sent_also_when_another_session_is_shown(
    page: Page, server: ProxiedServer
) -> None:
    send(page, "gardens in autumn")
    link = page.get_by_role("link", name="gardens in autumn")
    expect(link).to_be_visible()
    wait_until_answered(page)
    server.proxy.is_closed = True
    send(page, "meanwhile")
    expect(answers(page).last).to_contain_text("Will be sent when the server is back.")
    page.get_by_role("link", name="New chat").first.click()
    expect(page.get_by_role("article")).to_have_count(0)
    with page.expect_response(f"{server.url}/chat"):
        server.proxy.is_closed = False
    expect(page.get_by_role("article")).to_have_count(0)
    link.click()
    expect_messages(
        page, "gardens in autumn", "Reply to: gardens", "meanwhile", "Reply to: meanwhile"
    )


def test_a_message_whose_answer_was_lost_is_posted_again_and_stored_once(
    page: Page, server: ProxiedServer, upstream: Upstream
) -> None:
    server.lost_responses = 2
    send(page, "exactly once")
    expect_messages(page, "exactly once", "Reply to: exactly once")
    wait_until_answered(page)
    assert server.lost_responses == 0
    assert server.contents(session_of(page)) == ["exactly once", "Reply to: exactly once"]
    assert len(upstream.replies) == 1
    keys = [
        request.headers["idempotency-key"]
        for request in server.proxy.requests
        if request.path == "/chat" and json.loads(request.body)["session_id"] == session_of(page)
    ]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_stream_that_breaks_again_and_again_misses_and_doubles_nothing(
    page: Page, server: ProxiedServer, upstream: Upstream, pace: Pace
) -> None:
    pieces = words("word")
    upstream.script = replying(Answer(pieces, pace=pace.semaphore))
    send(page, "write a lot")
    for number in (3, 8, 13):
        pace.write(5)
        expect(answers(page)).to_contain_text(f"word{number}")
        server.proxy.drop()
    pace.write(1_000)
    wait_until_answered(page)
    expect_messages(page, "write a lot", "".join(pieces).strip())
    expect(answers(page)).not_to_contain_text("Trying again")
    assert server.contents(session_of(page)) == ["write a lot", "".join(pieces)]
    assert len(upstream.replies) == 1


def test_what_happened_while_the_connection_was_lost_is_there_afterwards(
    page: Page, server: ProxiedServer
) -> None:
    send(page, "one")
    wait_until_answered(page)
    session = session_of(page)
    server.proxy.is_closed = True
    server.proxy.drop()
    expect(page.get_by_text(AWAY)).to_be_visible()
    assert server.post(session, "two").status_code == 200
    assert server.post("elsewhere", "a new one").status_code == 200
    server.proxy.is_closed = False
    expect_messages(page, "one", "Reply to: one", "two", "Reply to: two")
    expect(page.get_by_role("link", name="a new one")).to_be_visible()
    expect(page.get_by_text(AWAY)).to_have_count(0)


def test_an_answer_that_ended_while_the_connection_was_lost_is_shown_whole(
    page: Page, server: ProxiedServer, upstream: Upstream, pace: Pace
) -> None:
    pieces = words("word")
    upstream.script = replying(Answer(pieces, pace=pace.semaphore))
    send(page, "write a lot")
    pace.write(3)
    expect(answers(page)).to_contain_text("word2")
    server.proxy.is_closed = True
    server.proxy.drop()
    expect(answers(page)).to_contain_text("The connection was lost. Trying again…")
    pace.write(1_000)
    server.proxy.is_closed = False
    wait_until_answered(page)
    expect_messages(page, "write a lot", "".join(pieces).strip())
    expect(answers(page)).not_to_contain_text("Trying again")


def test_stop_reports_an_error_while_the_server_is_away(
    page: Page, server: ProxiedServer, upstream: Upstream, pace: Pace
) -> None:
    upstream.script = replying(Answer(words("word"), pace=pace.semaphore))
    send(page, "write a lot")
    pace.write(3)
    expect(answers(page)).to_contain_text("word2")
    server.proxy.is_closed = True
    button(page, "Stop").click()
    expect(page.locator(".toast")).to_contain_text("The server cannot be reached.")
    server.proxy.is_closed = False
    button(page, "Stop").click()
    expect(answers(page)).to_contain_text("Stopped.")


@pytest.mark.own_context
def test_a_message_without_a_response_is_sent_again_and_answered_once(
    page: Page, server: ProxiedServer
) -> None:
    page.clock.install()
    swallowed: list[Route] = []

    def swallow(route: Route) -> None:
        if swallowed:
            route.fallback()
            return
        swallowed.append(route)
        # The server has it; the page waits for an answer that never begins.
        route.fetch()

    page.route("**/chat", swallow)
    with page.expect_request("**/chat"):
        send(page, "into nowhere")
    with page.expect_request("**/chat"):
        page.clock.fast_forward(41_000)
        page.clock.fast_forward(2_000)
    expect(answers(page)).to_contain_text("Reply to: into nowhere")
    wait_until_answered(page)
    shown = page.url.partition("#/")[2]
    assert server.contents(shown) == ["into nowhere", "Reply to: into nowhere"]
