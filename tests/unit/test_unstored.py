"""Turns of which nothing is stored: how they end, what is counted, and how many there may be."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chatkeep.domain.errors import (
    ChatError,
    Draining,
    ModelBusy,
    Overloaded,
    StoreUnavailable,
    TooLarge,
)
from chatkeep.domain.model import Call, Caller, MessageContent, Role, Status, TurnOptions
from chatkeep.store import usage
from chatkeep.turns.runner import TASKS
from chatkeep.turns.unstored import UnstoredRequest
from tests.turn_requests import user_messages
from tests.unit.test_runner import Answer, Part, endless, error_of, hello, raises, run

CALLER = Caller()
QUESTION = UnstoredRequest(user_messages("Hello"))


class Counted(Part):
    """A server whose count of tokens is noted, unless it fails."""

    def __init__(self, answer: Answer = hello, *, failure: ChatError | None = None) -> None:
        self.made: list[Call] = []
        self.failure = failure
        super().__init__(answer, **{usage.add.__name__: self.add})

    def add(self, *, made: tuple[Call, ...], session_pk: Any, turn_id: Any, **_: Any) -> Any:
        assert session_pk is None
        assert turn_id is None
        self.made += made
        return self.failure

    @property
    def statuses(self) -> list[Status]:
        return [call.status for call in self.made]


def test_an_unstored_turn_is_answered_and_counted_and_nothing_else_is_written() -> None:
    async def work() -> None:
        part = Counted()
        async with part.service.unstored(CALLER, QUESTION) as stream:
            reply = await stream.result(title=False)
            assert reply.response == "Hello you"
            assert part.statuses == [Status.COMPLETED]
            assert part.registry.get(stream.turn.turn_id) is None
        assert part.rows.calls == [usage.add.__name__]
        assert await part.types() == []

    run(work())


def test_one_whose_reader_leaves_is_stopped_and_counted_as_cancelled() -> None:
    async def work() -> None:
        part = Counted(endless)
        async with part.service.unstored(CALLER, QUESTION) as stream:
            await stream._change()
            assert stream.text == "Hello "
        await stream.wait_ended(10)
        assert part.statuses == [Status.CANCELLED]
        await part.background.drain(TASKS, 10)
        assert part.rows.calls == [usage.add.__name__]

    run(work())


def test_one_that_fails_tells_why_and_may_be_sent_again() -> None:
    async def work() -> None:
        part = Counted(raises(ModelBusy("Later.", retry_after=7)))
        async with part.service.unstored(CALLER, QUESTION) as stream:
            error = await error_of(stream)
        assert isinstance(error, ModelBusy)
        assert (error.retry_after, error.forbids_retry, error.turn) == (7, False, None)

    run(work())


def test_the_answer_is_there_even_if_it_cannot_be_counted() -> None:
    async def work() -> None:
        part = Counted(failure=StoreUnavailable())
        async with part.service.unstored(CALLER, QUESTION) as stream:
            assert (await stream.result(title=False)).response == "Hello you"

    run(work())


def test_a_server_that_stops_waits_for_it_then_ends_it() -> None:
    async def work() -> None:
        part = Counted(endless)
        async with part.service.unstored(CALLER, QUESTION) as stream:
            await stream._change()
            part.service.stop_accepting()
            await part.runner.close(0.01)
            assert isinstance(await error_of(stream), Draining)
            with pytest.raises(Draining):
                async with part.service.unstored(CALLER, QUESTION):
                    pass
        assert part.statuses == [Status.FAILED]

    run(work())


def test_one_that_is_stopped_before_it_has_begun_ends_too() -> None:
    async def work() -> None:
        part = Counted(endless)
        async with part.service.unstored(CALLER, QUESTION) as stream:
            await part.background.cancel(TASKS)
            assert isinstance(await error_of(stream), Draining)

    run(work())


def test_unstored_turns_are_among_those_that_may_run() -> None:
    async def work() -> None:
        part = Counted(endless)
        async with (
            part.service.unstored(CALLER, QUESTION) as first,
            part.service.unstored(CALLER, QUESTION) as second,
        ):
            with pytest.raises(Overloaded):
                async with part.service.unstored(CALLER, QUESTION):
                    pass
        await asyncio.gather(first.wait_ended(10), second.wait_ended(10))
        await part.background.drain(TASKS, 10)
        async with part.service.unstored(CALLER, QUESTION):
            pass

    run(work())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TurnOptions(), "Be kind."),
        (TurnOptions(omits_default_prompt=True), None),
        (TurnOptions(system_prompt=""), None),
        (TurnOptions(system_prompt="Be short."), "Be short."),
    ],
)
def test_the_servers_system_prompt_holds_unless_the_request_has_or_refuses_one(
    options: TurnOptions, expected: str | None
) -> None:
    async def work() -> None:
        part = Counted()
        request = replace(QUESTION, options=options)
        async with part.service.unstored(CALLER, request) as stream:
            await stream.result(title=False)
        [prompt] = part.models.prompts
        assert prompt.system == expected

    run(work())


def test_a_message_may_be_as_long_as_that_of_a_stored_turn_and_a_reply_longer() -> None:
    async def work() -> None:
        part = Counted()
        longer = "x" * (part.settings.max_message_chars + 1)
        with pytest.raises(TooLarge):
            async with part.service.unstored(CALLER, UnstoredRequest(user_messages(longer))):
                pass
        messages = (MessageContent(Role.ASSISTANT, longer), *user_messages("Hello"))
        async with part.service.unstored(CALLER, UnstoredRequest(messages)) as stream:
            await stream.result(title=False)

    run(work())
