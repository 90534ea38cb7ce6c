"""A chat completion whose reader has gone is known when it comes again, though it had ended."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from chatkeep.api.openai import chat_completions
from chatkeep.api.openai.repeats import LostAnswers
from chatkeep.domain.errors import ModelFailed
from chatkeep.domain.model import Caller, Reply, Status, Turn, TurnOptions, Usage
from chatkeep.turns.service import SubmittedTurn
from chatkeep.turns.stream import TurnStream

TURN = Turn("turn_1", "s", Status.RUNNING, 1, "openai:x", "msg_1", "msg_2", TurnOptions())
REPLY = Reply("Hello", "s", "Hello", "turn_1", "msg_1", "msg_2", "openai:x", Usage(1, 1), "stop")
DIGEST = b"the same"


@pytest.mark.parametrize("has_ended", [True, False])
@pytest.mark.parametrize(
    ("raised", "is_lost"),
    [(asyncio.CancelledError, True), (GeneratorExit, True), (ModelFailed, False), (None, False)],
)
def test_only_a_reader_that_has_gone_did_not_get_its_answer(
    monkeypatch: pytest.MonkeyPatch,
    has_ended: bool,
    raised: type[BaseException] | None,
    is_lost: bool,
) -> None:
    lost = LostAnswers()

    async def submit(*_: Any, **__: Any) -> SubmittedTurn:
        stream = TurnStream(TURN, "default")
        if has_ended:
            stream.end(REPLY)
        return SubmittedTurn(stream, is_replay=False)

    async def work() -> None:
        request: Any = SimpleNamespace(headers={}, state=SimpleNamespace())
        prepared: Any = None
        async with chat_completions._stored(request, prepared, "s", key=None, is_retry=False):
            if raised is not None:
                raise raised

    monkeypatch.setattr(chat_completions, "_submit", submit)
    monkeypatch.setattr(chat_completions, "_digest", lambda *_: DIGEST)
    monkeypatch.setattr(chat_completions, "services", lambda _: SimpleNamespace(lost_answers=lost))
    monkeypatch.setattr(chat_completions, "caller", lambda _: Caller())
    with contextlib.suppress(asyncio.CancelledError, GeneratorExit, ModelFailed):
        asyncio.run(work())
    assert lost.take("default", DIGEST) == ("turn_1" if is_lost else None)
