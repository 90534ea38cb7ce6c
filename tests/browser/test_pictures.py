"""Pictures: pasted, dropped or chosen, sent with a message, shown small and large."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.block_sessions import TEXT, BlockMessage, BlockSession, StoredFile, png
from tests.browser.conftest import OpenPage
from tests.browser.page import (
    answers,
    button,
    field,
    questions,
    send,
    session_of,
    wait_until_answered,
    wait_until_stored,
)
from tests.browser.session_list import StoredSession, expect_error, link, store
from tests.browser.test_access import AccessibilityReport
from tests.browser.test_attachments import give
from tests.browser.test_html_export import exported, opened
from tests.process import Server
from tests.upstream import ImageData, Upstream

PICTURE = png()
OTHER = png(20, 32)


def thumbnails(page: Page) -> Locator:
    """The pictures that will be sent with the next message."""
    return page.get_by_role("list", name="Pictures to send").get_by_role("img")


def shown(page: Page | Locator) -> Locator:
    """The pictures of messages."""
    return page.get_by_role("button", name="Picture", exact=False).get_by_role("img")


def expect_loaded(picture: Locator) -> None:
    """Expect that a picture is there, and not only its frame."""
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("image => image.naturalWidth") > 0


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_picture_is_sent_with_a_message(
    page: Page, open_page: OpenPage, upstream: Upstream, way: str
) -> None:
    give(page, way, "cat.png", PICTURE, "image/png")
    expect(thumbnails(page)).to_have_attribute("alt", "cat.png")
    expect_loaded(thumbnails(page))
    expect(button(page, "Send")).to_be_disabled()
    send(page, "What is this?")
    expect(thumbnails(page)).to_have_count(0)
    wait_until_stored(page)
    assert upstream.replies[-1].images == [ImageData("image/png", PICTURE)]
    expect_loaded(shown(questions(page)))

    second = open_page(session_of(page))
    expect(questions(second)).to_contain_text("What is this?")
    expect_loaded(shown(questions(second)))
    send(second, "And now?")
    expect(answers(second)).to_have_count(2)
    wait_until_answered(second)
    assert upstream.replies[-1].images == [ImageData("image/png", PICTURE)]


def test_a_picture_is_removed_before_it_is_sent(page: Page, upstream: Upstream) -> None:
    give(page, "choose", "cat.png", PICTURE)
    give(page, "choose", "dog.png", OTHER)
    expect(thumbnails(page)).to_have_count(2)
    button(page, "Remove cat.png").click()
    expect(thumbnails(page)).to_have_attribute("alt", "dog.png")
    expect(field(page)).to_be_focused()
    send(page, "What is this?")
    wait_until_answered(page)
    assert upstream.replies[-1].images == [ImageData("image/png", OTHER)]
    send(page, "And without one?")
    wait_until_answered(page)
    expect(shown(questions(page).last)).to_have_count(0)


def test_what_cannot_be_sent_is_refused_with_the_reason(page: Page) -> None:
    field(page).fill("Look at this")
    give(page, "choose", "song.mp3", b"ID3\x04\0\xff", "image/png")
    expect(
        page.get_by_text(
            "song.mp3 cannot be added. Chatkeep accepts text and pictures (PNG, JPEG, GIF, WebP)."
        )
    ).to_be_visible()
    page.evaluate(
        """() => {
            const files = new DataTransfer();
            const start = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
            files.items.add(new File([start, new Uint8Array(10 * 2 ** 20)], 'wall.png'));
            for (let number = 0; number < 21; number += 1)
                files.items.add(new File([start], `tile${number}.png`));
            const event = new DragEvent('drop', { dataTransfer: files, bubbles: true });
            document.querySelector('main').dispatchEvent(event);
        }"""
    )
    too_large = page.get_by_text("wall.png is too large: a picture can have at most 10 MB.")
    expect(too_large).to_be_visible()
    expect(page.get_by_text("A message can have at most 20 pictures.")).to_be_visible()
    expect(thumbnails(page)).to_have_count(20)
    expect(field(page)).to_have_value("Look at this")


def test_pictures_of_a_draft_stay_with_their_conversation(page: Page, server: Server) -> None:
    store(server, StoredSession("other talk"))
    give(page, "choose", "cat.png", PICTURE)
    expect(thumbnails(page)).to_have_count(1)
    link(page, "other talk").click()
    expect(answers(page)).to_be_visible()
    expect(thumbnails(page)).to_have_count(0)
    page.go_back()
    expect(thumbnails(page)).to_have_count(1)
    page.reload()
    expect(field(page)).to_be_visible()
    expect(thumbnails(page)).to_have_count(0)


def test_a_picture_opens_large_and_closes(page: Page) -> None:
    give(page, "choose", "cat.png", PICTURE)
    send(page, "What is this?")
    wait_until_stored(page)
    small = questions(page).get_by_role("button", name="Picture 1")
    dialog = page.get_by_role("dialog", name="Picture 1")
    small.click()
    expect_loaded(dialog.get_by_role("img"))
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(small).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def test_an_edited_message_keeps_its_picture(page: Page, upstream: Upstream) -> None:
    give(page, "choose", "cat.png", PICTURE)
    send(page, "What is this?")
    wait_until_stored(page)
    questions(page).hover()
    button(page, "Edit the message").click()
    page.get_by_role("textbox", name="Edit the message").fill("Who is this?")
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("Reply to: Who is this?")
    wait_until_answered(page)
    assert upstream.replies[-1].images == [ImageData("image/png", PICTURE)]
    expect_loaded(shown(questions(page)))


def test_a_picture_that_cannot_be_sent_yet_comes_back(
    page: Page, upstream: Upstream, page_errors: list[str]
) -> None:
    give(page, "choose", "cat.png", PICTURE)
    page.route("**/chat", lambda route: route.abort())
    send(page, "What is this?")
    expect_loaded(shown(questions(page)))
    expect(answers(page)).to_contain_text("Will be sent when the server is back.")
    answers(page).get_by_role("button", name="Cancel").click()
    expect(questions(page)).to_have_count(0)
    expect(field(page)).to_have_value("What is this?")
    expect(thumbnails(page)).to_have_count(1)
    page.unroute("**/chat")
    page.keyboard.press("Enter")
    wait_until_answered(page)
    assert upstream.replies[-1].images == [ImageData("image/png", PICTURE)]
    expect_error(page_errors, "ERR_FAILED")


def test_a_message_whose_picture_the_server_refuses_is_not_lost(
    page: Page, upstream: Upstream, page_errors: list[str]
) -> None:
    give(page, "choose", "cut.png", PICTURE)
    refusal = {"status": 400, "title": "Not possible", "detail": "The model sees no pictures."}
    page.route("**/chat", lambda route: route.fulfill(status=400, json=refusal))
    send(page, "What is this?")
    note = page.get_by_role("alert")
    expect(note).to_contain_text("The message was not sent.")
    expect(note).to_contain_text("The model sees no pictures.")
    page.unroute("**/chat")
    note.get_by_role("button", name="Try again").click()
    wait_until_answered(page)
    assert upstream.replies[-1].images == [ImageData("image/png", PICTURE)]
    expect_error(page_errors, "400")


DOCUMENT = StoredFile(b"%PDF-1.7\n", "application/pdf")
REMOTE = "https://pictures.test/cat.png"
STORED = BlockSession(
    "stored pictures",
    blocks=[
        BlockMessage(
            "user",
            "Compare these.",
            [
                TEXT,
                StoredFile(PICTURE).block(),
                {"type": "image", "url": REMOTE},
                {"type": "image", "url": "javascript:window.hacked=true"},
                DOCUMENT.block("file", filename="plan <b>.pdf"),
            ],
        ),
        BlockMessage("assistant", "They are alike.", [TEXT, StoredFile(OTHER).block()]),
    ],
    files=[StoredFile(PICTURE), StoredFile(OTHER), DOCUMENT],
)


@pytest.fixture(scope="module", autouse=True)
def _stored(running_server: Server) -> None:
    store(running_server, STORED)


def test_a_picture_of_elsewhere_is_a_link_and_a_document_is_downloaded(
    open_page: OpenPage,
) -> None:
    page = open_page("stored pictures")
    expect(questions(page).get_by_role("link", name="Picture (pictures.test)")).to_have_attribute(
        "href", REMOTE
    )
    expect(questions(page).get_by_role("img")).to_have_count(1)
    expect(questions(page).get_by_role("link")).to_have_count(2)
    expect_loaded(shown(questions(page)))
    expect_loaded(shown(answers(page)))
    with page.expect_download() as download:
        questions(page).get_by_role("link", name="Download plan <b>.pdf").click()
    assert Path(download.value.path()).read_bytes() == DOCUMENT.data


def test_pictures_are_in_the_exported_file(
    open_page: OpenPage, browser: Browser, tmp_path: Path, page_errors: list[str]
) -> None:
    path = exported(open_page("stored pictures"), "stored pictures", tmp_path)
    page = opened(browser, path, page_errors)
    expect(page.get_by_role("img")).to_have_count(2)
    for number in range(2):
        expect_loaded(page.get_by_role("img").nth(number))
    expect(page.get_by_role("link", name="Picture (pictures.test)")).to_be_visible()
    expect(page.get_by_role("link", name="plan <b>.pdf")).to_be_visible()
    report = AccessibilityReport(page)
    report.check("the file")
    assert not report.violations, "\n\n".join(report.violations)
    page.close()


def test_axe_finds_nothing_where_pictures_are(open_page: OpenPage) -> None:
    page = open_page("stored pictures")
    expect_loaded(shown(questions(page)))
    give(page, "choose", "cat.png", PICTURE)
    expect(thumbnails(page)).to_have_count(1)
    report = AccessibilityReport(page)
    report.check("a conversation")
    questions(page).get_by_role("button", name="Picture 1").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    report.check("the dialog")
    assert not report.violations, "\n\n".join(report.violations)


def test_no_picture_stays_in_the_browser(page: Page) -> None:
    give(page, "choose", "cat.png", PICTURE)
    expect(thumbnails(page)).to_have_count(1)
    stored = page.evaluate("JSON.stringify({ ...sessionStorage, ...localStorage })")
    assert "base64" not in json.dumps(stored)
