"""The runner and the one ending of a turn, with a scripted model and a scripted database."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import (
    ChatError,
    Draining,
    InternalError,
    ModelBusy,
    ModelTimedOut,
    Overloaded,
    StoreUnavailable,
    TurnCancelled,
    TurnInterrupted,
    TurnNotFound,
    TurnRef,
)
from chatkeep.domain.events import Event, EventType, TurnEnded
from chatkeep.domain.model import (
    Call,
    Caller,
    CallKind,
    Completion,
    Prompt,
    Reply,
    Status,
    SystemPrompts,
    Turn,
    TurnOptions,
    Usage,
)
from chatkeep.notifications import Notifications
from chatkeep.providers import Listener
from chatkeep.providers.capabilities import Capabilities
from chatkeep.store import turn_records, turns, usage
from chatkeep.store.exchange import TurnState
from chatkeep.store.leases import Orphan
from chatkeep.store.signals import Signals
from chatkeep.store.turn_records import StoredTurn
from chatkeep.store.turns import Ended, ExhaustedTurn, StartedTurn
from chatkeep.turns import finish
from chatkeep.turns.finish import Outcome, RowState, TurnFinisher
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_readers import RemoteReaders
from chatkeep.turns.remote_turns import RemoteTurns
from chatkeep.turns.runner import MAX_ATTEMPTS, TurnRunner, TurnSettings
from chatkeep.turns.service import TurnService
from chatkeep.turns.stream import TurnStream
from tests.turn_requests import turn_request, user_messages

TURN = Turn("turn_1", "s", Status.RUNNING, 1, "m", "msg_1", "msg_2", TurnOptions())
NEXT = replace(TURN, turn_id="turn_2", user_message_id="msg_3", message_id="msg_4")
REF = TurnRef("turn_1", "s")

Answer = Callable[[Callable[[str], None], list[Call]], Awaitable[Completion]]


def started(turn: Turn = TURN) -> StartedTurn:
    return StartedTurn(turn, 1, None, (), user_messages("Hello"), None, 1)


async def hello(on_text: Callable[[str], None], calls: list[Call]) -> Completion:
    on_text("Hello ")
    on_text("you")
    calls.append(Call(CallKind.REPLY, "m", Status.COMPLETED, 3, 2, is_estimated=False))
    return Completion(finish_reason="stop")


async def endless(on_text: Callable[[str], None], calls: list[Call]) -> Completion:
    on_text("Hello ")
    try:
        await asyncio.Event().wait()
    finally:
        calls.append(Call(CallKind.REPLY, "m", Status.CANCELLED, 3, 1, is_estimated=True))
    return Completion()


def raises(error: Exception) -> Answer:
    async def answer(_on_text: Callable[[str], None], _calls: list[Call]) -> Completion:
        raise error

    return answer


class Models:
    """One model, which answers as it is scripted."""

    default = "m"

    def __init__(self, answer: Answer) -> None:
        self.script = answer
        self.prompts: list[Prompt] = []

    async def answer(
        self,
        _name: str,
        prompt: Prompt,
        listener: Listener,
        *,
        calls: list[Call],
        **_: Any,
    ) -> Completion:
        self.prompts.append(prompt)
        return await self.script(listener.on_text, calls)

    def capabilities(self, _name: str) -> Capabilities:
        return Capabilities()

    def reruns(self, _name: str) -> bool:
        return True

    def check(self, _name: str) -> None:
        pass

    def check_demands(self, *_: Any, **__: Any) -> None:
        pass


class Rows:
    """A database that answers each function of the store as it is scripted, and notes the calls."""

    is_exclusive = True

    def __init__(self, **script: Any) -> None:
        self.script = script
        self.calls: list[str] = []
        self.signals = Signals(None)

    async def write(self, function: Callable[..., Any], **values: Any) -> Any:
        self.calls.append(function.__name__)
        result = self.script[function.__name__]
        if callable(result):
            result = result(**values)
        if isinstance(result, Exception):
            raise result
        return result

    async def write_once(
        self, function: Callable[..., Any], _is_done: Callable[..., bool], **values: Any
    ) -> Any:
        return await self.write(function, **values)

    read = exchange = write


class Part:
    """What a runner needs, around a model and a database that are scripted."""

    def __init__(self, answer: Answer = hello, *, seconds: float = 60, **script: Any) -> None:
        self.rows = Rows(**{turns.finish_turn.__name__: Ended("A title", None), **script})
        store: Any = self.rows
        models: Any = Models(answer)
        self.models: Models = models
        leases: Any = type("Leases", (), {"owner": "me"})()
        self.registry = TurnRegistry()
        self.notifications = Notifications(capacity=100)
        self.background = BackgroundTasks()
        remote_turns = RemoteTurns(store, self.registry, leases, self.background, title_wait=60)
        remote_readers = RemoteReaders(store, leases, self.background)
        self.finisher = TurnFinisher(store, self.registry, remote_turns, self.notifications)
        self.settings = TurnSettings(SystemPrompts("Be kind."), 5, seconds, 60, 100, 10, 2)
        self.runner = TurnRunner(
            store, models, leases, self.registry, remote_turns, remote_readers, self.finisher,
            self.notifications, self.background, self.settings,
        )  # fmt: skip
        titles: Any = None
        self.service = TurnService(
            store, models, titles, self.registry, remote_turns, remote_readers, self.runner,
            self.finisher, self.notifications, self.background, self.settings,
        )  # fmt: skip
        self.stream: TurnStream | None = None

    def start(self, turn: Turn = TURN) -> TurnStream:
        self.stream = self.runner.start(started(turn), "default")
        return self.stream

    async def published(self) -> list[Event]:
        """What was published so far; nothing can be published afterwards."""
        await self.notifications.close()
        after = f"{self.notifications._run_id}-0"
        events = self.notifications.read("default", after, idle_seconds=60)
        return [event async for event in events if isinstance(event, Event)]

    async def types(self) -> list[EventType]:
        return [event.type for event in await self.published()]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def error_of(stream: TurnStream) -> ChatError:
    with pytest.raises(ChatError) as raised:
        await stream.result(title=False)
    return raised.value


def test_a_turn_ends_in_its_row_then_in_its_stream_then_in_the_news() -> None:
    async def work() -> None:
        order = []

        def end(**values: Any) -> Ended:
            assert part.stream is not None
            order.append(("row", part.stream.has_ended, values["outcome"].text))
            return Ended("A title", None)

        def publish(_tenant: str, event: EventType, payload: Any) -> None:
            if event is EventType.TURN_ENDED:
                assert part.stream is not None
                order.append(("news", part.stream.has_ended, payload.status))

        part = Part(finish_turn=end)
        part.notifications.publish = publish  # type: ignore[method-assign]  # it listens
        reply = await part.start().result(title=False)
        assert (reply.response, reply.title, reply.finish_reason) == (
            "Hello you",
            "A title",
            "stop",
        )
        await part.background.drain("turns", 60)
        assert order == [("row", False, "Hello you"), ("news", True, Status.COMPLETED)]
        assert len(part.registry) == 0

    run(work())


def test_the_next_turn_starts_when_the_one_before_it_has_ended() -> None:
    async def work() -> None:
        ends = iter([Ended("A title", started(NEXT)), Ended("A title", None)])
        part = Part(finish_turn=lambda **_: next(ends))
        part.start()
        await part.background.drain("turns", 60)
        events = await part.published()
        ids = [getattr(event.payload, "turn_id", None) for event in events]
        assert list(zip([event.type for event in events], ids, strict=True)) == [
            (EventType.TURN_STARTED, "turn_1"),
            (EventType.TURN_ENDED, "turn_1"),
            (EventType.TURN_STARTED, "turn_2"),
            (EventType.TURN_ENDED, "turn_2"),
        ]

    run(work())


def test_an_error_of_the_model_is_the_turns_and_forbids_clients_to_repeat_it() -> None:
    async def work() -> None:
        part = Part(raises(ModelBusy(retry_after=7)))
        error = await error_of(part.start())
        assert (type(error), error.retry_after) == (ModelBusy, 7)
        assert (error.turn, error.forbids_retry) == (REF, True)
        await part.background.drain("turns", 60)
        [_, ended] = await part.published()
        assert ended.payload == TurnEnded("turn_1", "s", Status.FAILED)

    run(work())


def test_a_crash_ends_the_turn_as_failed_and_is_logged_with_its_id() -> None:
    async def work() -> None:
        part = Part(raises(ZeroDivisionError("a bug")))
        error = await error_of(part.start())
        assert (error.code, error.turn) == ("internal-error", REF)
        assert "a bug" not in error.detail
        await part.background.drain("turns", 60)

    with capture_logs(processors=[merge_context]) as lines:
        run(work())
    [crash] = [line for line in lines if line["event"] == "turn_crashed"]
    assert crash["turn_id"] == "turn_1"
    assert [line["event"] for line in lines if line.get("turn_id") == "turn_1"] == [
        "turn_crashed", "turn_ended",
    ]  # fmt: skip


def merge_context(logger: Any, method: str, event: Any) -> Any:
    import structlog

    return structlog.contextvars.merge_contextvars(logger, method, event)


def test_a_turn_that_takes_too_long_ends_as_failed() -> None:
    async def work() -> None:
        part = Part(endless, seconds=0.001)
        error = await error_of(part.start())
        assert isinstance(error, ModelTimedOut)

    run(work())


def test_a_cancelled_turn_keeps_its_text_and_its_calls_end_as_it_did() -> None:
    async def work() -> None:
        stored = []

        def end(**values: Any) -> Ended:
            stored.append(values["outcome"])
            return Ended("A title", None)

        part = Part(endless, finish_turn=end)
        stream = part.start()
        await asyncio.sleep(0)
        stream.stop(TurnCancelled())
        assert isinstance(await error_of(stream), TurnCancelled)
        [outcome] = stored
        assert (outcome.status, outcome.text) == (Status.CANCELLED, "Hello ")
        assert [call.status for call in outcome.calls] == [Status.CANCELLED]

    run(work())


def test_a_turn_of_a_deleted_session_is_cancelled_announced_and_counted() -> None:
    async def work() -> None:
        part = Part(finish_turn=None, find=TurnNotFound(), add=None)
        assert isinstance(await error_of(part.start()), TurnCancelled)
        await part.background.drain("turns", 60)
        assert part.rows.calls == [
            turns.finish_turn.__name__,
            turn_records.find.__name__,
            usage.add.__name__,
        ]
        assert (await part.published())[-1].payload == TurnEnded("turn_1", "s", Status.CANCELLED)
        assert len(part.registry) == 0

    run(work())


def test_the_readers_of_a_turn_that_another_process_has_taken_get_what_that_stores() -> None:
    async def work() -> None:
        taken = replace(TURN, attempt=2)
        record: Any = type("Record", (), {"status": Status.COMPLETED, "usage": Usage()})()
        record.finish_reason = "stop"
        stored = StoredTurn(
            *(taken, record, (), "Another answer", None, None, "A title"),
            is_titled=False,
            ended_at=None,
        )
        state = TurnState("turn_1", "completed", 2, "other", 2, "A title", "model", False)
        part = Part(finish_turn=None, find=stored, states=lambda **_: [state])
        stream = part.start()
        reply = await stream.result(title=False)
        assert (reply.response, stream.attempt) == ("Another answer", 2)
        await part.background.drain("turns", 60)
        # Whoever has ended it has announced that.
        assert await part.types() == [EventType.TURN_STARTED]
        assert len(part.registry) == 0

    run(work())


def test_a_bug_in_the_ending_lets_nobody_wait_for_ever() -> None:
    async def work() -> None:
        part = Part(finish_turn=ZeroDivisionError("a bug"))
        assert isinstance(await error_of(part.start()), InternalError)
        await part.background.drain("turns", 60)
        assert len(part.registry) == 0

    with capture_logs() as lines:
        run(work())
    assert "turn_not_ended" in [line["event"] for line in lines]


def test_an_end_is_stored_as_soon_as_the_database_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "STORE_DELAYS_SECONDS", (0, 0))
    monkeypatch.setattr(finish, "LAST_STORE_DELAY_SECONDS", 0)

    async def work() -> None:
        full = StoreUnavailable("The disk is full.")
        results = iter([full, Overloaded(), full, full, Ended("A title", None)])
        part = Part(finish_turn=lambda **_: next(results))
        stream = part.start()
        error = await error_of(stream)
        assert (error.detail, error.forbids_retry) == ("The disk is full.", True)
        await part.background.drain("turns", 60)
        # Whoever waited was told; the turn has ended nevertheless.
        assert stream.has_ended
        assert await part.types() == [EventType.TURN_STARTED, EventType.TURN_ENDED]

    run(work())


def test_a_server_that_stops_waits_for_its_turns_and_leaves_the_rest_to_the_next_start() -> None:
    async def work() -> None:
        quick = Part(hello)
        stream = quick.start()
        await quick.runner.close(60)
        assert isinstance(await stream.result(title=False), Reply)

        slow = Part(endless)
        stream = slow.start()
        await slow.runner.close(0.001)
        error = await error_of(stream)
        assert (type(error), error.turn) == (Draining, REF)
        # Its row still says that it runs.
        assert slow.rows.calls == []
        assert await slow.types() == [EventType.TURN_STARTED]

    run(work())


def test_orphaned_turns_run_again_and_those_that_failed_too_often_end() -> None:
    async def work() -> None:
        ends = []

        def end(**values: Any) -> Ended:
            ends.append((values["turn_id"], values["outcome"].status, len(values["outcome"].calls)))
            return Ended("A title", None)

        exhausted = replace(NEXT, attempt=MAX_ATTEMPTS)
        stopped = replace(TURN, turn_id="turn_3")
        taken = {
            TURN.turn_id: started(replace(TURN, attempt=2)),
            exhausted.turn_id: ExhaustedTurn(exhausted, None),
            stopped.turn_id: ExhaustedTurn(stopped, "Somebody has stopped it."),
            "turn_4": None,
        }
        found = [Orphan(turn_id, "default", 1, "dead", 1) for turn_id in taken]
        looks = iter([found, found[-1:]])
        part = Part(
            finish_turn=end,
            orphans=lambda **_: next(looks),
            stalled=lambda **_: [],
            take_over=lambda **values: taken[values["orphan"].id],
        )
        await part.runner.recover()
        await part.background.drain("turns", 60)
        # The lost attempts are counted beside the one that answered; another took the fourth.
        assert sorted(ends) == [
            ("turn_1", Status.COMPLETED, 2),
            ("turn_2", Status.INTERRUPTED, MAX_ATTEMPTS),
            ("turn_3", Status.CANCELLED, 1),
        ]

    run(work())


def test_a_queued_turn_ends_without_its_row_being_touched() -> None:
    async def work() -> None:
        for error, published in ((TurnCancelled(), [EventType.TURN_ENDED]), (Draining(), [])):
            part = Part()
            stream = part.registry.open(replace(TURN, status=Status.QUEUED), "default")
            if isinstance(error, Draining):
                await part.finisher.finish(stream, Outcome(error, row=RowState.ELSEWHERE))
            else:
                part.finisher.finish_queued("default", TURN.turn_id, "s", error)
            assert type(await error_of(stream)) is type(error)
            assert part.rows.calls == []
            assert len(part.registry) == 0
            assert await part.types() == published

    run(work())


def test_an_open_row_cannot_be_finished_without_saying_who_runs_the_next() -> None:
    async def work() -> None:
        part = Part()
        stream = part.registry.open(TURN, "default")
        with pytest.raises(ValueError, match="runner"):
            await part.finisher.finish(stream, Outcome(TurnInterrupted()))

    run(work())


def test_beyond_the_limit_of_active_turns_none_is_accepted() -> None:
    async def work() -> None:
        part = Part()
        for number in range(part.settings.max_running_turns):
            part.registry.open(replace(TURN, turn_id=f"turn_{number}"), "default")
        request = turn_request("s", b"digest", message="one too many")
        with pytest.raises(Overloaded):
            await part.service.submit_turn(Caller(), request)
        part.service.stop_accepting()
        with pytest.raises(Draining):
            await part.service.submit_turn(Caller(), request)
        assert part.rows.calls == []

    run(work())
