"""The registry of active turns: one stream a turn, and a wait for one that is about to come."""

import asyncio

from chatkeep.domain.model import Status, Turn, TurnOptions
from chatkeep.turns.registry import TurnRegistry

TURN = Turn("turn_1", "s", Status.QUEUED, 0, "m", "msg_1", "msg_2", TurnOptions())


def test_a_turn_has_one_stream_until_it_is_removed() -> None:
    registry = TurnRegistry()
    assert registry.get("turn_1") is None
    stream = registry.open(TURN, "default")
    assert registry.open(TURN, "default") is stream
    assert registry.get("turn_1") is stream
    assert (len(registry), list(registry)) == (1, [stream])
    registry.remove(stream)
    registry.remove(stream)
    assert (len(registry), registry.get("turn_1")) == (0, None)


def test_a_wait_ends_with_the_stream_as_soon_as_it_is_there() -> None:
    async def work() -> None:
        registry = TurnRegistry()
        waits = [asyncio.ensure_future(registry.wait("turn_1", 60)) for _ in range(2)]
        other = asyncio.ensure_future(registry.wait("turn_2", 60))
        await asyncio.sleep(0)
        stream = registry.open(TURN, "default")
        assert await asyncio.gather(*waits) == [stream, stream]
        assert await registry.wait("turn_1", 60) is stream
        assert not other.done()
        other.cancel()

    asyncio.run(work())


def test_a_wait_for_a_turn_that_never_comes_ends_in_time() -> None:
    assert asyncio.run(TurnRegistry().wait("turn_1", 0.001)) is None
