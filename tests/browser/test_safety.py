"""What a hostile model, person or file may write does nothing but stand there."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, Route, expect

from tests.browser.conftest import OpenPage
from tests.browser.hostile_answers import HOSTILE
from tests.browser.page import answers, field, wait_until_answered
from tests.browser.session_list import StoredSession, expect_error, links, store
from tests.process import PATIENCE, Server, until
from tests.upstream import Answer, Call, Upstream

# No database of ours keeps U+0000.
STORABLE = tuple(text for text in HOSTILE if "\0" not in text)
TITLES = tuple(
    text for text in STORABLE if len(text) <= 255 and text.isprintable() and text.strip()
)
SHORT, LONG_STEP, LIVE_STEP = 400, 4, 3
"""Longest text that is tried in every role; how many of the others a normal run passes over."""
AT_ONCE = 20
"""Strings in a session, twice each: all of it is the first page that is read."""

HARMLESS = """
() => {
    const faults = [];
    const main = document.querySelector('main');
    const bad = 'script, iframe, object, embed, link, meta, base, style, video, audio, [srcdoc], ' +
        'svg [href], article form, article input:not([type=checkbox]), dialog[open], [ping], ' +
        'article [style*=position], [srcset], [formaction], article img[src]:not([src^="data:"])';
    for (const element of main.querySelectorAll(bad)) faults.push(element.outerHTML.slice(0, 200));
    for (const element of main.querySelectorAll('*')) {
        for (const { name } of element.attributes) {
            if (name.startsWith('on')) faults.push(`${name} of ${element.outerHTML.slice(0, 200)}`);
        }
    }
    for (const link of main.querySelectorAll('article a[href]')) {
        const safe = link.target === '_blank' && /\\bnoopener noreferrer\\b/.test(link.rel);
        const leads = /^(?:https?|mailto):/.test(link.href);
        if (!safe || !leads) faults.push(link.outerHTML.slice(0, 200));
    }
    if (window.hacked !== undefined) faults.push('a script ran');
    return faults;
}
"""
THROUGH = f"""
async () => {{
    const harmless = {HARMLESS};
    const frame = () => new Promise(requestAnimationFrame);
    const view = document.querySelector('[aria-label=Messages]');
    const seen = new Set();
    const faults = new Set();
    for (let still = 0; still < 5; still += 1) {{
        await frame();
        await frame();
        const edge = view.getBoundingClientRect().top;
        let start = edge;
        for (const row of view.querySelectorAll('[data-key]')) {{
            const {{ top, bottom }} = row.getBoundingClientRect();
            seen.add(row.dataset.key);
            if (bottom > edge) start = Math.min(start, top);
        }}
        harmless().forEach((fault) => faults.add(fault));
        if (view.scrollTop <= 0) continue;
        still = 0;
        // The view keeps to the end until somebody scrolls.
        view.dispatchEvent(new WheelEvent('wheel', {{ deltaY: -100, bubbles: true }}));
        view.scrollTop += start - edge - view.clientHeight / 2;
    }}
    return [[...seen], [...faults]];
}}
"""
"""Scrolls up through a whole conversation, message by message however tall they are."""


@pytest.fixture
def open_page(
    open_page: OpenPage, context: BrowserContext, server: Server, page_errors: list[str]
) -> Iterator[OpenPage]:
    """As ever; and no page opens another, asks something or leads away."""

    def led(frame: Frame) -> None:
        if frame.parent_frame is None and not frame.url.startswith(f"{server.url}/#/"):
            page_errors.append(f"led to {frame.url}")

    def opened(session: str = "", message: str = "") -> Page:
        page = open_page(session, message)
        page.on("dialog", lambda dialog: page_errors.append(dialog.message))
        page.on("popup", lambda popup: page_errors.append(popup.url))
        page.on("download", lambda download: page_errors.append(download.url))
        page.on("framenavigated", led)
        return page

    yield opened
    for page in context.pages:
        assert page.evaluate("window.hacked") is None


def test_no_stored_text_runs_or_requests_anything(
    open_page: OpenPage, server: Server, full: bool
) -> None:
    """As a question and as an answer; what is long, and only dear to read, as an answer."""
    short = [(text, text) for text in STORABLE if len(text) <= SHORT]
    long = [("What is long?", text) for text in STORABLE if len(text) > SHORT]
    turns = short + long[:: 1 if full else LONG_STEP]
    chunks = [turns[at : at + AT_ONCE] for at in range(0, len(turns), AT_ONCE)]
    sessions = [
        StoredSession(f"stored-{number}", messages=[text for turn in chunk for text in turn])
        for number, chunk in enumerate(chunks)
    ]
    store(server, *sessions)
    page = open_page()
    for session in sessions:
        page.goto(f"#/{session.session_id}")
        expect(page.get_by_role("heading", level=1)).to_have_text(session.session_id)
        expect(answers(page).last).to_be_attached()
        seen, faults = page.evaluate(THROUGH)
        assert faults == []
        # A low one between two that are very tall may be jumped over.
        for message in server.history(session.session_id):
            if message["id"] not in seen:
                page.goto(f"#/{session.session_id}?message={message['id']}")
                expect(page.locator(f'[data-key="{message["id"]}"]')).to_be_in_viewport()
                assert page.evaluate(HARMLESS) == []


def test_no_streaming_text_runs_or_requests_anything(
    open_page: OpenPage, server: Server, upstream: Upstream, full: bool
) -> None:
    texts = [text for text in HOSTILE if len(text) <= SHORT][:: 1 if full else LIVE_STEP]

    def script(call: Call) -> Answer:
        if call.is_title:
            return Answer(["A hostile model"])
        text = texts[int(call.messages[-1][1])]
        return Answer([text[at : at + 5] for at in range(0, len(text), 5)])

    upstream.script = script
    server.chat("live", "0")
    page = open_page("live")
    wait_until_answered(page)
    for number in range(1, len(texts)):
        assert server.chat("live", str(number)).status_code == 200
        assert page.evaluate(HARMLESS) == []
    expect(page.get_by_text(str(len(texts) - 1), exact=True)).to_be_visible()
    wait_until_answered(page)
    assert page.evaluate(HARMLESS) == []


SHOWN_TITLES = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    const view = document.querySelector('nav .sessions');
    const shown = {};
    view.scrollTop = 0;
    for (let before = -1; view.scrollTop !== before; ) {
        before = view.scrollTop;
        for (const link of view.querySelectorAll('[data-session]')) {
            shown[link.dataset.session] = link.querySelector('.title').textContent;
        }
        view.scrollTop += view.clientHeight / 2;
        await frame();
        await frame();
    }
    return shown;
}"""
"""Scrolls through the list, and returns the titles by the ids of their sessions."""


def test_a_title_is_shown_as_plain_text(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("titled", title="harmless"))
    page = open_page("titled")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("harmless")
    with server.client() as client:
        for title in TITLES:
            assert client.patch("/sessions/titled", json={"title": title}).is_success
            last = title.strip()
    expect(heading.locator("bdi")).to_have_text(last)
    assert page.title() == f"{' '.join(last.split())} · Chatkeep"

    store(server, *(StoredSession(f"title {at}", title=title) for at, title in enumerate(TITLES)))
    page.reload()
    expect(links(page).first).to_be_visible()
    expected = {f"title {at}": title for at, title in enumerate(TITLES)}
    shown: dict[str, str] = {}

    def has_read_all() -> bool:
        # The rest of a long list is loaded when its end is reached.
        shown.update(page.evaluate(SHOWN_TITLES))
        return shown.keys() >= expected.keys()

    until(has_read_all)
    assert {name: shown[name] for name in expected} == expected


def test_no_script_runs_that_is_not_the_pages_own(page: Page, page_errors: list[str]) -> None:
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.hacked = true';
            document.body.append(script);
            const holder = document.createElement('div');
            holder.innerHTML = '<img src="x:" onerror="window.hacked = true">' +
                '<a href="javascript:window.hacked = true">press</a>' +
                '<iframe src="https://evil.test/"></iframe>' +
                '<img src="https://evil.test/pixel.png">';
            document.body.append(holder);
            holder.querySelector('a').click();
        }"""
    )
    page.evaluate("fetch('https://evil.test/').catch(() => {})")
    expect(field(page)).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert not [error for error in page_errors if "requested another host" in error]
    for broken in ("script-src", "frame-src", "img-src", "connect-src", "javascript"):
        assert [error for error in page_errors if broken in error], broken
    expect_error(page_errors, "Content Security Policy")


def test_a_link_opens_a_new_tab_without_referrer_and_opener(
    open_page: OpenPage, server: Server
) -> None:
    text = "[safe](https://example.com/a?b=c#d) [unsafe](javascript:hacked=1) [file](/sessions)"
    store(server, StoredSession("links", messages=("hello", text)))
    page = open_page("links")
    link = answers(page).get_by_role("link", name="safe", exact=True)
    expect(link).to_have_attribute("href", "https://example.com/a?b=c#d")
    expect(link).to_have_attribute("target", "_blank")
    rel = (link.get_attribute("rel") or "").split()
    assert {"noopener", "noreferrer"} <= set(rel)
    # Without an address it is no link.
    expect(answers(page).get_by_role("link")).to_have_count(1)
    answers(page).get_by_text("unsafe").click()
    answers(page).get_by_text("file").click()
    expect(answers(page)).to_be_visible()


IMAGES = """![ours](https://images.example.com/a.png)

![others](https://evil.test/b.png)
"""
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc00000030101005cc0e8b40000000049454e44ae426082"
)


def test_an_image_of_an_unknown_host_is_only_a_link(open_page: OpenPage, server: Server) -> None:
    store(server, StoredSession("images", messages=("hello", IMAGES)))
    page = open_page("images")
    link = answers(page).get_by_role("link", name="Image: ours (images.example.com)")
    expect(link).to_have_attribute("href", "https://images.example.com/a.png")
    expect(answers(page).get_by_role("img")).to_have_count(0)


def test_an_image_of_a_trusted_host_is_shown(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> None:
    env = {**upstream.env, "CHATKEEP_MODEL": "openai:any"}
    env["CHATKEEP_IMAGE_HOSTS"] = "images.example.com"
    requested: list[str] = []

    def answer(route: Route) -> None:
        requested.append(route.request.url)
        route.fulfill(body=PIXEL, content_type="image/png")

    with Server(tmp_path_factory.mktemp("images"), env) as server:
        store(server, StoredSession("images", messages=("hello", IMAGES)))
        with browser.new_context() as context:
            context.set_default_timeout(PATIENCE * 1_000)
            context.route(lambda url: not url.startswith(server.url), answer)
            page = context.new_page()
            page.goto(f"{server.url}/#/images")
            image = answers(page).get_by_role("img", name="ours")
            expect(image).to_be_visible()
            until(lambda: image.evaluate("image => image.naturalWidth") == 1)
            expect(answers(page).get_by_role("link")).to_have_text("Image: others (evil.test)")
    assert requested == ["https://images.example.com/a.png"]
