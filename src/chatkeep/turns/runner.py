"""Runs turns: each in a task of its own, from its start to its end, followed by the next."""

from dataclasses import dataclass

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import (
    ChatError,
    Draining,
    InternalError,
    ModelTimedOut,
    TurnInterrupted,
)
from chatkeep.domain.events import EventType
from chatkeep.domain.model import (
    Call,
    CallKind,
    Completion,
    Status,
    SystemPrompts,
    Turn,
)
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers, estimated
from chatkeep.store import turns
from chatkeep.store.database import Store
from chatkeep.store.leases import OrphanedTurn
from chatkeep.store.turns import RunnerConfig, StartedTurn
from chatkeep.turns import context
from chatkeep.turns.finish import Outcome, RowState, TurnFinisher
from chatkeep.turns.recovery import LeaseKeeper
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.stream import TurnStream, started_event

logger = telemetry.logger("turns")

TASKS = "turns"
"""The runs among the background tasks, and what must not be cut off before it has started one."""

MAX_ATTEMPTS = 3
"""How often a turn is run in all, when the process dies in the middle of it."""


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The rules of turns.

    Attributes:
        system_prompts: Those of turns whose session has none.
        context_messages: Earlier messages that a model reads at most.
        turn_timeout: Seconds that a run may take.
        title_wait: Seconds after its end that a turn's stream stays open for the title.
        max_message_chars: Characters of a message at most.
        max_queued_turns: Turns of one session that may wait.
        max_running_turns: Active turns of this process at most.

    """

    system_prompts: SystemPrompts
    context_messages: int
    turn_timeout: float
    title_wait: float
    max_message_chars: int
    max_queued_turns: int
    max_running_turns: int


class TurnRunner:
    """Runs the turns that the database says are this process's."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        leases: LeaseKeeper,
        registry: TurnRegistry,
        finisher: TurnFinisher,
        notifications: Notifications,
        background: BackgroundTasks,
        settings: TurnSettings,
    ) -> None:
        """Take the parts of the server that a run needs."""
        self._store = store
        self._providers = providers
        self._leases = leases
        self._registry = registry
        self._finisher = finisher
        self._notifications = notifications
        self._background = background
        self._settings = settings

    @property
    def runner(self) -> RunnerConfig:
        """Who runs turns from now on, and with what by default."""
        settings, model = self._settings, self._providers.default
        return RunnerConfig(
            self._leases.owner, model, settings.system_prompts, settings.context_messages
        )

    def start(self, started: StartedTurn, tenant: str) -> TurnStream:
        """Run a turn that has been started in the database."""
        stream = self._registry.open(started.turn, tenant)
        stream.set_running(started.turn)
        self._notifications.publish(tenant, EventType.TURN_STARTED, started_event(started.turn))
        self._background.spawn(TASKS, self._run(stream, started, self.runner))
        return stream

    async def recover(self, orphans: list[OrphanedTurn]) -> None:
        """Go on with turns of a dead process: run them again, or end those that failed too often.

        Each has its stream at once, so that its readers are served. In a session where one runs,
        the others wait for it.
        """
        for orphan in orphans:
            self._registry.open(orphan.turn, orphan.tenant)
        busy = {orphan.session_pk for orphan in orphans if orphan.turn.status is Status.RUNNING}
        for orphan in orphans:
            if orphan.turn.status is Status.RUNNING:
                await self._retry(orphan)
            elif orphan.session_pk not in busy:
                busy.add(orphan.session_pk)
                started = await self._store.write(
                    turns.start_next_turn,
                    session_pk=orphan.session_pk,
                    runner=self.runner,
                    at=now(),
                )
                if started is not None:
                    self.start(started, orphan.tenant)

    async def close(self, drain_seconds: float) -> None:
        """Wait at most `drain_seconds` for running turns; leave the rest to the next start.

        Clients that still wait then get `Draining`.
        """
        logger.info("draining", turns=len(self._registry), seconds=drain_seconds)
        for stream in self._registry:
            stream.comment("The server is stopping. Resume from the last event when it is back.")
        # A turn that ends may start the next of its session, which has its time too.
        await self._background.drain(TASKS, drain_seconds)
        await self._background.cancel(TASKS)
        for stream in self._registry:
            draining = Draining(
                "The server is shutting down. This turn will run again at the next start."
            )
            await self._finisher.finish(stream, Outcome(draining, row=RowState.ELSEWHERE))

    async def _retry(self, orphan: OrphanedTurn) -> None:
        turn = orphan.turn
        logger.warning("turn_taken_up", turn_id=turn.turn_id, attempt=turn.attempt)
        if turn.attempt < MAX_ATTEMPTS:
            started = await self._store.write(
                turns.restart_turn, turn_id=turn.turn_id, runner=self.runner
            )
            self.start(started, orphan.tenant)
            return
        stream = self._registry.open(turn, orphan.tenant)
        calls = _interrupted_calls(turn, turn.attempt, input_tokens=0)
        outcome = Outcome(TurnInterrupted(), calls=calls)
        await self._finish(stream, outcome, self.runner)

    async def _run(self, stream: TurnStream, started: StartedTurn, runner: RunnerConfig) -> None:
        with telemetry.bound(turn_id=started.turn.turn_id):
            outcome = await self._answer(stream, started)
            try:
                await self._finish(stream, outcome, runner)
            except Exception:
                # Waiting clients must get an answer; the next start ends the turn.
                logger.exception("turn_not_ended")
                crashed = Outcome(InternalError(), row=RowState.ELSEWHERE)
                await self._finisher.finish(stream, crashed)

    async def _answer(self, stream: TurnStream, started: StartedTurn) -> Outcome:
        """Ask the model, and say how that ended: the same way whether it answered or not."""
        turn = started.turn
        prompt = context.turn_prompt(
            started.message,
            context=started.context,
            options=turn.options,
            system_prompt=started.system_prompt,
        )
        calls: list[Call] = []
        if turn.attempt > 1:
            calls += _interrupted_calls(turn, turn.attempt - 1, input_tokens=estimated(prompt))
        completion, error = Completion(), None
        try:
            async with stream.time_limit(self._settings.turn_timeout):
                completion = await self._providers.answer(
                    turn.model, prompt, stream.append, kind=CallKind.REPLY, calls=calls
                )
        except ChatError as failure:
            error = failure
        except TimeoutError:
            error = stream.stop_reason or ModelTimedOut(
                "The answer took longer than the time limit of a turn."
            )
        except Exception:
            logger.exception("turn_crashed")
            error = InternalError()
        return Outcome(error, completion, tuple(calls))

    async def _finish(self, stream: TurnStream, outcome: Outcome, runner: RunnerConfig) -> None:
        """End a turn, start the next, and keep the stream until its title is there."""
        following = await self._finisher.finish(stream, outcome, runner)
        if following is not None:
            self.start(following, stream.tenant)
        if stream.has_ended:
            await stream.wait_closed(self._settings.title_wait)
        stream.settle_title(None)
        self._registry.remove(stream)


def _interrupted_calls(turn: Turn, attempts: int, *, input_tokens: int) -> tuple[Call, ...]:
    """The calls of attempts that a crash has cut short: what they cost is not known."""
    call = Call(CallKind.REPLY, turn.model, Status.INTERRUPTED, input_tokens, 0, is_estimated=True)
    return (call,) * attempts
