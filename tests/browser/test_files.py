"""Conversations in files: dropped or chosen to come in, and carried away from the menu."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import answers, questions
from tests.browser.session_list import (
    StoredSession,
    choose_from_menu,
    choose_option,
    expect_error,
    export_file,
    link,
    record_requests,
    store,
)
from tests.process import Server


def chatgpt(title: str) -> bytes:
    """One conversation, as an export of ChatGPT has it in its `conversations.json`."""

    def node(name: str, parent: str | None, children: list[str], content: Any) -> Any:
        return {"id": name, "parent": parent, "children": children, "message": content}

    def message(role: str, text: str) -> Any:
        return {
            "author": {"role": role},
            "create_time": 1_764_090_229.36,
            "content": {"content_type": "text", "parts": [text]},
            "status": "finished_successfully",
            "recipient": "all",
            "metadata": {},
        }

    conversation = {
        "title": title,
        "create_time": 1_764_090_229.36,
        "update_time": 1_764_090_289.36,
        "conversation_id": f"gpt {title}",
        "current_node": "c",
        "mapping": {
            "a": node("a", None, ["b"], None),
            "b": node("b", "a", ["c"], message("user", "When is high tide?")),
            "c": node("c", "b", [], message("assistant", "Twice a day.")),
        },
    }
    return json.dumps([conversation]).encode()


def drop(page: Page, name: str, content: bytes) -> None:
    """Drag a file over the page and let it go there."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        [name, list(content)],
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop conversations to import them")).to_be_visible()
    page.dispatch_event("main", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop conversations to import them")).to_have_count(0)


def choose_file(page: Page, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        choose_from_menu(page, "Import…")
    accepted = (chooser.value.element.get_attribute("accept") or "").split(",")
    assert {".json", ".jsonl", ".zip"} <= set(accepted)
    chooser.value.set_files({"name": name, "mimeType": "", "buffer": content})


@pytest.mark.parametrize("import_file", [drop, choose_file])
def test_a_file_of_our_own_is_imported(page: Page, import_file: Any) -> None:
    way = import_file.__name__
    file = export_file(
        StoredSession(f"one by {way}"), StoredSession(f"two by {way}", messages=("left alone",))
    )
    import_file(page, "chatkeep-export.jsonl", file)

    expect(page.get_by_text("Imported 2 conversations with 3 messages.")).to_be_visible()
    expect(link(page, f"two by {way}")).to_be_visible()
    link(page, f"one by {way}").click()
    expect(answers(page)).to_contain_text("Hello to you.")

    import_file(page, "chatkeep-export.jsonl", file)
    notice = "Imported 0 conversations with 0 messages. Skipped: 2 conversations."
    expect(page.get_by_text(notice)).to_be_visible()
    expect(link(page, f"one by {way}")).to_have_count(1)


@pytest.mark.parametrize("import_file", [drop, choose_file])
def test_a_file_of_another_product_is_imported(page: Page, import_file: Any) -> None:
    title = f"Tides by {import_file.__name__}"
    import_file(page, "conversations.json", chatgpt(title))
    expect(page.get_by_text("Imported 1 conversation with 2 messages.")).to_be_visible()
    link(page, title).click()
    expect(questions(page)).to_contain_text("When is high tide?")
    expect(answers(page)).to_contain_text("Twice a day.")


@pytest.mark.parametrize("import_file", [drop, choose_file])
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_an_archive_from_chatgpt_is_imported(page: Page, import_file: Any, method: int) -> None:
    title = f"Archive {method} by {import_file.__name__}"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as files:
        files.writestr("file-picture.png", bytes(100_000))
        files.writestr("chat.html", "<p>conversations.json</p>")
        files.writestr("conversations.json", chatgpt(title))
    import_file(page, "chatgpt-export.zip", archive.getvalue())
    expect(page.get_by_text("Imported 1 conversation with 2 messages.")).to_be_visible()
    link(page, title).click()
    expect(answers(page)).to_contain_text("Twice a day.")


def test_an_archive_without_conversations_shows_an_error(page: Page) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("notes.txt", "nothing here")
    drop(page, "notes.zip", archive.getvalue())
    notice = "notes.zip: There is no conversations.json in this archive."
    expect(page.get_by_text(notice)).to_be_visible()
    drop(page, "broken.zip", b"PK no archive at all")
    expect(page.get_by_text("broken.zip: This archive cannot be read.")).to_be_visible()


def test_a_file_that_cannot_be_read_shows_the_reason(page: Page, page_errors: list[str]) -> None:
    drop(page, "holiday.json", b"no export at all")
    expect(page.get_by_text("holiday.json: Not a conversation export.")).to_be_visible()
    expect(page.get_by_text("Importing holiday.json…")).to_have_count(0)
    expect_error(page_errors, "422")


def test_dropped_text_is_not_imported(page: Page) -> None:
    requests = record_requests(page)
    transfer = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.setData('text/plain', 'some words');
            return transfer;
        }"""
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("main", event, {"dataTransfer": transfer})
        expect(page.get_by_text("Drop conversations")).to_have_count(0)
    expect(page.get_by_text("Importing")).to_have_count(0)
    assert "POST /import" not in requests


@pytest.mark.parametrize(
    ("option", "suffix", "within"),
    [("Export as Markdown", ".md", "## "), ("Export as JSON", ".jsonl", '{"type":"chatkeep"')],
)
def test_a_session_is_exported_as_a_file(
    page: Page, server: Server, option: str, suffix: str, within: str
) -> None:
    session = f"away/{suffix} ü?&#"
    store(server, StoredSession(session, messages=("Where to?", "To the *sea*.")))
    page.reload()
    with page.expect_download() as download:
        choose_option(page, session, option)
    assert Path(download.value.suggested_filename).suffix == suffix
    text = Path(download.value.path()).read_text()
    assert "Where to?" in text
    assert "To the *sea*." in text
    assert within in text
    expect(link(page, session)).to_be_visible()


def test_all_conversations_are_exported_in_one_file(page: Page, server: Server) -> None:
    store(server, StoredSession("all: one"), StoredSession("all: two"))
    with page.expect_download() as download:
        choose_from_menu(page, "Export all")
    assert Path(download.value.suggested_filename).suffix == ".jsonl"
    text = Path(download.value.path()).read_text()
    assert "all: one" in text
    assert "all: two" in text
