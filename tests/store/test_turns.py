"""Turns in the database: their order, their context, their ends."""

import asyncio

import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import QueueFull
from chatkeep.domain.model import MessageContent, Role, Status, TitleSource, TurnOptions
from chatkeep.domain.records import SessionLine
from chatkeep.store import (
    imports,
    leases,
    messages,
    session_changes,
    sessions,
    turn_creation,
    turns,
)
from chatkeep.store.database import Store
from chatkeep.store.tables import sessions as sessions_table
from chatkeep.store.tables import tenants
from chatkeep.store.tables import turns as turns_table
from tests.store.conftest import RUNNER, accept, end, post, run
from tests.turn_requests import turn_request


def texts(context: tuple[MessageContent, ...]) -> tuple[tuple[Role, str], ...]:
    return tuple((message.role, message.text) for message in context)


def test_a_second_question_waits_for_the_first_and_then_reads_its_answer(store: Store) -> None:
    async def work() -> None:
        first = await accept(store, "s", "one")
        second = await accept(store, "s", "two")
        other = await accept(store, "t", "elsewhere")
        assert first.started is not None
        assert other.started is not None
        assert second.started is None

        ended = await end(store, first.turn.turn_id, "first answer")

        assert ended is not None
        assert ended.following is not None
        assert ended.following.turn.turn_id == second.turn.turn_id
        assert texts(ended.following.context) == (
            (Role.USER, "one"),
            (Role.ASSISTANT, "first answer"),
        )
        assert ended.following.messages[-1].text == "two"

    run(work)


def test_a_turn_ends_once(store: Store) -> None:
    async def work() -> None:
        accepted = await accept(store, "s", "one")
        assert await end(store, accepted.turn.turn_id) is not None
        assert await end(store, accepted.turn.turn_id, "again") is None

        path = await store.read(messages.path, tenant="default", session_id="s", limit=None)
        assert len(path.seqs) == 2

    run(work)


def test_two_running_turns_of_one_session_are_impossible(store: Store) -> None:
    async def work() -> None:
        await accept(store, "s", "one")
        second = await accept(store, "s", "two")

        def begin_twice(conn: sa.Connection) -> None:
            conn.execute(
                turns_table.update()
                .where(turns_table.c.id == second.turn.turn_id)
                .values(status="running", input=None)
            )

        with pytest.raises(Exception, match="database cannot be used"):
            await store.write(begin_twice)

    run(work)


def test_a_queue_is_bounded(store: Store) -> None:
    async def work() -> None:
        for number in range(3):
            await accept(store, "s", f"{number}", max_queued=2)
        with pytest.raises(QueueFull) as refused:
            await accept(store, "s", "too many", max_queued=2)
        assert refused.value.retry_after == 5
        await accept(store, "t", "elsewhere", max_queued=2)

    run(work)


def test_times_never_go_backwards_within_a_session(store: Store) -> None:
    async def work() -> None:
        for at in (100, 50, 70, 20):
            accepted = await accept(store, "s", f"at {at}", at=at)
            await end(store, accepted.turn.turn_id, at=at - 30)
        path = await store.read(messages.path, tenant="default", session_id="s", limit=None)
        listed = await store.read(
            messages.of_path, session_pk=path.session_pk, seqs=path.seqs[::-1]
        )
        times = [message.created_at for message in listed]
        assert times == sorted(times)
        assert len(times) == 8

    run(work)


def test_many_unanswered_messages_hide_no_answered_one(store: Store) -> None:
    async def work() -> None:
        answered = await accept(store, "s", "answered")
        await end(store, answered.turn.turn_id, "an answer")
        for number in range(50):
            failed = await accept(store, "s", f"failed {number}")
            await end(store, failed.turn.turn_id, "", Status.FAILED)
        last = await accept(store, "s", "last")
        assert last.started is not None
        assert texts(last.started.context) == (
            (Role.USER, "answered"),
            (Role.ASSISTANT, "an answer"),
        )

    run(work)


def test_a_session_may_have_a_context_of_its_own_size(store: Store) -> None:
    async def work() -> None:
        for size in (5, 2, 0):
            accepted = await accept(store, "s", f"until now {size}")
            await end(store, accepted.turn.turn_id, f"answer {size}")

            def resize(conn: sa.Connection, size: int = size) -> None:
                conn.execute(sessions_table.update().values(context_messages=size))

            await store.write(resize)
            last = await accept(store, "s", "how many?")
            assert last.started is not None
            assert len(last.started.context) <= size
            assert texts(last.started.context)[-1:] == ((Role.ASSISTANT, f"answer {size}"),)[:size]
            await end(store, last.turn.turn_id, "so many")

    run(work)


def test_the_turns_system_prompt_wins_over_the_sessions_and_that_over_the_default(
    store: Store,
) -> None:
    async def work() -> None:
        async def prompt(turn: str | None) -> str | None:
            options = TurnOptions(system_prompt=turn)
            accepted = await accept(store, "s", "hello", options=options)
            await end(store, accepted.turn.turn_id)
            assert accepted.started is not None
            return accepted.started.system_prompt

        assert await prompt(None) == "Be kind."
        assert await prompt("turn") == "turn"
        assert await prompt("") is None

        def set_prompt(conn: sa.Connection) -> None:
            conn.execute(sessions_table.update().values(system_prompt="session"))

        await store.write(set_prompt)
        assert await prompt(None) == "session"
        assert await prompt("turn") == "turn"

    run(work)


def test_the_turns_of_a_dead_process_restart_with_the_same_context(
    store: Store,
) -> None:
    async def work() -> None:
        first = await accept(store, "s", "one")
        await end(store, first.turn.turn_id)
        running = await accept(store, "s", "two")
        waiting = await accept(store, "s", "three")
        (orphan,) = await store.read(leases.orphans, limit=10)
        assert (orphan.id, orphan.attempt) == (running.turn.turn_id, 1)
        # What waits for it is nobody's to start.
        assert await store.read(leases.stalled, limit=10) == []
        assert waiting.started is None

        again = await store.write(turns.take_over, orphan=orphan, runner=RUNNER, max_attempts=3)

        assert running.started is not None
        assert again.turn.attempt == 2
        assert (again.context, again.messages) == (
            running.started.context,
            running.started.messages,
        )
        assert (
            await store.write(turns.take_over, orphan=orphan, runner=RUNNER, max_attempts=3) is None
        )

    run(work)


def test_another_tenant_sees_nothing(store: Store) -> None:
    async def work() -> None:
        await accept(store, "s", "one")
        assert await store.read(sessions.keys, tenant="other") == []
        with pytest.raises(Exception, match="no such session"):
            await store.read(messages.path, tenant="other", session_id="s", limit=None)

    run(work)


def test_a_write_that_fails_harms_none_that_shares_its_commit(store: Store) -> None:
    def fail(_conn: sa.Connection) -> None:
        raise ZeroDivisionError

    async def work() -> None:
        writes = [accept(store, f"s{n}", "hello") for n in range(20)]
        failing = [store.write(fail) for _ in range(5)]
        results = await asyncio.gather(*writes, *failing, return_exceptions=True)

        assert sum(isinstance(result, turn_creation.CreatedTurn) for result in results) == 20
        assert sum(isinstance(result, ZeroDivisionError) for result in results) == 5
        assert len(await store.read(sessions.keys, tenant="default")) == 20

    run(work)


def test_pages_of_sessions_follow_each_other_while_sessions_are_added(store: Store) -> None:
    async def work() -> None:
        for number in range(25):
            await accept(store, f"s{number:02}", "hello", at=1_000 + number // 2)
        seen: list[str] = []
        after = None
        while True:
            page = await store.read(sessions.page, tenant="default", limit=4, after=after)
            seen += [session.session_id for session in page.items]
            after = page.next_cursor
            await accept(store, f"new {len(seen)}", "hello", at=9_999)
            if after is None:
                break
        assert len(seen) == len(set(seen)) == 25
        assert seen[0] == "s24"

    run(work)


def test_sessions_without_a_models_title_are_listed_for_every_tenant(store: Store) -> None:
    async def work() -> None:
        await store.write(
            lambda conn: conn.execute(tenants.insert().values(id="acme", created_at=1))
        )
        await accept(store, "s", "ours")
        await post(store, turn_request("s", b"", "theirs"), tenant="acme")

        owed = await store.read(session_changes.untitled, limit=10)

        assert [(session.tenant, session.first_message) for session in owed] == [
            ("acme", "theirs"),
            ("default", "ours"),
        ]

    run(work)


def test_a_session_that_was_imported_without_turns_goes_on(store: Store) -> None:
    """As conversations of other products are, which have messages only."""
    line = SessionLine(
        session_id="s",
        title="From elsewhere",
        title_source=TitleSource.USER,
        created_at="2026-01-01T00:00:00.000000Z",
        updated_at="2026-01-01T00:00:00.000000Z",
        pinned=False,
        archived=False,
        model=None,
        system_prompt=None,
        context_messages=None,
        metadata={},
        head_seq=None,
    )

    async def work() -> None:
        pk = await store.write(imports.begin, tenant="default", line=line, owner="test")
        await store.write(imports.finish, tenant="default", pk=pk, line=line)
        created = await accept(store, "s", "and on it goes", at=2)
        assert created.turn.status is Status.RUNNING
        assert await end(store, created.turn.turn_id) is not None

    run(work)
