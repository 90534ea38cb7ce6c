"""Who is alive, as others see it, and whose turns are taken over."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import StoreUnavailable
from chatkeep.domain.model import Status, SystemPrompts
from chatkeep.leases import LOOKS, Gone, LeaseKeeper
from chatkeep.store import leases, turns
from chatkeep.store.database import Store
from chatkeep.store.turns import ExhaustedTurn, StartedTurn
from tests.store.conftest import RUNNER, accept, cancel, end, run

OTHER = turns.RunnerConfig("other", "openai:any", SystemPrompts("Be kind."), 5)


def keeper(store: Store) -> LeaseKeeper:
    return LeaseKeeper(store, BackgroundTasks(), seconds=3_600)


async def claimed(store: Store, owner: str) -> None:
    await store.write(leases.claim, owner=owner, is_alone=False)


async def owners(store: Store) -> list[str]:
    return sorted(lease.owner for lease in await store.read(leases.others, owner=""))


async def take(store: Store, orphan: leases.Orphan, runner: turns.RunnerConfig = OTHER) -> Any:
    return await store.write(turns.take_over, orphan=orphan, runner=runner, max_attempts=2)


def test_a_lease_that_stands_still_is_ended_after_so_many_looks_in_a_row(store: Store) -> None:
    async def work() -> None:
        for owner in ("dead", "living"):
            await claimed(store, owner)
        watcher = keeper(store)
        for _ in range(LOOKS):
            assert not (await watcher.look()).is_any
            await store.write(leases.beat, owner="living")
        assert await owners(store) == ["dead", "living"]
        other = keeper(store)
        await other.look()
        assert await watcher.look() == Gone(is_any=True, is_ended_here=True)
        assert await owners(store) == ["living"]
        # Whoever did not end it sees that it is gone too.
        assert await other.look() == Gone(is_any=True, is_ended_here=False)
        assert not (await watcher.look()).is_any

    run(work)


def test_a_look_that_failed_says_nothing_of_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database was away, nobody could renew a lease."""

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable

    async def work() -> None:
        await claimed(store, "other")
        watcher = keeper(store)
        for _ in range(3):
            for _ in range(LOOKS):
                await watcher.look()
            with monkeypatch.context() as broken:
                broken.setattr(store, "renew", fail)
                with pytest.raises(StoreUnavailable):
                    await watcher.look()
        assert await owners(store) == ["other"]

    run(work)


def test_a_lease_that_was_renewed_since_it_was_seen_is_not_ended(store: Store) -> None:
    async def work() -> None:
        await claimed(store, "other")
        (seen,) = await store.read(leases.others, owner="me")
        await store.write(leases.beat, owner="other")
        assert not await store.write(leases.end, lease=seen)
        (now,) = await store.read(leases.others, owner="me")
        assert now.beat == seen.beat + 1
        assert await store.write(leases.end, lease=now)
        assert not await store.write(leases.end, lease=now)

    run(work)


def test_a_process_whose_lease_was_ended_gets_a_new_one(store: Store) -> None:
    async def work() -> None:
        mine = keeper(store)
        before = mine.owner
        await mine.renew()
        assert mine.owner != before
        assert await owners(store) == [mine.owner]

    run(work)


def test_of_several_processes_one_takes_a_turn_over_and_the_dead_one_ends_it_no_more(
    store: Store,
) -> None:
    async def work() -> None:
        await claimed(store, "test")
        turn = (await accept(store, "s", "one")).turn
        await accept(store, "s", "two")
        assert await store.read(leases.orphans, limit=10) == []

        await store.write(leases.release, owner="test")
        (orphan,) = await store.read(leases.orphans, limit=10)
        others = [OTHER, turns.RunnerConfig("third", "openai:any", SystemPrompts(""), 5)]
        taken = await asyncio.gather(*(take(store, orphan, other) for other in others))
        (started,) = [each for each in taken if each is not None]
        assert isinstance(started, StartedTurn)
        assert (started.turn.turn_id, started.turn.attempt) == (turn.turn_id, 2)
        assert await end(store, turn.turn_id, "too late") is None

    run(work)


def test_a_turn_that_was_stopped_or_tried_too_often_is_taken_over_only_to_be_ended(
    store: Store,
) -> None:
    async def work() -> None:
        for name in ("stopped", "worn out"):
            await accept(store, name, "one")
        orphans = {
            orphan.session_pk: orphan for orphan in await store.read(leases.orphans, limit=9)
        }
        first, second = sorted(orphans)
        assert await cancel(store, orphans[first].id) is Status.RUNNING
        taken = await take(store, orphans[first])
        assert isinstance(taken, ExhaustedTurn)
        assert taken.stop is not None

        assert isinstance(await take(store, orphans[second]), StartedTurn)
        (again,) = [
            one for one in await store.read(leases.orphans, limit=9) if one.session_pk == second
        ]
        assert again.attempt == 2
        taken = await take(store, again, RUNNER)
        assert isinstance(taken, ExhaustedTurn)
        assert (taken.turn.attempt, taken.stop) == (2, None)

    run(work)


def test_what_waits_where_nothing_runs_is_started_once(store: Store) -> None:
    async def work() -> None:
        first = (await accept(store, "s", "one")).turn
        second = (await accept(store, "s", "two")).turn
        outcome = turns.TurnEnd(Status.COMPLETED, "One.", turns.Completion())
        leaving = turns.RunnerConfig("test", "m", SystemPrompts(""), 5, starts_next=False)
        ended = await store.write(
            turns.finish_turn,
            turn_id=first.turn_id,
            owner="test",
            attempt=1,
            outcome=outcome,
            runner=leaving,
            at=2,
        )
        assert ended is not None
        assert ended.following is None
        (stalled,) = await store.read(leases.stalled, limit=9)
        started = await asyncio.gather(
            *(
                store.write(turns.start_stalled, session_pk=stalled.session_pk, runner=each, at=3)
                for each in (RUNNER, OTHER)
            )
        )
        (one,) = [each for each in started if each is not None]
        assert one.turn.turn_id == second.turn_id
        assert await store.read(leases.stalled, limit=9) == []

    run(work)


def test_who_holds_the_database_alone_ends_all_other_leases(store: Store) -> None:
    async def work() -> None:
        await claimed(store, "earlier")
        await store.write(leases.claim, owner="me", is_alone=True)
        assert await owners(store) == ["me"]

    run(work)


def test_the_eldest_is_the_one_that_began_first(store: Store) -> None:
    async def work() -> None:
        for owner in ("b", "a"):
            await claimed(store, owner)
        seen = [await store.read(leases.is_eldest, owner=owner) for owner in ("a", "b")]
        assert seen == [True, False]

    run(work)


def test_the_rows_of_leases_say_who_is_alive(store: Store) -> None:
    def alive(conn: sa.Connection, owner: str) -> bool:
        return leases.is_alive(conn, owner=owner)

    async def work() -> None:
        await claimed(store, "a")
        assert await store.read(alive, "a")
        assert not await store.read(alive, "b")

    run(work)
