"""Requests that come twice, by whatever clock; and the turns of a process that has died."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from chatkeep.domain.errors import IdempotencyKeyReused, SessionNotFound
from chatkeep.domain.model import TurnRequest
from chatkeep.store import deletion, turn_creation
from chatkeep.store.database import Store
from chatkeep.store.idempotency import KEY_MICROSECONDS, REPEAT_MICROSECONDS, DuplicateRequest
from chatkeep.store.tables import deleted_requests
from tests.store.conftest import accept, end, open_store, post, run
from tests.turn_requests import turn_request

NOW = 1_700_000_000_000_000


def keyed(key: str, message: str = "hello", session_id: str = "s") -> TurnRequest:
    return turn_request(session_id, message.encode(), message, idempotency_key=key)


def repeat(message: str, session_id: str = "s") -> TurnRequest:
    return turn_request(session_id, message.encode(), message, is_client_retry=True)


def test_a_key_stands_for_its_turn_for_a_day(store: Store) -> None:
    async def work() -> None:
        first = await post(store, keyed("k"), at=NOW)
        assert isinstance(first, turn_creation.CreatedTurn)
        last = NOW + KEY_MICROSECONDS - 1
        assert await post(store, keyed("k"), at=last) == DuplicateRequest(first.turn.turn_id)
        with pytest.raises(IdempotencyKeyReused):
            await post(store, keyed("k", "other"), at=last)
        with pytest.raises(IdempotencyKeyReused):
            await post(store, turn_request("t", b"t", "hello", idempotency_key="k"), at=last)

        later = await post(store, keyed("k", "other"), at=NOW + KEY_MICROSECONDS)
        assert isinstance(later, turn_creation.CreatedTurn)
        assert await post(
            store, keyed("k", "other"), at=NOW + KEY_MICROSECONDS
        ) == DuplicateRequest(later.turn.turn_id)

    run(work)


def test_a_clock_that_stands_still_or_jumps_back_doubles_nothing(store: Store) -> None:
    async def work() -> None:
        first = await post(store, keyed("k"), at=NOW)
        assert isinstance(first, turn_creation.CreatedTurn)
        for at in (NOW, NOW - 5, 1):
            assert await post(store, keyed("k"), at=at) == DuplicateRequest(first.turn.turn_id)
            assert await post(store, repeat("hello"), at=at) == DuplicateRequest(first.turn.turn_id)

    run(work)


def test_a_key_of_a_deleted_session_makes_none_for_a_day(store: Store) -> None:
    async def work() -> None:
        first = await post(store, keyed("k"), at=NOW)
        await end(store, first.turn.turn_id, at=NOW)
        session = {"tenant": "default", "session_id": "s"}
        await store.write(deletion.soft_delete, **session, actor="test", at=NOW + 5)
        for swept in (False, True):
            if swept:
                while await store.write(deletion.purge_rows, limit=10):
                    pass
                await store.write(deletion.finish_purge)
            with pytest.raises(SessionNotFound):
                await post(store, keyed("k"), at=NOW + 6)
        # Another request is another matter.
        other = await post(store, keyed("k", "other"), at=NOW + 7)
        assert isinstance(other, turn_creation.CreatedTurn)
        await end(store, other.turn.turn_id, at=NOW + 8)
        await store.write(deletion.soft_delete, **session, actor="test", at=NOW + 9)

        later = NOW + 10 + KEY_MICROSECONDS
        again = await post(store, keyed("k"), at=later)
        assert isinstance(again, turn_creation.CreatedTurn)
        await end(store, again.turn.turn_id, at=later)
        await store.write(deletion.soft_delete, **session, actor="test", at=later)

        def notes(conn: sa.Connection) -> list[int]:
            return list(conn.scalars(sa.select(deleted_requests.c.created_at)))

        assert await store.read(notes) == [later]

    run(work)


def test_a_marked_repeat_joins_the_newest_turn_with_the_same_body_for_a_minute(
    store: Store,
) -> None:
    async def work() -> None:
        old = await accept(store, "s", "hello", at=NOW)
        await end(store, old.turn.turn_id, at=NOW)
        request = turn_request("s", b"hello {}", "hello", is_client_retry=True)
        second = await accept(store, "s", "hello", at=NOW + 5)
        await accept(store, "s", "another", at=NOW + 6)
        joined = DuplicateRequest(second.turn.turn_id)
        assert await post(store, request, at=NOW + 7) == joined
        # It still runs: whoever repeats it must mean it, however late.
        assert await post(store, request, at=NOW + 9 * REPEAT_MICROSECONDS) == joined
        await end(store, second.turn.turn_id, at=NOW + 8)
        assert await post(store, request, at=NOW + REPEAT_MICROSECONDS) == joined

        late = await post(store, request, at=NOW + 5 + REPEAT_MICROSECONDS)
        assert isinstance(late, turn_creation.CreatedTurn)
        elsewhere = await post(store, repeat("hello", "t"), at=NOW + 8)
        assert isinstance(elsewhere, turn_creation.CreatedTurn)

    run(work)


def test_a_key_survives_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chatkeep.db"
    store = open_store(url)
    first = run(lambda: post(store, keyed("k"), at=NOW))
    store.close()
    store = open_store(url)
    assert run(lambda: post(store, keyed("k"), at=NOW)) == DuplicateRequest(first.turn.turn_id)
    store.close()
