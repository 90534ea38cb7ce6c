"""Runs turns: each in a task of its own, from its start to its end, followed by the next."""

import functools
from dataclasses import dataclass

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import (
    Draining,
    InternalError,
    TurnCancelled,
    TurnInterrupted,
)
from chatkeep.domain.events import EventType
from chatkeep.domain.model import (
    Call,
    CallKind,
    FileContent,
    Prompt,
    RunContext,
    Status,
    SystemPrompts,
    Turn,
)
from chatkeep.domain.times import now
from chatkeep.leases import LeaseKeeper
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers, estimated
from chatkeep.store import files, leases, messages, turns
from chatkeep.store.database import Store
from chatkeep.store.leases import Orphan, Stalled
from chatkeep.store.turns import RunnerConfig, StartedTurn
from chatkeep.turns import context
from chatkeep.turns.answer import answer
from chatkeep.turns.finish import Outcome, RowState, TurnFinisher
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_readers import RemoteReaders
from chatkeep.turns.remote_turns import RemoteTurns
from chatkeep.turns.stream import TurnStream, started_event

logger = telemetry.logger("turns")

TASKS = "turns"
"""The runs among the background tasks, and what must not be cut off before it has started one."""

RECOVERED_AT_ONCE = 50
"""Turns of dead processes that are looked at together."""

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
        keeper: LeaseKeeper,
        registry: TurnRegistry,
        remote_turns: RemoteTurns,
        remote_readers: RemoteReaders,
        finisher: TurnFinisher,
        notifications: Notifications,
        background: BackgroundTasks,
        settings: TurnSettings,
    ) -> None:
        """Take the parts of the server that a run needs."""
        self._store = store
        self._providers = providers
        self._leases = keeper
        self._registry = registry
        self._remote_turns = remote_turns
        self._remote_readers = remote_readers
        self._finisher = finisher
        self._notifications = notifications
        self._background = background
        self._settings = settings
        self._is_closing = False
        self._config: RunnerConfig | None = None

    @property
    def runner(self) -> RunnerConfig:
        """Who runs turns from now on, and with what by default."""
        owner, starts_next = self._leases.owner, not self._leaves_to_others
        runner = self._config
        if runner is None or (runner.owner, runner.starts_next) != (owner, starts_next):
            settings, model = self._settings, self._providers.default
            runner = self._config = RunnerConfig(
                *(owner, model, settings.system_prompts, settings.context_messages),
                starts_next=starts_next,
            )
        return runner

    @property
    def _leaves_to_others(self) -> bool:
        """Whether this process stops, and there may be others that begin what is to be begun."""
        return self._is_closing and not self._store.is_exclusive

    def start(self, started: StartedTurn, tenant: str, *, has_waited: bool = False) -> TurnStream:
        """Run a turn that has been started in the database.

        Args:
            started: The turn.
            tenant: Whose turn it is.
            has_waited: Whether others may have known of it before.

        """
        stream = self._registry.open(started.turn, tenant)
        if self._remote_readers.is_running(started.turn.turn_id, at_least=started.turn.attempt):
            # The answer to a commit came so late that the turn was taken for lost meanwhile.
            return stream
        self._remote_turns.release(started.turn.turn_id)
        stream.set_running(started.turn)
        self._remote_readers.add(stream, has_waited=has_waited)
        self._notifications.publish(tenant, EventType.TURN_STARTED, started_event(started.turn))
        self._background.spawn(TASKS, self._run(stream, started, self.runner))
        return stream

    async def recover(self) -> None:
        """Take over, turn by turn, what no living process runs; run it again or end it.

        Other processes may do the same: of each turn, one becomes the owner.
        """
        is_more = not self._leaves_to_others
        while is_more:
            orphans = await self._store.read(leases.orphans, limit=RECOVERED_AT_ONCE)
            taken = [
                await self.take_over(orphan)
                for orphan in orphans
                # What this process still runs, though its lease was ended, it ends as lost.
                if not self._remote_readers.is_running(orphan.id)
            ]
            stalled = await self._store.read(leases.stalled, limit=RECOVERED_AT_ONCE)
            taken += [await self._start_stalled(session) for session in stalled]
            is_more = any(taken) and not self._leaves_to_others

    async def close(self, drain_seconds: float) -> None:
        """Wait at most `drain_seconds` for running turns; leave the rest to the next start.

        Clients that still wait then get `Draining`.
        """
        self._is_closing = True
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

    async def take_over(self, orphan: Orphan) -> bool:
        """Make an orphan this process's. False if another was faster, or this process stops."""
        if self._leaves_to_others:
            return False
        runner = self.runner
        is_done = functools.partial(turns.is_taken, owner=runner.owner)
        taken = await self._store.write_once(
            turns.take_over,
            is_done,
            orphan=orphan,
            runner=runner,
            max_attempts=MAX_ATTEMPTS,
            reruns=self._providers.reruns,
        )
        if taken is None:
            return False
        turn = taken.turn
        logger.warning("turn_taken_over", turn_id=turn.turn_id, attempt=turn.attempt)
        if isinstance(taken, StartedTurn):
            self.start(taken, orphan.tenant_id, has_waited=True)
            return True
        stream = self._registry.open(turn, orphan.tenant_id)
        self._remote_turns.release(turn.turn_id)
        stream.set_running(turn)
        self._remote_readers.add(stream, has_waited=False)
        calls = _interrupted_calls(turn, turn.attempt, input_tokens=0)
        error = TurnInterrupted() if taken.stop is None else TurnCancelled(taken.stop)
        ending = self._finish(stream, Outcome(error, calls=calls), runner, turn.attempt)
        self._background.spawn(TASKS, ending)
        return True

    async def _start_stalled(self, session: Stalled) -> bool:
        """Start what waits in a session for nobody. False if another process was faster."""
        runner = self.runner
        is_done = functools.partial(turns.is_taken, owner=runner.owner)
        started = await self._store.write_once(
            turns.start_stalled, is_done, session_pk=session.session_pk, runner=runner, at=now()
        )
        if started is not None:
            self.start(started, session.tenant_id, has_waited=True)
        return started is not None

    async def _run(self, stream: TurnStream, started: StartedTurn, runner: RunnerConfig) -> None:
        with telemetry.bound(turn_id=started.turn.turn_id):
            try:
                outcome = await self._answer(stream, started)
                await self._finish(stream, outcome, runner, started.turn.attempt)
            except Exception:
                # Waiting clients must get an answer; the next start ends the turn.
                logger.exception("turn_not_ended")
                crashed = Outcome(InternalError(), row=RowState.ELSEWHERE)
                await self._finisher.finish(stream, crashed)
            finally:
                await self._remote_readers.remove(stream, started.turn.attempt)

    async def _answer(self, stream: TurnStream, started: StartedTurn) -> Outcome:
        """Ask the model, and say how that ended: the same way whether it answered or not."""
        calls = list[Call]()
        prompt = self._prompt(stream.tenant, started, calls)
        seconds = self._settings.turn_timeout
        return await answer(self._providers, stream, prompt, calls=calls, seconds=seconds)

    async def _prompt(self, tenant: str, started: StartedTurn, calls: list[Call]) -> Prompt:
        """Build a turn's prompt, and count the calls of the attempts before this one."""
        turn = started.turn
        run = await self._run_context(tenant, started)
        prompt = context.turn_prompt(started, await self._files(started), run)
        if turn.attempt > 1:
            read = estimated(prompt)
            calls += _interrupted_calls(turn, turn.attempt - 1, input_tokens=read)
        return prompt

    async def _run_context(self, tenant: str, started: StartedTurn) -> RunContext | None:
        """Read what an agent has to know of a turn; other models need none of it."""
        turn = started.turn
        if not self._providers.capabilities(turn.model).is_agent:
            return None
        parent_turn_id = await self._store.read(
            messages.parent_turn,
            session_pk=started.session_pk,
            message_id=started.messages[0].id or turn.user_message_id,
        )
        return RunContext(
            tenant=tenant,
            session_id=turn.session_id,
            turn_id=turn.turn_id,
            attempt=turn.attempt,
            new_count=len(started.messages),
            parent_turn_id=parent_turn_id,
        )

    async def _files(self, started: StartedTurn) -> dict[str, FileContent]:
        """Read the pictures and documents that a turn's prompt shows."""
        file_ids = context.prompt_files(started)
        if not file_ids:
            return {}
        pk = started.session_pk
        return await self._store.read(files.read, session_pk=pk, file_ids=file_ids)

    async def _finish(
        self, stream: TurnStream, outcome: Outcome, runner: RunnerConfig, attempt: int
    ) -> None:
        """End a turn, start the next, and keep the stream until its title is there."""
        # The lease may be another one by now: what is started belongs to that.
        following = await self._finisher.finish(
            stream, outcome, self.runner, owner=runner.owner, attempt=attempt
        )
        if following is not None:
            self.start(following, stream.tenant, has_waited=True)
        await self._remote_readers.remove(stream, attempt)
        if self._remote_turns.is_followed(stream.turn.turn_id):
            return
        if stream.has_ended:
            await stream.wait_closed(self._settings.title_wait)
        stream.settle_title(None)
        self._registry.remove(stream)


def _interrupted_calls(turn: Turn, attempts: int, *, input_tokens: int) -> tuple[Call, ...]:
    """The calls of attempts that a crash has cut short: what they cost is not known."""
    call = Call(CallKind.REPLY, turn.model, Status.INTERRUPTED, input_tokens, 0, is_estimated=True)
    return (call,) * attempts
