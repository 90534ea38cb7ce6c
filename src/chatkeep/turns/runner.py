"""The life of a turn from its start to its end: asked, ended in one place, followed by the next."""

import asyncio
import itertools
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from chatkeep import telemetry
from chatkeep.domain.errors import (
    ChatError,
    Draining,
    InternalError,
    ModelTimedOut,
    Overloaded,
    StoreUnavailable,
    TurnCancelled,
    TurnInterrupted,
)
from chatkeep.domain.events import Failure
from chatkeep.domain.model import Call, CallKind, Completion, Reply, Status, SystemPrompts, Turn
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers, estimated
from chatkeep.store import Store, turns, usage
from chatkeep.store.leases import OrphanedTurn
from chatkeep.store.turns import Ended, Outcome, Runner, StartedTurn
from chatkeep.turns import context
from chatkeep.turns.lease import Lease
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.stream import TurnStream

log = telemetry.logger("engine")

T = TypeVar("T")

MAX_ATTEMPTS = 3
"""Times that a turn is run in all, when the process dies in the middle of it."""

END_DELAYS_SECONDS = (0.1, 0.5, 1, 5)
END_LAST_DELAY_SECONDS = 30
"""Pauses between tries to store an end while the database fails; the last one repeats."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The rules of a turn; times are in seconds."""

    system_prompts: SystemPrompts
    context_messages: int
    turn_timeout: float
    title_wait: float
    lease_seconds: float
    max_message_chars: int
    max_queued_turns: int
    max_running_turns: int
    retention: Mapping[str | None, int]
    retention_seconds: float
    max_import_record_bytes: int
    max_reply_chars: int


class Running:
    """The turns in hand, each in a task of its own."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        lease: Lease,
        feed: Notifications,
        options: EngineOptions,
    ) -> None:
        """Take what a turn needs to run."""
        self.live = TurnRegistry()
        self._feed = feed
        self._store = store
        self._providers = providers
        self._lease = lease
        self._options = options
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def runner(self) -> Runner:
        """Who runs turns from now on, and with what by default."""
        options, model = self._options, self._providers.default
        return Runner(self._lease.owner, model, options.system_prompts, options.context_messages)

    def begin(self, begun: StartedTurn, tenant: str) -> TurnStream:
        """Run a turn that has begun in the database."""
        live = self.live.open(begun.turn, tenant)
        live.begin(begun.turn)
        self._feed.tell(tenant, "turn.started", begun.turn.start())
        self.spawn(self._run(live, begun, self.runner))
        return live

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something that must not stop when whoever asked for it goes away."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def take_up(self, left: list[OrphanedTurn]) -> None:
        """Go on with turns that a dead process has left: again, or not any more.

        Each has its log at once, so that its readers are served; where one runs or is begun, the
        others of its session wait for it.
        """
        for found in left:
            self.live.open(found.turn, found.tenant)
        busy = {found.session_pk for found in left if found.turn.status is Status.RUNNING}
        for found in left:
            if found.turn.status is Status.RUNNING:
                await self._again(found)
            elif found.session_pk not in busy:
                busy.add(found.session_pk)
                begun = await self._store.write(
                    turns.start_next_turn, session_pk=found.session_pk, runner=self.runner, at=now()
                )
                if begun is not None:
                    self.begin(begun, found.tenant)

    async def close(self, drain_seconds: float) -> None:
        """Let running turns end, for so many seconds; the rest is taken up at the next start.

        Whoever still waits then is told so.
        """
        log.info("draining", turns=len(self.live), seconds=drain_seconds)
        for live in self.live:
            live.note("The server is stopping. Read on from the last event when it is back.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + drain_seconds
        # A turn that ends may begin the next of its session, which has its time too.
        while self._tasks and (left := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for live in self.live:
            words = "The server is shutting down. This turn is run again at its next start."
            live.abandon(Draining(words, **_names(live)), streams=True)

    async def _again(self, left: OrphanedTurn) -> None:
        turn = left.turn
        log.warning("turn_taken_up", turn_id=turn.turn_id, attempt=turn.attempt)
        if turn.attempt < MAX_ATTEMPTS:
            begun = await self._store.write(
                turns.restart_turn, turn_id=turn.turn_id, runner=self.runner
            )
            self.begin(begun, left.tenant)
            return
        live = self.live.open(turn, left.tenant)
        lost = _lost(turn, turn.attempt, 0)
        await self._end(
            live, self.runner, Status.INTERRUPTED, lost, Completion(), TurnInterrupted()
        )

    async def _run(self, live: TurnStream, begun: StartedTurn, runner: Runner) -> None:
        """Ask the model, then end the turn: the same way whether it answered or not."""
        turn = begun.turn
        prompt = context.turn_prompt(
            begun.message,
            context=begun.context,
            options=turn.options,
            system_prompt=begun.system_prompt,
        )
        completion, error = Completion(), None
        calls = _lost(turn, turn.attempt - 1, estimated(prompt)) if turn.attempt > 1 else []
        try:
            async with live.limited(self._options.turn_timeout):
                completion = await self._providers.answer(
                    turn.model, prompt, live.append, kind=CallKind.REPLY, calls=calls
                )
        except ChatError as failure:
            error = failure
        except TimeoutError:
            error = live.stopped or ModelTimedOut(
                "The answer took longer than a turn is allowed to."
            )
        except Exception:
            log.exception("turn_crashed", turn_id=turn.turn_id)
            error = InternalError()
        status = Status.FAILED if error else Status.COMPLETED
        if isinstance(error, TurnCancelled):
            status = Status.CANCELLED
        try:
            await self._end(live, runner, status, calls, completion, error)
        except Exception:
            # Whoever waits must hear of it, and the next start ends the turn.
            log.exception("turn_not_ended", turn_id=turn.turn_id)
            live.abandon(InternalError(**_names(live)), streams=True)
            self.live.drop(live)

    async def _end(
        self,
        live: TurnStream,
        runner: Runner,
        status: Status,
        calls: list[Call],
        completion: Completion,
        error: ChatError | None,
    ) -> None:
        """Store the end, begin the next turn of the session, tell whoever waits."""
        turn = live.turn
        outcome = Outcome(
            status=status,
            text=live.text,
            completion=completion,
            error_code=error.code if error else None,
            error_detail=error.detail if error else None,
            calls=tuple(_of(call, status, number) for number, call in enumerate(calls)),
        )
        ended = await self._store_end(live, runner, outcome)
        # Also where the model failed by itself just then.
        if ended is None and isinstance(live.stopped, TurnCancelled):
            await self._end_without_session(live, outcome, live.stopped)
            return
        if ended is None:
            live.abandon(
                error or InternalError("The turn was ended by another process."), streams=True
            )
            self.live.drop(live)
            return
        log.info(
            "turn_ended",
            turn_id=turn.turn_id,
            status=status.value,
            model=turn.model,
            error=outcome.error_code,
            input_tokens=completion.usage.input_tokens,
            output_tokens=completion.usage.output_tokens,
        )
        told = {**_names(live), "status": status.value}
        self._feed.tell(live.tenant, "turn.ended", told)
        if ended.following is not None:
            self.begin(ended.following, live.tenant)
        if error is not None:
            error.extra |= _names(live)
            live.end(Failure(error, outcome.text))
        else:
            reply = Reply.to(turn, text=outcome.text, title=ended.title, completion=completion)
            live.end(reply)
        await live.closed(self._options.title_wait)
        live.settle_title(None)
        self.live.drop(live)

    async def _end_without_session(
        self, live: TurnStream, outcome: Outcome, error: TurnCancelled
    ) -> None:
        """The session was deleted with all that the turn has written; its tokens were used."""
        live.end(Failure(error, ""))
        live.settle_title(None)
        self.live.drop(live)
        await self._store.write(
            usage.add,
            tenant=live.tenant,
            session_pk=None,
            turn_id=None,
            made=outcome.calls,
            at=now(),
        )

    async def _store_end(self, live: TurnStream, runner: Runner, outcome: Outcome) -> Ended | None:
        """Store an end, however long the database takes to work again; tell readers meanwhile."""
        turn_id = live.turn.turn_id
        for failures in itertools.count():
            try:
                return await self._store.write(
                    turns.finish_turn, turn_id=turn_id, outcome=outcome, runner=runner, at=now()
                )
            except (StoreUnavailable, Overloaded) as failure:
                log.error("turn_end_not_stored", turn_id=turn_id, failures=failures + 1)
                if failures < len(END_DELAYS_SECONDS):
                    await asyncio.sleep(END_DELAYS_SECONDS[failures])
                else:
                    # Without advice to retry: the message is kept, and its end will be.
                    error = StoreUnavailable(failure.detail, **_names(live))
                    live.abandon(error, streams=False)
                    await asyncio.sleep(END_LAST_DELAY_SECONDS)
        return None


def _lost(turn: Turn, attempts: int, input_tokens: int) -> list[Call]:
    """The calls of attempts that a crash has cut short: what they cost is not known."""
    ended = Status.INTERRUPTED
    return [Call(CallKind.REPLY, turn.model, ended, input_tokens, 0, is_estimated=True)] * attempts


def _of(call: Call, status: Status, number: int) -> Call:
    """A turn's call, as it is counted: one that was given up ended as the turn did."""
    ended = status if call.status is Status.CANCELLED else call.status
    return replace(call, status=ended, is_retry=number > 0)


def _names(live: TurnStream) -> dict[str, Any]:
    """What every error that a turn ends with says of it."""
    return {"turn_id": live.turn.turn_id, "session_id": live.turn.session_id}
