"""Sessions and messages that no turn makes: created, added, removed, and what their title is."""

import random
from typing import Any

import pytest
import sqlalchemy as sa

from chatkeep.domain.blocks import ToolCall, ToolResult, call_block, rendition, result_block
from chatkeep.domain.errors import (
    InvalidRequest,
    MessageNotFound,
    MessageNotLast,
    SessionBusy,
    SessionNotFound,
)
from chatkeep.domain.ids import message_id
from chatkeep.domain.model import (
    Branch,
    FileContent,
    MessageContent,
    Role,
    SessionRecord,
    Status,
    TitleSource,
    TurnRequest,
)
from chatkeep.store import (
    files,
    messages,
    session_changes,
    session_messages,
    sessions,
    turn_creation,
    turn_records,
)
from chatkeep.store.database import Store
from chatkeep.store.search import hits
from chatkeep.store.search.query import parse_query
from chatkeep.store.tables import leases
from chatkeep.store.tables import messages as messages_table
from chatkeep.store.tables import turns as turns_table
from tests.store.conftest import RUNNER, accept, cancel, end, run

OTHER = "another process"


def title(text: str, _at: int) -> str:
    return f"About {text or 'nothing yet'}"


def user(text: str) -> MessageContent:
    return MessageContent(Role.USER, text)


def assistant(text: str) -> MessageContent:
    return MessageContent(Role.ASSISTANT, text)


def call(call_id: str) -> MessageContent:
    blocks = (call_block(ToolCall(call_id, "clock", {})),)
    return MessageContent(Role.ASSISTANT, rendition(blocks), blocks)


def result(call_id: str) -> MessageContent:
    return MessageContent(Role.TOOL, "noon", (result_block(ToolResult(call_id, None, False)),))


def picture(digest: str) -> MessageContent:
    return MessageContent(
        Role.USER, "", ({"type": "image", "mime_type": "image/png", "file_id": digest},)
    )


def params(session_id: str, contents: tuple[MessageContent, ...], at: int) -> dict[str, Any]:
    return {
        "tenant": "default",
        "session_id": session_id,
        "contents": [content._replace(id=message_id()) for content in contents],
        "contained": (),
        "owner": RUNNER.owner,
        "make_title": title,
        "at": at,
    }


async def create(
    store: Store, session_id: str, *contents: MessageContent, at: int = 1, **more: Any
) -> session_messages.CreatedSession:
    known = {**params(session_id, contents, at), "metadata": {}}
    return await store.write(session_messages.create, **{**known, **more})


async def append(
    store: Store, session_id: str, *contents: MessageContent, at: int = 1, **more: Any
) -> session_messages.AppendedMessages:
    known = params(session_id, contents, at)
    return await store.write(session_messages.append, **{**known, **more})


async def remove(store: Store, session_id: str, message_id: str, at: int = 1) -> SessionRecord:
    return await store.write(
        session_messages.remove_last,
        tenant="default",
        session_id=session_id,
        message_id=message_id,
        at=at,
    )


async def branch(store: Store, session_id: str, **more: Any) -> Any:
    known = {"limit": 100, "oldest_first": True, **more}
    return await store.read(
        session_messages.branch, tenant="default", session_id=session_id, **known
    )


async def contents(store: Store, session_id: str) -> list[str]:
    return [message.content for message in (await branch(store, session_id)).items]


async def record(store: Store, session_id: str) -> SessionRecord:
    return await store.read(sessions.record, tenant="default", session_id=session_id)


async def search(store: Store, words: str) -> list[str | None]:
    query = hits.Query(parse_query(words))
    page = await store.read(
        hits.find, tenant="default", query=query, limit=10, cursor=hits.SearchCursor()
    )
    return [hit.message_id for hit in page.items]


async def count(store: Store, table: sa.Table) -> int:
    def read(conn: sa.Connection) -> int:
        return int(conn.scalar(sa.select(sa.func.count()).select_from(table)) or 0)

    return await store.read(read)


async def owed(store: Store) -> list[str]:
    listed = await store.read(session_changes.untitled, limit=10)
    return [session.first_message for session in listed]


def test_a_session_can_be_created_before_there_is_a_message(store: Store) -> None:
    async def work() -> None:
        made = await create(store, "s", metadata={"topic": "demo"})
        assert made.is_new
        assert (made.session.message_count, made.session.head) == (0, None)
        assert made.session.metadata == {"topic": "demo"}
        assert (made.session.title, made.session.archived) == ("About nothing yet", False)
        assert made.untitled is None
        assert await contents(store, "s") == []

    run(work)


def test_a_session_that_is_there_is_returned_unchanged(store: Store) -> None:
    async def work() -> None:
        first = await create(store, "s", user("hello"), metadata={"a": 1})
        again = await create(store, "s", user("another"), result("none"), metadata={"b": 2}, at=9)
        assert (first.is_new, again.is_new) == (True, False)
        assert again.session == first.session
        assert again.untitled is None
        assert await contents(store, "s") == ["hello"]

    run(work)


def test_a_session_of_messages_has_its_title_from_the_first_of_its_user(store: Store) -> None:
    async def work() -> None:
        system = MessageContent(Role.SYSTEM, "Be brief.")
        made = await create(store, "s", system, user("whales"), assistant("Big."), user("sharks"))
        assert made.session.title == "About whales"
        assert made.untitled is not None
        assert made.untitled.first_message == "whales"
        (first, *_) = (await branch(store, "s")).items
        assert (first.role, first.turn_id, first.status) == (
            Role.SYSTEM,
            None,
            Status.COMPLETED,
        )

    run(work)


def test_no_title_is_made_until_the_user_has_written(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", MessageContent(Role.SYSTEM, "Be brief."))
        added = await append(store, "s", assistant("Hello, I am a machine."))
        assert added.untitled is None
        assert await owed(store) == []

        added = await append(store, "s", user("whales"), user("sharks"))
        assert added.untitled is not None
        assert added.untitled.first_message == "whales"
        assert added.session.title == "About whales"
        assert added.session.title_source is TitleSource.PROVISIONAL
        assert await search(store, "whales") == [None, added.messages[0].id]
        assert await search(store, "nothing") == []

    run(work)


def test_the_first_turn_of_a_created_session_names_it(store: Store) -> None:
    async def work() -> None:
        await create(store, "s")
        accepted = await accept(store, "s", "whales")
        assert (accepted.is_first, accepted.new_session) == (True, None)
        assert accepted.changed_session is not None
        assert accepted.changed_session.title == "Some first title"
        assert accepted.first_message == "whales"
        await end(store, accepted.turn.turn_id)
        second = await accept(store, "s", "sharks")
        assert (second.is_first, second.changed_session) == (False, None)
        assert second.first_message == "whales"

    run(work)


def test_a_title_that_another_process_makes_is_not_made_twice(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", user("whales"), owner=OTHER)
        await store.write(lambda conn: conn.execute(leases.insert().values(owner=OTHER, beat=1)))
        assert (await append(store, "s", user("sharks"))).untitled is None
        assert await owed(store) == []

    run(work)


def test_titles_that_are_owed_are_made_from_the_active_conversation(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", MessageContent(Role.SYSTEM, "Be brief."), user("whales"))
        await create(store, "empty")
        assert await owed(store) == ["whales"]
        root = await accept(store, "s", "sharks", branch=Branch(None))
        await end(store, root.turn.turn_id)
        assert await owed(store) == ["sharks"]

    run(work)


def test_appended_messages_follow_the_head_and_are_read_by_the_next_turn(store: Store) -> None:
    async def work() -> None:
        first = await accept(store, "s", "one", at=5)
        await end(store, first.turn.turn_id, "ONE", at=6)
        added = await append(store, "s", user("two"), assistant("TWO"), at=3)
        assert [message.content for message in added.messages] == ["two", "TWO"]
        assert added.messages[0].parent_id == first.turn.message_id
        assert added.session.message_count == 4
        assert added.session.updated_at.endswith("00:00:00.000006Z")
        assert set(await search(store, "two")) == {message.id for message in added.messages}

        third = await accept(store, "s", "three")
        assert third.started is not None
        assert [message.text for message in third.started.context] == ["one", "ONE", "two", "TWO"]

    run(work)


def test_a_message_of_no_turn_is_read_though_nobody_has_answered_it(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", user("My name is Ada."), user("I like whales."))
        turn = await accept(store, "s", "What do I like?")
        assert turn.started is not None
        assert [message.text for message in turn.started.context] == [
            "My name is Ada.",
            "I like whales.",
        ]
        receipt = await store.read(
            turn_records.receipt, tenant="default", turn_id=turn.turn.turn_id
        )
        assert receipt.left_out == ()

    run(work)


def test_messages_cannot_be_appended_to_what_is_not_there_or_busy(store: Store) -> None:
    async def work() -> None:
        with pytest.raises(SessionNotFound):
            await append(store, "s", user("hello"))
        first = await accept(store, "s", "one")
        waiting = await accept(store, "s", "two")
        with pytest.raises(SessionBusy) as refused:
            await append(store, "s", user("hello"))
        assert refused.value.turn is not None
        assert refused.value.turn.turn_id == first.turn.turn_id
        with pytest.raises(SessionBusy):
            await remove(store, "s", first.turn.user_message_id)
        await cancel(store, waiting.turn.turn_id)
        await end(store, first.turn.turn_id, "ONE")
        await append(store, "s", user("three"))
        assert await contents(store, "s") == ["one", "ONE", "two", "three"]

    run(work)


def test_a_result_answers_an_open_call_before_it_and_only_once(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", user("What time is it?"), call("a"))
        for wrong in ([result("b")], [result("a"), result("a")], [result("b"), call("b")]):
            with pytest.raises(InvalidRequest) as refused:
                await append(store, "s", *wrong)
            number = len(wrong) - 1 if wrong[0] == result("a") else 0
            assert refused.value.errors[0]["pointer"] == f"#/items/{number}"
        assert await contents(store, "s") == ["What time is it?", "clock({})"]

        await append(store, "s", result("a"), call("b"), result("b"))
        with pytest.raises(InvalidRequest):
            await append(store, "s", result("b"))
        with pytest.raises(InvalidRequest):
            await create(store, "other", result("a"))
        with pytest.raises(SessionNotFound):
            await record(store, "other")

    run(work)


def test_the_last_message_is_removed_with_its_entry_in_the_index(store: Store) -> None:
    async def work() -> None:
        made = await create(store, "s", user("whales"), assistant("sharks"), at=5)
        one, two = (await branch(store, "s")).items
        assert await search(store, "sharks") == [two.id]
        after = await remove(store, "s", two.id, at=9)
        assert (after.head, after.message_count) == (one.id, 1)
        assert after.updated_at > made.session.updated_at
        assert await search(store, "sharks") == []
        assert await count(store, messages_table) == 1
        after = await remove(store, "s", one.id)
        assert (after.head, after.message_count) == (None, 0)
        added = await append(store, "s", user("dolphins"))
        assert added.messages[0].parent_id is None
        assert await contents(store, "s") == ["dolphins"]

    run(work)


def test_only_the_last_message_can_be_removed(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", user("one"), assistant("ONE"))
        await create(store, "t", user("elsewhere"))
        one, _ = (await branch(store, "s")).items
        (elsewhere,) = (await branch(store, "t")).items
        with pytest.raises(MessageNotLast):
            await remove(store, "s", one.id)
        for unknown in ("msg_unknown", elsewhere.id):
            with pytest.raises(MessageNotFound):
                await remove(store, "s", unknown)
        with pytest.raises(SessionNotFound):
            await remove(store, "nowhere", one.id)
        assert await contents(store, "s") == ["one", "ONE"]

    run(work)


def test_a_turn_loses_its_reply_and_goes_with_its_message(store: Store) -> None:
    async def work() -> None:
        turn = (await accept(store, "s", "one")).turn
        await end(store, turn.turn_id, "ONE")
        await remove(store, "s", turn.message_id)
        stored = await store.read(turn_records.find, tenant="default", turn_id=turn.turn_id)
        assert (stored.record.status, stored.reply) == (Status.COMPLETED, "")
        await remove(store, "s", turn.user_message_id)
        assert await count(store, turns_table) == 0
        again = await accept(store, "s", "two")
        assert again.started is not None
        assert again.started.context == ()

    run(work)


def test_of_a_turn_that_goes_the_other_messages_stay(store: Store) -> None:
    async def work() -> None:
        await create(store, "s", user("What time is it?"), call("a"))
        request = TurnRequest("s", b"digest", (result("a"), user("And the date?")))
        ids = turn_creation.NewIds.of(request)
        await store.write(
            turn_creation.create_turn,
            tenant="default",
            request=request,
            ids=ids,
            runner=RUNNER,
            max_queued=1,
            make_title=title,
            at=1,
        )
        await end(store, ids.turn, "", Status.FAILED)
        await remove(store, "s", ids.user_message)
        last = (await branch(store, "s")).items[-1]
        assert (last.content, last.turn_id) == ("noon", None)
        assert await count(store, turns_table) == 0

    run(work)


def test_a_message_with_other_replies_stays_where_they_are(store: Store) -> None:
    async def work() -> None:
        turn = (await accept(store, "s", "one")).turn
        await end(store, turn.turn_id, "ONE")
        again = (await accept(store, "s", None, regenerate=turn.turn_id)).turn
        await end(store, again.turn_id, "one more")
        await remove(store, "s", again.message_id)
        after = await remove(store, "s", turn.user_message_id)
        assert (after.head, after.message_count) == (None, 0)
        other = await branch(store, "s")
        assert other.items == []
        assert await count(store, messages_table) == 2
        # The turn whose reply went is regenerated no more, but its message is that of both.
        assert await count(store, turns_table) == 2
        path = await store.read(
            messages.path, tenant="default", session_id="s", limit=None, head=turn.message_id
        )
        assert len(path.seqs) == 2

    run(work)


def test_a_file_goes_with_the_last_message_that_shows_it(store: Store) -> None:
    async def work() -> None:
        file = FileContent("ab" * 32, "image/png", b"x")
        shown = picture(file.file_id)
        await create(store, "s", shown, shown, contained=(file,))

        async def is_stored() -> bool:
            file_of_session = await store.read(
                files.find, tenant="default", session_id="s", file_id=file.file_id
            )
            return file_of_session is not None

        one, two = (await branch(store, "s")).items
        await remove(store, "s", two.id)
        assert await is_stored()
        await remove(store, "s", one.id)
        assert not await is_stored()

    run(work)


def test_a_detached_turns_session_comes_back_with_the_next_turn(store: Store) -> None:
    async def work() -> None:
        first = await accept(store, "s", "whales", is_detached=True)
        assert first.first_message is None
        assert first.new_session is not None
        assert (first.new_session.archived, first.new_session.title) == (True, "Some first title")
        await end(store, first.turn.turn_id, "Big.")
        assert await owed(store) == []

        second = await accept(store, "s", "sharks")
        assert second.first_message == "whales"
        assert second.changed_session is not None
        assert not second.changed_session.archived
        await end(store, second.turn.turn_id, "Fast.")
        third = await accept(store, "s", "dolphins")
        assert third.changed_session is None

    run(work)


def test_a_detached_turns_session_comes_back_with_messages(store: Store) -> None:
    async def work() -> None:
        first = await accept(store, "s", "whales", is_detached=True)
        await end(store, first.turn.turn_id, "Big.")
        added = await append(store, "s", user("sharks"))
        assert not added.session.archived
        assert added.untitled is not None
        assert added.untitled.first_message == "whales"

    run(work)


def test_what_a_person_has_archived_or_titled_stays_in_the_archive(store: Store) -> None:
    async def change(session_id: str, **values: Any) -> None:
        await store.write(
            session_changes.change,
            tenant="default",
            session_id=session_id,
            values=values,
            expected=None,
            seen=lambda it: it,
            at=9,
        )

    async def work() -> None:
        detached = await accept(store, "detached", "whales", is_detached=True)
        await end(store, detached.turn.turn_id)
        await change("detached", title="Mine")
        named = await accept(store, "named", "whales")
        await end(store, named.turn.turn_id)
        await change("named", archived=True)
        for name in ("detached", "named"):
            accepted = await accept(store, name, "sharks")
            assert accepted.changed_session is None
            assert (await record(store, name)).archived

    run(work)


def test_a_detached_turn_changes_nothing_of_a_session_that_is_there(store: Store) -> None:
    async def work() -> None:
        await create(store, "s")
        accepted = await accept(store, "s", "whales", is_detached=True)
        assert accepted.first_message == "whales"
        assert not (await record(store, "s")).archived

    run(work)


def test_pages_of_a_branch_follow_each_other_in_both_orders(store: Store) -> None:
    async def work() -> None:
        texts = [f"message {number}" for number in range(7)]
        await create(store, "s", *map(user, texts))
        other = await accept(store, "s", "other", branch=Branch(None))
        await end(store, other.turn.turn_id, "OTHER")
        (first, *_) = await branch_of(store, "message 0")
        await choose(store, first)
        for oldest_first in (True, False):
            seen: list[str] = []
            after = None
            while True:
                page = await branch(store, "s", limit=3, after=after, oldest_first=oldest_first)
                seen += [message.content for message in page.items]
                after = page.next_cursor
                if after is None:
                    break
            assert seen == (texts if oldest_first else texts[::-1])
        with pytest.raises(MessageNotFound):
            await branch(store, "s", after=other.turn.message_id)
        with pytest.raises(MessageNotFound):
            await branch(store, "s", after="msg_unknown", oldest_first=False)

    async def branch_of(store: Store, text: str) -> list[str]:
        def read(conn: sa.Connection) -> list[str]:
            ids = sa.select(messages_table.c.id).where(messages_table.c.content == text)
            return list(conn.scalars(ids))

        return await store.read(read)

    async def choose(store: Store, message: str) -> None:
        await store.write(
            session_changes.change,
            tenant="default",
            session_id="s",
            values={"head": message},
            expected=None,
            seen=lambda it: it,
            at=9,
        )

    run(work)


def test_the_last_input_of_each_turn_is_known(store: Store) -> None:
    async def work() -> None:
        one = (await accept(store, "s", "one")).turn
        await end(store, one.turn_id)
        two = (await accept(store, "s", None, regenerate=one.turn_id)).turn
        read = await store.read(
            session_messages.last_inputs,
            tenant="default",
            turn_ids=[one.turn_id, two.turn_id, "turn_unknown"],
        )
        assert read == {
            one.turn_id: one.user_message_id,
            two.turn_id: one.user_message_id,
        }
        assert (
            await store.read(session_messages.last_inputs, tenant="other", turn_ids=[one.turn_id])
            == {}
        )

    run(work)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_added_and_removed_the_tree_stays_whole(store: Store, seed: int) -> None:
    """Any series of turns, replies again, branches, additions and removals."""
    choices = random.Random(seed)

    async def work() -> None:
        await create(store, "s", user("begin"))
        expected = ["begin"]
        last_turn: str | None = None
        for number in range(40):
            page = (await branch(store, "s")).items
            assert [message.content for message in page] == expected
            step = choices.choice(["turn", "append", "remove", "remove", "again", "branch"])
            if step == "append":
                texts = [f"{number}.{part}" for part in range(choices.randint(1, 3))]
                await append(store, "s", *map(assistant, texts), at=number)
                expected += texts
            elif step == "remove" and page:
                await remove(store, "s", page[-1].id, at=number)
                expected.pop()
            elif step == "turn":
                turn = (await accept(store, "s", f"{number}", at=number)).turn
                await end(store, turn.turn_id, f"{number}!", at=number)
                last_turn = turn.turn_id
                expected += [f"{number}", f"{number}!"]
            elif step == "branch" and page:
                below = choices.randrange(len(page))
                at = Branch(page[below].id)
                turn = (await accept(store, "s", f"{number}", branch=at, at=number)).turn
                await end(store, turn.turn_id, f"{number}!", at=number)
                expected = [*expected[: below + 1], f"{number}", f"{number}!"]
            elif step == "again" and page and page[-1].turn_id == last_turn is not None:
                again = await accept(store, "s", None, regenerate=last_turn, at=number)
                await end(store, again.turn.turn_id, f"{number}!", at=number)
                own = [message.id for message in page].index(again.turn.user_message_id)
                expected = [*expected[: own + 1], f"{number}!"]
        now = await record(store, "s")
        assert now.message_count == len(expected)
        assert await is_whole(store)

    run(work)


async def is_whole(store: Store) -> bool:
    """Whether what is exported of the session refers to nothing that is missing."""

    def read(conn: sa.Connection) -> bool:
        rows = conn.execute(sa.select(messages_table)).all()
        seqs, ids = {row.seq for row in rows}, {row.id for row in rows}
        turns = conn.execute(sa.select(turns_table)).all()
        known = {turn.id for turn in turns}
        assert all(row.turn_id is None or row.turn_id in known for row in rows)
        assert all(row.parent_seq is None or row.parent_seq in seqs for row in rows)
        assert all(turn.user_seq in seqs and turn.user_message_id in ids for turn in turns)
        assert all(not turn.branch_seq or turn.branch_seq in seqs for turn in turns)
        return True

    return await store.read(read)
