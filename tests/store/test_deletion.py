"""What is deleted, and what is not: a session that is used again does not expire."""

import orjson
import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import SessionNotFound
from chatkeep.domain.records import TurnLine
from chatkeep.store import deletion, exports, session_changes, sessions, tables
from chatkeep.store.database import Store
from chatkeep.store.tables import HIDDEN
from tests.store.conftest import accept, end, run


def test_a_session_that_is_used_again_does_not_expire(store: Store) -> None:
    async def work() -> None:
        first = await accept(store, "s", "long ago", at=10)
        await end(store, first.turn.turn_id, at=11)
        params = {"tenant": "default", "before": 100}
        assert await store.read(deletion.expired, limit=5, **params) == [("default", "s")]
        second = await accept(store, "s", "in this very moment", at=200)
        with pytest.raises(SessionNotFound):
            await store.write(deletion.soft_delete, session_id="s", actor="test", at=201, **params)
        await end(store, second.turn.turn_id, at=202)
        with pytest.raises(SessionNotFound):
            await store.write(deletion.soft_delete, session_id="s", actor="test", at=203, **params)
        assert (await store.read(sessions.record, tenant="default", session_id="s")).title

    run(work)


def test_of_a_deleted_session_no_waiting_message_stays(store: Store) -> None:
    async def work() -> None:
        await accept(store, "s", "running")
        await accept(store, "s", "a canary that waits")
        await store.write(
            deletion.soft_delete, tenant="default", session_id="s", actor="test", at=5
        )

        def inputs(conn: sa.Connection) -> list[object]:
            return list(conn.exec_driver_sql("SELECT input FROM turns").scalars())

        assert await store.read(inputs) == [None, None]

    run(work)


def test_in_the_row_of_a_purged_session_nothing_is_set(store: Store) -> None:
    async def work() -> None:
        await accept(store, "s", "a canary")
        changes: session_changes.SessionChanges = {
            "model": "openai:canary",
            "system_prompt": "canary",
            "context_messages": 3,
            "temperature": 0.5,
            "max_tokens": 7,
            "metadata": {"canary": 1},
            "title": "canary",
        }
        owner = {"tenant": "default", "session_id": "s", "at": 5}
        await store.write(
            session_changes.change, values=changes, expected=None, seen=lambda it: it, **owner
        )
        await store.write(deletion.soft_delete, actor="test", **owner)
        while await store.write(deletion.purge_rows, limit=10):
            pass

        def row(conn: sa.Connection) -> dict[str, object]:
            return dict(conn.execute(sa.select(tables.sessions)).mappings().one())

        purged = await store.read(row)
        assert "canary" not in str(purged)
        for column in tables.sessions.columns:
            assert not column.nullable or purged[column.name] is None, column.name

    run(work)


def test_the_turns_of_a_deleted_session_say_why_they_were_cancelled(store: Store) -> None:
    async def work() -> None:
        complete = await accept(store, "s", "complete")
        await end(store, complete.turn.turn_id)
        await accept(store, "s", "running")
        await accept(store, "s", "waiting")
        removed = await store.write(
            deletion.soft_delete, tenant="default", session_id="s", actor="test", at=5
        )
        exported = await store.read(exports.lines, tenant=HIDDEN, pk=removed.session_pk)

        assert exported is not None
        with exported:
            lines = [orjson.loads(line) for line in exported]
        turns = [line for line in lines if line["type"] == "turn"]
        assert [(turn["status"], turn["error_code"], turn["error_detail"]) for turn in turns] == [
            ("completed", None, None),
            ("cancelled", "turn-cancelled", "The session was deleted."),
            ("cancelled", "turn-cancelled", "The session was deleted."),
        ]
        # The message of the first is in the tree, so that it is a line of an export as it is.
        TurnLine.model_validate(turns[1])

    run(work)
