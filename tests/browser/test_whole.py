"""What a browser does by itself, find, select and print, and a search that leads to the word."""

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.long_sessions import import_long_session
from tests.browser.page import answers, button, field, questions
from tests.browser.session_list import StoredSession, store
from tests.process import Server, until

WHOLE, LONG = "four hundred", "ten thousand"
COUNT = 400
STEPS = "\n\n".join(f"Step number {number} of the way, in some words." for number in range(1, 301))


@pytest.fixture(scope="module", autouse=True)
def _stored(running_server: Server) -> None:
    import_long_session(running_server, WHOLE, COUNT)
    import_long_session(running_server, LONG, 10_000)
    store(
        running_server,
        StoredSession("way", title="The way there", messages=("How do I get there?", STEPS)),
        StoredSession("other", title="Something else", messages=("What is a quokka?", "Small.")),
    )


@pytest.fixture
def whole(open_page: OpenPage) -> Page:
    """A page with a conversation of which all is in the document."""
    page = open_page(WHOLE)
    expect(page.get_by_role("article")).to_have_count(COUNT)
    return page


def look_for(page: Page, text: str) -> None:
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Search")).to_be_focused()
    page.keyboard.type(text)
    expect(page.get_by_role("option").locator("mark").first).to_be_visible()


def search(page: Page, text: str) -> None:
    look_for(page, text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def marked(page: Page) -> list[str]:
    """The words that are marked, in the document's order."""
    words: list[str] = page.evaluate("[...(CSS.highlights.get('search-match') ?? [])].map(String)")
    return words


def test_the_browser_finds_every_message_of_a_conversation(whole: Page) -> None:
    for number in (1, 199, 200, COUNT):
        kind = "Question" if number % 2 else "Answer"
        assert whole.evaluate(f"getSelection().empty() || find('{kind} {number}.')"), number
    assert not whole.evaluate("getSelection().empty() || find('Question 400.')")


def test_it_is_selected_and_copied_whole(whole: Page) -> None:
    selection = whole.evaluate(
        "getSelection().selectAllChildren(document.querySelector('[aria-label=Messages]'))"
        " || String(getSelection())"
    )
    assert "Question 1." in selection
    assert f"Answer {COUNT}." in selection


def test_it_is_printed_whole_and_without_the_list_and_the_field(whole: Page) -> None:
    whole.emulate_media(media="print")
    for hidden in ("complementary", "textbox"):
        expect(whole.get_by_role(hidden)).to_have_count(0)
    pages = len(re.findall(rb"/Type\s*/Page\b", whole.pdf(format="A4")))
    assert pages > 20


def test_the_view_stays_at_the_end_while_older_messages_come(open_page: OpenPage) -> None:
    page = open_page(WHOLE)
    expect(answers(page).last).to_be_in_viewport()
    expect(page.get_by_role("article")).to_have_count(COUNT)
    expect(answers(page).last).to_be_in_viewport()
    expect(button(page, "Go to the end")).to_have_count(0)


def test_in_a_very_long_conversation_the_browsers_shortcut_searches_in_it(
    open_page: OpenPage,
) -> None:
    page = open_page(LONG)
    expect(answers(page).last).to_contain_text("Answer 10000.")
    page.keyboard.press("Control+f")
    box = page.get_by_role("combobox", name="Search in this conversation")
    expect(box).to_be_focused()
    expect(page.get_by_role("checkbox", name="Only this conversation")).to_be_checked()
    page.keyboard.type("question 4711")
    hit = page.get_by_role("option")
    expect(hit).to_have_count(1)
    page.keyboard.press("Enter")
    expect(questions(page).filter(has_text="Question 4711.")).to_be_in_viewport()
    until(lambda: marked(page) == ["Question", "4711"])


def test_a_search_of_one_conversation_does_not_narrow_the_next_search(open_page: OpenPage) -> None:
    page = open_page(LONG)
    expect(answers(page).last).to_contain_text("Answer 10000.")
    page.keyboard.press("Control+f")
    expect(page.get_by_role("checkbox", name="Only this conversation")).to_be_checked()
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Search")).click()
    expect(page.get_by_role("checkbox", name="Only this conversation")).not_to_be_checked()


def test_the_shortcut_is_the_browsers_own_where_it_finds_everything(whole: Page) -> None:
    whole.keyboard.press("Control+f")
    expect(field(whole)).to_be_focused()
    expect(whole.get_by_role("dialog")).to_have_count(0)


def test_a_search_result_opens_another_conversation_at_the_word(open_page: OpenPage) -> None:
    page = open_page("other")
    expect(answers(page)).to_contain_text("Small.")
    search(page, '"step number 229"')
    expect(page.get_by_role("heading", level=1)).to_have_text("The way there")
    expect(page.get_by_text("Step number 229 of the way")).to_be_in_viewport()
    expect(page.get_by_text("Step number 1 of the way")).not_to_be_in_viewport()
    until(lambda: marked(page))
    assert set(" ".join(marked(page)).lower().split()) == {"step", "number", "229"}
    # No error is shown, and the fixture checks that none is in the console.
    expect(page.locator(".toast")).to_have_count(0)


def test_a_search_opens_a_long_message_that_is_shown_in_part(
    open_page: OpenPage, server: Server
) -> None:
    lines = "\n".join(f"entry {number} of the log" for number in range(500))
    store(server, StoredSession("log", title="A log", messages=(lines, "That is long.")))
    page = open_page("other")
    search(page, '"entry 444"')
    expect(button(page, "Show less")).to_be_attached()
    until(lambda: marked(page))
    top, bottom = page.evaluate(
        """() => {
            const [match] = CSS.highlights.get('search-match');
            const { top, bottom } = match.getBoundingClientRect();
            return [top, bottom];
        }"""
    )
    assert 50 < top < bottom < 700


def test_search_marks_are_removed_in_the_next_conversation(open_page: OpenPage) -> None:
    page = open_page("way")
    search(page, '"step number 229"')
    expect(page.get_by_text("Step number 229 of the way")).to_be_in_viewport()
    page.get_by_role("link", name="Something else").click()
    expect(answers(page)).to_contain_text("Small.")
    assert marked(page) == []


def test_a_result_on_another_branch_is_shown_without_moving_the_session(
    open_page: OpenPage, server: Server, session: str
) -> None:
    server.chat(session, "Tell me of the wombat")
    first = server.history(session)[0]
    server.chat(session, "Tell me of the echidna", parent_id=first["parent_id"])
    head = server.get(f"/sessions/{quote(session)}")["head"]

    page = open_page("other")
    look_for(page, "wombat")
    hits = page.get_by_role("option").filter(has_text="another branch")
    expect(hits).to_have_count(2)
    hits.filter(has_text="Tell me").last.click()

    expect(questions(page)).to_contain_text("Tell me of the wombat")
    expect(page.get_by_role("status").get_by_text("This is another branch")).to_be_visible()
    expect(field(page)).to_have_count(0)
    assert server.get(f"/sessions/{quote(session)}")["head"] == head

    button(page, "Back to the conversation").click()
    expect(questions(page)).to_contain_text("Tell me of the echidna")
    expect(field(page)).to_be_visible()
    assert server.get(f"/sessions/{quote(session)}")["head"] == head

    page.go_back()
    expect(questions(page)).to_contain_text("Tell me of the wombat")
    button(page, "Continue here").click()
    expect(field(page)).to_be_focused()
    expect(questions(page)).to_contain_text("Tell me of the wombat")
    until(lambda: server.get(f"/sessions/{quote(session)}")["head"] != head)


def test_hits_are_shown_without_the_marks_of_their_markdown(
    open_page: OpenPage, server: Server
) -> None:
    answer = "## Ocelots\n\nThe **ocelot** hunts at `night`.\n\n```python\nocelot()\n```"
    store(server, StoredSession("cats", title="Cats", messages=("Which cats?", answer)))
    page = open_page("other")
    look_for(page, "ocelot")
    snippet = page.get_by_role("option").locator(".snippet")
    expect(snippet).to_contain_text("The ocelot hunts at night.")
    expect(snippet).not_to_contain_text("#")
    expect(snippet).not_to_contain_text("`")


def test_keys_that_are_typed_at_once_after_the_shortcut_are_searched_for(
    open_page: OpenPage,
) -> None:
    page = open_page("other")
    loaded = (
        "performance.getEntriesByType('resource')"
        ".map(({ name }) => name).find((name) => name.includes('SearchDialog.js'))"
    )
    name = until(lambda: page.evaluate(loaded))
    # It has arrived; this waits until it has run.
    page.evaluate("name => import(name).then(() => null)", name)
    page.keyboard.press("Control+k")
    page.keyboard.type("quokka", delay=0)
    expect(page.get_by_role("combobox", name="Search")).to_have_value("quokka")
    expect(field(page)).to_have_value("")
