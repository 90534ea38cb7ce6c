"""Title calls: their number is bounded, however slow the model is that makes them."""

import asyncio
from typing import Any

from chatkeep.background import BackgroundTasks
from chatkeep.notifications import Notifications
from chatkeep.providers.protocol import Capabilities
from chatkeep.titles.calls import MAX_CALLS, TitleCalls, TitleSettings


class Slow:
    """Models that never answer."""

    def capabilities(self, _name: str) -> Capabilities:
        return Capabilities()

    async def answer(self, *_: Any, **__: Any) -> None:
        await asyncio.Event().wait()


def test_a_slow_model_does_not_pile_up_title_calls() -> None:
    async def work() -> None:
        store: Any = None
        models: Any = Slow()
        settings = TitleSettings(model="any", timeout=3_600)
        leases: Any = None
        title_calls = TitleCalls(
            store, models, leases, Notifications(capacity=1), BackgroundTasks(), settings
        )
        calls = [
            title_calls.start("default", number, "x" * 99_999) for number in range(MAX_CALLS + 9)
        ]
        assert calls.count(None) == 9
        assert title_calls.start("default", 0, "again") is calls[0]
        await title_calls.close()
        assert all(call.cancelled() for call in calls if call is not None)

    asyncio.run(work())
