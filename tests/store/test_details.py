"""What is shown of messages beside themselves: their alternatives and their turns."""

from typing import Any

import sqlalchemy as sa

from chatkeep.domain.model import Branch, Role, Status, TurnError
from chatkeep.store import details, messages, sessions
from chatkeep.store.database import Store
from chatkeep.store.search import index
from tests.store.conftest import accept, cancel, end, run


async def turn(store: Store, message: str | None = None, **more: Any) -> Any:
    accepted = await accept(store, "s", message, **more)
    await end(store, accepted.turn.turn_id, f"To {message}")
    return accepted.turn


async def branch(store: Store, limit: int | None = None) -> list[Any]:
    path = await store.read(messages.path, tenant="default", session_id="s", limit=limit)
    return await store.read(details.of_path, session_pk=path.session_pk, seqs=path.seqs[::-1])


def test_a_message_names_its_alternatives_oldest_first_also_at_the_beginning(
    store: Store,
) -> None:
    async def work() -> None:
        one = await turn(store, "one")
        again = await turn(store, regenerate=one.turn_id)
        two = await turn(store, "two")
        other = await turn(store, "other", branch=Branch(again.message_id))
        assert [message.siblings for message in await branch(store)] == [
            (one.user_message_id,),
            (one.message_id, again.message_id),
            (two.user_message_id, other.user_message_id),
            (other.message_id,),
        ]

        first = await turn(store, "another beginning", branch=Branch(None))
        root, reply = await branch(store)
        assert root.siblings == (one.user_message_id, first.user_message_id)
        assert reply.siblings == (first.message_id,)
        assert await branch(store, limit=1) == [reply]

    run(work)


def test_a_reply_has_the_turn_that_wrote_it_and_a_question_the_newest_that_answers_it(
    store: Store,
) -> None:
    async def work() -> None:
        one = await turn(store, "one")
        two = await turn(store, "two")
        assert await turns_of(store) == [one.turn_id] * 2 + [two.turn_id] * 2

        again = await turn(store, regenerate=two.turn_id)
        assert await turns_of(store) == [one.turn_id] * 2 + [again.turn_id] * 2

        failed = await accept(store, "s", regenerate=again.turn_id)
        question, reply = (await branch(store))[-2:]
        assert question.turn.status is Status.RUNNING
        await end(store, failed.turn.turn_id, "", Status.FAILED)
        question, reply = (await branch(store))[-2:]
        assert (question.turn_id, question.status) == (two.turn_id, Status.COMPLETED)
        assert (question.turn.turn_id, question.turn.status) == (failed.turn.turn_id, "failed")
        assert (reply.turn.turn_id, reply.turn.status) == (again.turn_id, "completed")

    run(work)


async def turns_of(store: Store) -> list[str | None]:
    return [message.turn and message.turn.turn_id for message in await branch(store)]


def test_a_turn_that_waits_to_answer_again_is_seen_at_its_question(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "one")
        await accept(store, "s", "two")
        again = await accept(store, "s", regenerate=one.turn_id)
        question = (await branch(store))[0]
        assert (question.turn.turn_id, question.turn.status) == (again.turn.turn_id, "queued")

        await cancel(store, again.turn.turn_id)
        question = (await branch(store))[0]
        assert question.turn.error == TurnError(
            "/problems/turn-cancelled", "The turn was cancelled.", "Stopped."
        )

    run(work)


def test_a_message_that_no_turn_brought_has_none(store: Store) -> None:
    async def work() -> None:
        one = await accept(store, "s", "one")
        await end(store, one.turn.turn_id)

        def imported(conn: sa.Connection) -> None:
            messages.insert(
                conn,
                tenant="default",
                session_pk=one.session_pk,
                seq=3,
                parent_seq=1,
                depth=2,
                message_id="msg_imported",
                role=Role.ASSISTANT,
                content="From elsewhere",
                status=Status.COMPLETED,
                turn_id=None,
                at=1,
                key=index.message_key(conn, 1),
            )

        await store.write(imported)
        (details_of_message,) = await store.read(
            details.of_path, session_pk=one.session_pk, seqs=[3]
        )
        assert details_of_message.turn is None
        assert details_of_message.siblings == (one.turn.message_id, "msg_imported")

    run(work)


def test_any_number_of_messages_costs_the_same_number_of_statements(store: Store) -> None:
    async def work() -> None:
        for number in range(20):
            await turn(store, f"q{number}")

        def count(conn: sa.Connection, seqs: range) -> int:
            seen: list[str] = []
            sa.event.listen(conn, "before_cursor_execute", lambda *args: seen.append(args[2]))
            assert len(details.of_path(conn, session_pk=1, seqs=seqs)) == len(seqs)
            return len(seen)

        assert [await store.read(count, range(1, last)) for last in (2, 41)] == [3, 3]

    run(work)


def test_a_session_names_the_turns_that_wait_in_their_order(store: Store) -> None:
    async def work() -> None:
        one = await turn(store, "one")
        running = await accept(store, "s", "two")
        waiting = [(await accept(store, "s", f"waiting {n}")).turn.turn_id for n in range(3)]
        waiting.append((await accept(store, "s", regenerate=one.turn_id)).turn.turn_id)
        before = await read(store)
        assert before.queued_turns == tuple(waiting)

        await cancel(store, waiting.pop(1))
        after = await read(store)
        assert after.queued_turns == tuple(waiting)
        assert after.revision != before.revision

        await end(store, running.turn.turn_id)
        started = await read(store)
        assert (started.running_turn, started.queued_turns) == (waiting[0], tuple(waiting[1:]))

    async def read(store: Store) -> Any:
        return await store.read(sessions.record, tenant="default", session_id="s")

    run(work)
