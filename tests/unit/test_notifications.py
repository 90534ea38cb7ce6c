"""Notifications: each tenant's own, from a position, and honest about what was dropped."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from chatkeep.domain.events import Event, EventsMissed, EventType, SessionDeleted
from chatkeep.notifications import Notifications


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def publish(notifications: Notifications, *session_ids: str, tenant: str = "a") -> None:
    for session_id in session_ids:
        notifications.publish(tenant, EventType.SESSION_DELETED, SessionDeleted(session_id))


async def read(notifications: Notifications, after: str | None, tenant: str = "a") -> list[Event]:
    """The events up to the newest; the notifications are closed by then."""
    events = notifications.read(tenant, after, idle_seconds=60)
    return [event async for event in events if isinstance(event, Event)]


def test_a_reader_gets_what_follows_its_position_and_nothing_of_other_tenants() -> None:
    async def work() -> None:
        notifications = Notifications(capacity=10)
        reading = asyncio.ensure_future(read(notifications, None))
        await asyncio.sleep(0)
        publish(notifications, "one", "two")
        publish(notifications, "secret", tenant="b")
        await notifications.close()
        events = await reading
        assert [event.payload for event in events] == [SessionDeleted("one"), SessionDeleted("two")]
        assert await read(notifications, events[0].id) == events[1:]

    run(work())


def test_a_reader_whose_position_was_dropped_is_told_so_and_goes_on_from_now() -> None:
    async def work() -> None:
        notifications = Notifications(capacity=3)
        publish(notifications, *"abc")
        run_id = notifications._run_id
        await notifications.close()
        # The first of what is there is the very next event: nothing is missing.
        assert len(await read(notifications, f"{run_id}-0")) == 3
        publish(notifications, "d")
        [missed] = await read(notifications, f"{run_id}-0")
        assert missed.type is EventType.EVENTS_MISSED
        assert isinstance(missed.payload, EventsMissed)
        assert await read(notifications, missed.id) == []
        assert len(await read(notifications, f"{run_id}-1")) == 3

    run(work())


def test_a_position_of_another_run_of_the_server_is_not_there() -> None:
    async def work() -> None:
        notifications = Notifications(capacity=3)
        publish(notifications, "a")
        await notifications.close()
        for after in ("0123456789ab-1", "nonsense", f"{notifications._run_id}-2"):
            assert [e.type for e in await read(notifications, after)] == [EventType.EVENTS_MISSED]

    run(work())


def test_a_silent_feed_keeps_its_connection_alive() -> None:
    async def work() -> None:
        notifications = Notifications(capacity=3)
        events = notifications.read("a", None, idle_seconds=0.001)
        assert [await anext(events) for _ in range(3)] == ["", "", ""]
        publish(notifications, "a")
        assert isinstance(await anext(events), Event)
        await events.aclose()

    run(work())


def test_events_of_an_erased_tenant_are_gone_for_whoever_has_its_name_next() -> None:
    async def work() -> None:
        notifications = Notifications(capacity=10)
        run_id = notifications._run_id
        publish(notifications, "one", "two", tenant="acme")
        publish(notifications, "one", tenant="acme/alice")
        publish(notifications, "one", tenant="acmes")
        notifications.forget("acme")
        publish(notifications, "three", tenant="acme")
        await notifications.close()

        for tenant in ("acme", "acme/alice"):
            [missed] = await read(notifications, f"{run_id}-0", tenant=tenant)
            assert missed.type is EventType.EVENTS_MISSED
        [event] = await read(notifications, f"{run_id}-2", tenant="acme")
        assert event.payload == SessionDeleted("three")
        # Each tenant's events are counted by themselves: nobody learns how many others have.
        [event] = await read(notifications, f"{run_id}-0", tenant="acmes")
        assert (event.id, event.payload) == (f"{run_id}-1", SessionDeleted("one"))

    run(work())


def test_tenants_that_nobody_reads_are_forgotten_and_their_readers_told_so() -> None:
    async def work() -> None:
        notifications = Notifications(capacity=10, idle_tenants=2)
        run_id = notifications._run_id
        reading = asyncio.ensure_future(read(notifications, None, tenant="read"))
        await asyncio.sleep(0)
        publish(notifications, "one", tenant="a")
        for number in range(50):
            publish(notifications, "other", tenant=f"user {number}")
        publish(notifications, "two", tenant="read")
        await notifications.close()

        assert len(notifications._idle) == 2
        [event] = await reading
        assert event.payload == SessionDeleted("two")
        [missed] = await read(notifications, f"{run_id}-0", tenant="a")
        assert missed.type is EventType.EVENTS_MISSED
        before = notifications._idle["user 49"].floor
        [kept] = await read(notifications, f"{run_id}-{before}", tenant="user 49")
        assert kept.payload == SessionDeleted("other")

    run(work())
