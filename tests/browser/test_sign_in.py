"""The page of a server that needs a key: signing in and out, and what ends in between."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import new_context
from tests.browser.test_access import AccessibilityReport
from tests.process import Server, run_command, until
from tests.upstream import Answer, Call, Upstream, polite


@pytest.fixture(scope="module")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, running_upstream: Upstream
) -> Iterator[Server]:
    env = {
        **running_upstream.env,
        "CHATKEEP_MODEL": "openai:scripted",
        "CHATKEEP_HEARTBEAT_SECONDS": "0.3",
    }
    with Server(tmp_path_factory.mktemp("guarded"), env) as server:
        new_key(server)
        yield server


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    with new_context(browser, server) as own:
        yield own


def chatkeep(server: Server, *arguments: str) -> str:
    done = run_command(*arguments, env=server.env, folder=server.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def new_key(server: Server, *options: str) -> str:
    return chatkeep(server, "keys", "create", *options, "a test").strip()


def revoke(server: Server, key: str) -> None:
    rows = chatkeep(server, "keys", "list").splitlines()
    [row] = [row for row in rows if row.split("\t")[4].endswith(key[-4:])]
    chatkeep(server, "keys", "revoke", "--yes", row.split("\t")[0])


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    # What is behind the dialog is a page that is about to be read again.
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def reply(page: Page, text: str) -> Locator:
    return page.get_by_role("article", name="Answer").get_by_text(text)


def opened(context: BrowserContext, key: str | None = None) -> Page:
    page = context.new_page()
    page.goto("/")
    expect(page.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()
    if key is not None:
        sign_in(page, key)
    return page


def test_the_page_asks_for_a_key_and_keeps_another_secret(
    context: BrowserContext, server: Server
) -> None:
    key = new_key(server, "--user", "alice")
    page = opened(context)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.get_by_label("Key").fill("ckp_nothing")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The key is not valid.")
    sign_in(page, key)

    page.get_by_role("button", name="More").click()
    expect(page.get_by_text("Signed in as alice")).to_be_visible()
    [cookie] = context.cookies()
    assert cookie["value"].startswith("ckb_")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "ck" not in stored.replace("chatkeep", "")


def test_whoever_signs_out_is_out_in_every_tab_and_behind_the_back_button(
    context: BrowserContext, server: Server
) -> None:
    page = opened(context, new_key(server, "--user", "bert"))
    page.get_by_role("textbox", name="Message").fill("my words are mine")
    page.keyboard.press("Enter")
    expect(reply(page, "Reply to: my words are mine")).to_be_visible()
    other = context.new_page()
    other.goto(page.url)
    expect(reply(other, "Reply to: my words are mine")).to_be_visible()
    [cookie] = context.cookies()

    page.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Sign out").click()

    for tab in (page, other):
        expect(tab.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()
        expect(tab.get_by_text("my words are mine")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()
    expect(page.get_by_text("my words are mine")).to_have_count(0)
    # The cookie is worth nothing, wherever it was copied to.
    context.add_cookies([cookie])
    page.reload()
    expect(page.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()


def test_an_answer_is_there_after_the_key_has_ended_in_the_middle_of_it(
    context: BrowserContext, server: Server, upstream: Upstream
) -> None:
    pace = threading.Semaphore(1)

    def slow(call: Call) -> Answer:
        return polite(call) if call.is_title else Answer(["So ", "far ", "so good."], pace=pace)

    upstream.script = slow
    key = new_key(server, "--user", "cleo")
    page = opened(context, key)
    page.get_by_role("textbox", name="Message").fill("how is it going")
    page.keyboard.press("Enter")
    expect(reply(page, "So")).to_be_visible()

    revoke(server, key)

    expect(page.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()
    pace.release(10)
    sign_in(page, new_key(server, "--user", "cleo"))
    expect(reply(page, "So far so good.")).to_be_visible()


def test_what_one_person_has_typed_is_kept_for_that_person_alone(
    context: BrowserContext, server: Server
) -> None:
    fay, gus = new_key(server, "--user", "fay"), new_key(server, "--user", "gus")
    page = opened(context, fay)
    field = page.get_by_role("textbox", name="Message")
    for key, is_kept in ((new_key(server, "--user", "fay"), True), (gus, False)):
        field.fill("What only fay may send")
        expect_stored(page)
        revoke(server, fay)
        expect(page.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()
        sign_in(page, key)
        expect(field).to_have_value("What only fay may send" if is_kept else "")
        fay = key


def expect_stored(page: Page) -> None:
    until(lambda: page.evaluate("JSON.stringify(sessionStorage).includes('only fay')"))


def test_what_a_key_does_not_allow_is_not_shown(context: BrowserContext, server: Server) -> None:
    writer = opened(context, new_key(server, "--user", "dora"))
    writer.get_by_role("textbox", name="Message").fill("hello there you")
    writer.keyboard.press("Enter")
    expect(reply(writer, "Reply to: hello there you")).to_be_visible()
    expect(writer.get_by_role("button", name="Regenerate")).to_be_visible()
    address = writer.url
    writer.get_by_role("button", name="More").click()
    writer.get_by_role("menuitem", name="Sign out").click()
    expect(writer.get_by_role("dialog", name="Sign in to Chatkeep")).to_be_visible()

    writer.get_by_label("Key").fill(new_key(server, "--user", "dora", "--scope", "read"))
    writer.get_by_role("button", name="Sign in").click()
    expect(writer.get_by_role("dialog")).to_have_count(0)
    writer.goto(address)
    expect(reply(writer, "Reply to: hello there you")).to_be_visible()
    for name in ("Regenerate", "Edit the message", "Send", "Rename"):
        expect(writer.get_by_role("button", name=name)).to_have_count(0)
    expect(writer.get_by_role("textbox", name="Message")).to_have_count(0)
    expect(writer.get_by_role("link", name="New chat")).to_have_count(0)
    writer.goto("/")
    expect(writer.get_by_role("heading", name="You can read here, but not write.")).to_be_visible()


def test_a_failure_can_be_seen_but_not_retried_by_whoever_only_reads(
    context: BrowserContext, server: Server, upstream: Upstream
) -> None:
    upstream.script = lambda call: polite(call) if call.is_title else Answer(status=400, body=b"{}")
    writer = new_key(server, "--user", "erin")
    with server.client(headers={"Authorization": f"Bearer {writer}"}) as client:
        client.post("/chat", json={"session_id": "fails", "message": "please fail"})
    page = context.new_page()
    page.goto("/#/fails")
    page.get_by_label("Key").fill(new_key(server, "--user", "erin", "--scope", "read"))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("please fail", exact=True)).to_be_visible()
    expect(page.get_by_role("status").or_(page.get_by_role("alert")).first).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


@pytest.mark.own_context
def test_signing_in_is_german_in_a_german_browser_and_axe_finds_nothing(
    browser: Browser, server: Server
) -> None:
    with browser.new_context(
        base_url=server.url, locale="de-AT", reduced_motion="reduce"
    ) as context:
        page = context.new_page()
        page.goto("/")
        page.get_by_label("Schlüssel").fill("ckp_nichts")
        page.get_by_role("button", name="Anmelden").click()
        expect(page.get_by_role("alert")).to_have_text("Der Schlüssel ist nicht gültig.")
        report = AccessibilityReport(page)
        report.check("the sign-in")
        assert not report.violations, "\n\n".join(report.violations)


ATTEMPTS = """async (server) => {
  const get = (path, more = {}) =>
    fetch(server + path, { mode: 'no-cors', credentials: 'include', ...more }).catch(() => {});
  const readable = ['/sessions', '/search?q=guess', '/export', '/me', '/events'];
  await Promise.all(readable.map((path) => get(path)));
  await get('/chat', { method: 'POST', body: '{"session_id": "stolen", "message": "hello"}' });
  await get('/logout', { method: 'POST' });
  const loaded = (tag, member, path) =>
    new Promise((resolve) => {
      const element = document.createElement(tag);
      element.onload = element.onerror = resolve;
      element[member] = server + path;
      document.body.append(element);
    });
  await loaded('img', 'src', '/assets/icon.svg');
  await loaded('script', 'src', '/assets/index.js');
  await loaded('iframe', 'src', '/');
}"""


@pytest.mark.own_context
def test_a_page_of_another_origin_can_neither_post_nor_read_nor_time(
    context: BrowserContext, server: Server
) -> None:
    page = opened(context, new_key(server, "--user", "eve"))
    page.get_by_role("textbox", name="Message").fill("what nobody may know")
    page.keyboard.press("Enter")
    expect(reply(page, "Reply to: what nobody may know")).to_be_visible()
    elsewhere = context.new_page()
    elsewhere.route(
        "http://elsewhere.test/", lambda route: route.fulfill(body="<body></body>", status=200)
    )
    answers: list[int] = []
    elsewhere.on(
        "response",
        lambda response: answers.append(response.status) if server.url in response.url else None,
    )
    elsewhere.goto("http://elsewhere.test/")
    elsewhere.evaluate(ATTEMPTS, server.url)

    assert set(answers) <= {403}
    page.reload()
    expect(reply(page, "Reply to: what nobody may know")).to_be_visible()
    expect(page.get_by_role("link", name="stolen")).to_have_count(0)
