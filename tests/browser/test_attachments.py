"""Files for a message: text becomes part of it, anything else gets an answer."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import answers, button, field, send
from tests.upstream import Upstream

NOTES = "Buy bread.\n```\nand milk\n```\n"


def give(page: Page, way: str, name: str, content: bytes, kind: str = "") -> None:
    """Bring a file as people do: drop it, paste it or choose it."""
    if way == "choose":
        with page.expect_file_chooser() as chooser:
            button(page, "Add pictures or text files").click()
        chooser.value.set_files({"name": name, "mimeType": kind, "buffer": content})
        return
    transfer = page.evaluate_handle(
        """([name, bytes, type]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
            return transfer;
        }""",
        [name, list(content), kind],
    )
    if way == "drop":
        page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    else:
        page.locator("#message").evaluate(
            """(field, clipboardData) => field.dispatchEvent(
                new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }))""",
            transfer,
        )


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_a_text_file_becomes_part_of_the_message(page: Page, upstream: Upstream, way: Any) -> None:
    field(page).fill("What is missing?")
    give(page, way, "notes.md", NOTES.encode())
    whole = f"What is missing?\n\nnotes.md\n````md\n{NOTES}````\n"
    expect(field(page)).to_have_value(whole)
    expect(field(page)).to_be_focused()
    page.keyboard.press("Enter")
    expect(answers(page)).to_contain_text("Reply to: What is missing?")
    assert upstream.replies[-1].messages[-1][1] == whole


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [("photo.png", b"\x89PNX\r\n\x1a\n\0\0", "image/png"), ("paper.pdf", b"%PDF-1.7\0\xff", "")],
)
def test_a_file_that_is_neither_text_nor_a_picture_is_refused_with_the_reason(
    page: Page, way: str, name: str, content: bytes, kind: str
) -> None:
    field(page).fill("Look at this")
    give(page, way, name, content, kind)
    reason = "cannot be added. Chatkeep accepts text and pictures (PNG, JPEG, GIF, WebP)."
    notice = page.get_by_text(f"{name} {reason}")
    expect(notice).to_be_visible()
    expect(field(page)).to_have_value("Look at this")


def test_a_file_that_is_too_long_for_a_message_is_refused(page: Page) -> None:
    give(page, "choose", "book.txt", b"word " * 20_001)
    notice = page.get_by_text(
        "book.txt is too long: a message can have at most 100,000 characters."
    )
    expect(notice).to_be_visible()
    expect(field(page)).to_have_value("")


def test_text_with_a_picture_of_it_is_pasted_as_text(page: Page, upstream: Upstream) -> None:
    page.locator("#message").evaluate(
        """field => {
            const clipboardData = new DataTransfer();
            clipboardData.setData('text/plain', 'a cell');
            clipboardData.items.add(new File(['x'], 'cell.png', { type: 'image/png' }));
            const event = new ClipboardEvent('paste', { clipboardData, cancelable: true });
            window.taken = !field.dispatchEvent(event);
        }"""
    )
    assert page.evaluate("taken") is False
    send(page, "go on")
    expect(answers(page)).to_contain_text("Reply to: go on")
