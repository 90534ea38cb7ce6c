"""The tree of a session: branches, replies that are tried again, siblings, heads, receipts."""

import random
from typing import Any

import pytest

from chatkeep.domain.errors import (
    MessageNotFound,
    SessionBusy,
    SessionNotFound,
    TurnNotFound,
    TurnNotStarted,
)
from chatkeep.domain.model import Branch, Status, TurnOptions
from chatkeep.store import messages, session_changes, sessions, turn_creation, turn_records
from chatkeep.store.database import Store
from chatkeep.store.search import active_runs
from tests.store.conftest import RUNNER, accept, cancel, end, run


async def turn(store: Store, session_id: str, message: str | None = None, **more: Any) -> Any:
    """A whole turn; its reply is its message in capitals."""
    accepted = await accept(store, session_id, message, **more)
    assert accepted.started is not None
    await end(store, accepted.turn.turn_id, accepted.started.messages[-1].text.upper())
    return accepted


async def contents(store: Store, session_id: str) -> list[str]:
    path = await store.read(messages.path, tenant="default", session_id=session_id, limit=None)
    rows = await store.read(messages.of_path, session_pk=path.session_pk, seqs=path.seqs[::-1])
    return [message.content for message in rows]


async def choose(store: Store, session_id: str, message_id: str) -> Any:
    return await store.write(
        session_changes.change,
        tenant="default",
        session_id=session_id,
        values={"head": message_id},
        expected=None,
        seen=lambda record: record,
        at=9,
    )


async def read_by(accepted: turn_creation.CreatedTurn) -> list[str]:
    assert accepted.started is not None
    return [message.text for message in accepted.started.context]


def test_a_branch_continues_from_its_parent_and_becomes_the_active_one(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        await turn(store, "s", "two")
        branch = await turn(store, "s", "other", branch=Branch(one.turn.message_id))

        assert await read_by(branch) == ["one", "ONE"]
        assert await contents(store, "s") == ["one", "ONE", "other", "OTHER"]
        after = await turn(store, "s", "more")
        assert await read_by(after) == ["one", "ONE", "other", "OTHER"]
        page = await store.read(sessions.page, tenant="default", limit=5, after=None)
        (listed,) = page.items
        assert listed.message_count == 6

    run(work)


def test_a_branch_at_the_very_beginning_reads_nothing(store: Store) -> None:
    async def work() -> None:
        await turn(store, "s", "one")
        again = await turn(store, "s", "once more", branch=Branch(None))
        assert await read_by(again) == []
        assert await contents(store, "s") == ["once more", "ONCE MORE"]

    run(work)


def test_a_parent_or_a_turn_of_another_session_is_not_found(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        await turn(store, "t", "elsewhere")
        for session_id in ("t", "new"):
            with pytest.raises(MessageNotFound):
                await accept(store, session_id, "x", branch=Branch(one.turn.message_id))
            with pytest.raises(TurnNotFound):
                await accept(store, session_id, regenerate=one.turn.turn_id)
        page = await store.read(sessions.page, tenant="default", limit=5, after=None)
        assert {session.session_id for session in page.items} == {"s", "t"}

    run(work)


def test_a_reply_that_is_tried_again_is_a_sibling_and_the_new_head(store: Store) -> None:
    async def work() -> None:
        await turn(store, "s", "zero")
        one = await turn(store, "s", "one", options=TurnOptions(system_prompt="Shout."))
        await turn(store, "s", "two")
        again = await accept(store, "s", regenerate=one.turn.turn_id)

        assert await read_by(again) == ["zero", "ZERO"]
        assert again.started is not None
        assert again.started.messages[-1].text == "one"
        assert again.started.system_prompt == "Shout."
        assert again.turn.user_message_id == one.turn.user_message_id
        assert await contents(store, "s") == ["zero", "ZERO", "one", "ONE", "two", "TWO"]
        await end(store, again.turn.turn_id, "One!")
        assert await contents(store, "s") == ["zero", "ZERO", "one", "One!"]

        for reply in (one.turn.message_id, again.turn.message_id):
            siblings = await store.read(messages.siblings, tenant="default", message_id=reply)
            assert [message.content for message in siblings] == ["ONE", "One!"]

    run(work)


def test_a_reply_that_is_tried_again_in_vain_takes_nothing_from_the_first(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        again = await accept(store, "s", regenerate=one.turn.turn_id)
        await end(store, again.turn.turn_id, "", Status.FAILED)
        assert await contents(store, "s") == ["one", "ONE"]
        row = await store.read(turn_records.find, tenant="default", turn_id=one.turn.turn_id)
        assert {message.status for message in row.record.messages} == {Status.COMPLETED}

        third = await turn(store, "s", regenerate=again.turn.turn_id)
        assert third.turn.user_message_id == one.turn.user_message_id

    run(work)


def test_a_failed_turn_that_is_tried_again_is_read_by_the_next(store: Store) -> None:
    async def work() -> None:
        failed = await accept(store, "s", "one")
        await end(store, failed.turn.turn_id, "", Status.FAILED)
        skipped = await turn(store, "s", "two")
        assert await read_by(skipped) == []

        await turn(store, "s", regenerate=failed.turn.turn_id)
        assert await contents(store, "s") == ["one", "ONE"]
        assert await read_by(await turn(store, "s", "three")) == ["one", "ONE"]

        # The receipt is of what the turn read then, although there is a reply since.
        receipt = await store.read(
            turn_records.receipt, tenant="default", turn_id=skipped.turn.turn_id
        )
        assert [message.content for message in receipt.messages] == ["two"]
        assert receipt.left_out[0].rule == "no_reply"
        assert receipt.left_out[0].message_ids == (failed.turn.user_message_id,)

    run(work)


def test_a_turn_that_waits_stays_on_the_branch_that_it_named(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        running = await accept(store, "s", "two")
        branch = await accept(store, "s", "other", branch=Branch(one.turn.message_id))
        again = await accept(store, "s", regenerate=one.turn.turn_id)
        assert branch.started is None
        assert again.started is None

        first = await end(store, running.turn.turn_id, "TWO")
        assert first is not None
        assert first.following is not None
        assert [message.text for message in first.following.context] == ["one", "ONE"]
        second = await end(store, branch.turn.turn_id, "OTHER")
        assert second is not None
        assert second.following is not None
        assert second.following.messages[-1].text == "one"
        await end(store, again.turn.turn_id, "One!")
        assert await contents(store, "s") == ["one", "One!"]

    run(work)


def test_the_message_of_a_turn_that_is_cancelled_while_it_waits_stays_in_its_order(
    store: Store,
) -> None:
    async def work() -> None:
        running = await accept(store, "s", "one")
        waiting = [await accept(store, "s", f"waiting {n}") for n in range(4)]
        for number in (0, 1, 3):
            assert await cancel(store, waiting[number].turn.turn_id) is Status.QUEUED
        row = await store.read(turn_records.find, tenant="default", turn_id=waiting[0].turn.turn_id)
        assert [message.content for message in row.record.messages] == ["waiting 0"]

        ended = await end(store, running.turn.turn_id, "ONE")
        assert ended is not None
        assert ended.following is not None
        assert ended.following.messages[-1].text == "waiting 2"
        assert [message.text for message in ended.following.context] == ["one", "ONE"]
        assert await end(store, waiting[2].turn.turn_id, "answer") is not None
        assert await contents(store, "s") == [
            *("one", "ONE", "waiting 0", "waiting 1", "waiting 2", "answer", "waiting 3")
        ]
        assert await cancel(store, waiting[0].turn.turn_id) is Status.CANCELLED
        after = await accept(store, "s", "after")
        assert after.started is not None

    run(work)


def test_a_cancelled_try_again_that_waited_can_be_tried_again(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        running = await accept(store, "s", "two")
        again = await accept(store, "s", regenerate=one.turn.turn_id)
        await cancel(store, again.turn.turn_id)
        await end(store, running.turn.turn_id)
        third = await turn(store, "s", regenerate=again.turn.turn_id)
        assert third.started.messages[-1].text == "one"

    run(work)


def test_choosing_a_branch_leads_to_its_newest_message(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        two = await turn(store, "s", "two")
        await turn(store, "s", "three")
        await turn(store, "s", "other", branch=Branch(one.turn.message_id))

        chosen = await choose(store, "s", two.turn.user_message_id)
        assert chosen.message_count == 6
        assert await contents(store, "s") == ["one", "ONE", "two", "TWO", "three", "THREE"]
        assert await read_by(await turn(store, "s", "on")) == [
            "ONE",
            "two",
            "TWO",
            "three",
            "THREE",
        ]
        for session_id, error in (("s", MessageNotFound), ("none", SessionNotFound)):
            with pytest.raises(error):
                await choose(store, session_id, "msg_none")
        await accept(store, "s", "running")
        with pytest.raises(SessionBusy):
            await choose(store, "s", two.turn.message_id)

    run(work)


def test_a_receipt_names_what_was_read_and_what_was_not(store: Store) -> None:
    async def work() -> None:
        for number in range(60):
            await turn(store, "s", f"q{number}")
        failed = await accept(store, "s", "failed")
        await end(store, failed.turn.turn_id, "", Status.FAILED)
        last = await accept(store, "s", "last")
        receipt = await store.read(
            turn_records.receipt, tenant="default", turn_id=last.turn.turn_id
        )

        assert [m.content for m in receipt.messages[:-1]] == await read_by(last)
        assert receipt.messages[-1].content == "last"
        assert receipt.system_prompt == RUNNER.system_prompts.default
        unanswered, older = receipt.left_out
        assert unanswered.message_ids == (failed.turn.user_message_id,)
        assert (older.rule, older.count, len(older.message_ids)) == ("context_messages", 115, 100)
        path = await store.read(messages.path, tenant="default", session_id="s", limit=None)
        whole = await store.read(messages.of_path, session_pk=path.session_pk, seqs=path.seqs)
        ids = [message.id for message in whole]
        assert list(older.message_ids) == ids[7:107]

        waiting = await accept(store, "s", "waiting")
        with pytest.raises(TurnNotStarted):
            await store.read(turn_records.receipt, tenant="default", turn_id=waiting.turn.turn_id)
        with pytest.raises(TurnNotFound):
            await store.read(turn_records.receipt, tenant="other", turn_id=last.turn.turn_id)

    run(work)


def test_another_tenants_tree_is_unknown(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "s", "one")
        with pytest.raises(TurnNotFound):
            await store.read(turn_records.find, tenant="other", turn_id=one.turn.turn_id)
        with pytest.raises(MessageNotFound):
            await store.read(messages.siblings, tenant="other", message_id=one.turn.message_id)

    run(work)


def test_the_runs_of_the_active_branch_are_its_path(store: Store) -> None:
    """In trees that grow at random messages, and whichever branch is chosen."""
    chance = random.Random(5)

    async def work() -> None:
        ids: list[str | None] = [None]
        for number in range(40):
            more = {"branch": Branch(chance.choice(ids))} if chance.random() < 0.4 else {}
            one = await turn(store, "s", f"message {number}", **more)
            if chance.random() < 0.3:
                await turn(store, "s", regenerate=one.turn.turn_id)
            ids += [one.turn.user_message_id, one.turn.message_id]
            await choose(store, "s", str(chance.choice(ids[1:])))

            path = await store.read(messages.path, tenant="default", session_id="s", limit=None)
            keys = [path.session_pk]
            runs = await store.read(active_runs.active_runs, session_pks=keys)
            listed = [seq for run in runs[path.session_pk] for seq in reversed(run)]
            assert tuple(listed) == path.seqs

    run(work)


def test_a_message_that_is_answered_again_with_other_tools_offers_those(store: Store) -> None:
    async def work() -> None:
        first = await turn(store, "s", "one", tools='[{"name": "a"}]')
        again = await turn(store, "s", regenerate=first.turn.turn_id)
        other = await turn(store, "s", regenerate=first.turn.turn_id, tools='[{"name": "b"}]')
        assert again.started.tools == '[{"name": "a"}]'
        assert other.started.tools == '[{"name": "b"}]'

    run(work)


def test_a_message_may_be_answered_again_without_anything_of_the_turn_before(store: Store) -> None:
    async def work() -> None:
        hot = TurnOptions(model="openai:other", temperature=1.5)
        first = await turn(store, "s", "one", tools='[{"name": "a"}]', options=hot)
        bare = await turn(store, "s", regenerate=first.turn.turn_id, inherits_options=False)
        assert (bare.turn.model, bare.turn.options) == (RUNNER.model, TurnOptions())
        assert bare.started.tools is None
        assert bare.turn.user_message_id == first.turn.user_message_id

    run(work)
