"""A conversation as one HTML file: what the page shows, at rest, and nothing from elsewhere."""

import re
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.session_list import StoredSession, choose_option, store
from tests.browser.test_access import RICH, AccessibilityReport
from tests.browser.test_markdown_blocks import ALERTS, DETAILS, NOTES
from tests.process import Server

HOSTILE = """\
<script>window.hacked = true</script><img src=x onerror=window.hacked=true>

![tracked](https://evil.test/pixel.png)

</style></head><script>window.hacked = true</script>
"""


def exported(page: Page, title: str, folder: Path) -> Path:
    """The file that the menu of a conversation in the list brings."""
    with page.expect_download() as download:
        choose_option(page, title, "Export as HTML")
    assert download.value.suggested_filename == re.sub(r"\W+", "-", title) + ".html"
    path = folder / "conversation.html"
    download.value.save_as(path)
    return path


def opened(browser: Browser, path: Path, page_errors: list[str]) -> Page:
    """Open the file without a server; every request and every console message is an error."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("request", lambda request: _note(request.url, path, page_errors))
    page.on("console", lambda message: page_errors.append(message.text))
    page.on("pageerror", lambda error: page_errors.append(str(error)))
    page.goto(path.as_uri())
    return page


def _note(url: str, path: Path, page_errors: list[str]) -> None:
    if url != path.as_uri() and not url.startswith("data:"):
        page_errors.append(f"requested {url}")


def test_a_conversation_is_one_file_that_needs_nothing_else(
    open_page: OpenPage, server: Server, browser: Browser, tmp_path: Path, page_errors: list[str]
) -> None:
    messages = (
        "Say *it*\n  <b>again</b>",
        RICH,
        "And more",
        f"# First\n\n## Second\n\n{DETAILS}\n{ALERTS}\n{NOTES}",
    )
    store(server, StoredSession("Hedgehogs & Co", messages=messages))
    path = exported(open_page("Hedgehogs & Co"), "Hedgehogs & Co", tmp_path)
    page = opened(browser, path, page_errors)
    expect(page).to_have_title("Hedgehogs & Co")
    expect(page.get_by_role("heading", level=1)).to_have_text("Hedgehogs & Co")
    assert page.locator("html").get_attribute("lang") == "en"
    articles = page.get_by_role("article")
    expect(articles.get_by_role("heading", level=2)).to_have_text(["User", "Assistant"] * 2)
    expect(articles.first).to_contain_text("Say *it* <b>again</b>")
    expect(articles.first.locator("time")).to_have_attribute("datetime", re.compile(r"^20\d\d-"))

    answer = articles.nth(1)
    expect(answer.get_by_role("heading", name="A heading")).to_be_visible()
    expect(answer.get_by_role("checkbox", name="Done")).to_be_checked()
    expect(answer.get_by_role("checkbox", name="To do")).not_to_be_checked()
    expect(answer.locator("pre span").filter(has_text=re.compile("^def$"))).to_be_visible()
    expect(answer.locator("math[display=block] mfrac")).to_be_visible()
    expect(answer.get_by_role("link", name="Image: an image")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    assert page.evaluate(
        "document.fonts.ready.then(() => document.fonts.check('1rem \"STIX Two Math\"'))"
    )

    last = articles.last
    expect(last.get_by_role("heading", name="The steps")).to_be_hidden()
    last.locator("summary").first.click()
    expect(last.get_by_role("heading", name="The steps")).to_be_visible()
    expect(last.get_by_role("note")).to_have_count(5)
    last.get_by_role("link", name="Footnote 1").last.click()
    note = last.locator(".md-notes").get_by_role("listitem").first
    expect(note).to_be_in_viewport()
    note.get_by_role("link", name="Back to the text").click()
    expect(last.get_by_role("link", name="Footnote 1").first).to_be_in_viewport()
    report = AccessibilityReport(page)
    report.check("the file")
    assert not report.violations, "\n\n".join(report.violations)
    page.close()


def test_nothing_in_the_file_runs_or_asks_for_anything(
    open_page: OpenPage, server: Server, browser: Browser, tmp_path: Path, page_errors: list[str]
) -> None:
    messages = (HOSTILE, HOSTILE)
    store(server, StoredSession("hostile file", messages=messages))
    path = exported(open_page("hostile file"), "hostile file", tmp_path)
    page = opened(browser, path, page_errors)
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("link", name="Image: tracked (evil.test)")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    expect(page.locator("script")).to_have_count(0)
    page.close()


def test_long_code_is_highlighted_to_its_end(
    open_page: OpenPage, server: Server, browser: Browser, tmp_path: Path, page_errors: list[str]
) -> None:
    lines = "\n".join(f'name_{number} = "text"' for number in range(600))
    store(server, StoredSession("long code", messages=("hello", f"```python\n{lines}\n```")))
    path = exported(open_page("long code"), "long code", tmp_path)
    page = opened(browser, path, page_errors)
    expect(page.locator(".hljs-string")).to_have_count(600)
    page.close()
