"""Turns of which nothing is stored but what they cost: they end when their reader goes away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError, Draining, InternalError, TurnCancelled
from chatkeep.domain.events import Failure
from chatkeep.domain.ids import message_id, turn_id
from chatkeep.domain.model import (
    NO_OPTIONS,
    Call,
    FileContent,
    MessageContent,
    Prompt,
    RunContext,
    Status,
    Turn,
    TurnOptions,
)
from chatkeep.domain.times import now
from chatkeep.providers import Providers
from chatkeep.store import usage
from chatkeep.store.database import Store
from chatkeep.store.turns import StartedTurn
from chatkeep.turns import context
from chatkeep.turns.answer import answer
from chatkeep.turns.finish import Outcome, counted, counted_usage, result_of
from chatkeep.turns.runner import TASKS, TurnSettings
from chatkeep.turns.stream import TurnStream

logger = telemetry.logger("turns")

RETRY_SECONDS = 5

_NO_SESSION = 0
"""The key of no session: nothing is read or written by it."""


@dataclass(frozen=True, slots=True)
class UnstoredRequest:
    """A turn that belongs to no session.

    Attributes:
        messages: All that its model reads, oldest first; at least one.
        files: What the blocks of the messages refer to.
        tools: The tools on offer, as JSON; `None` for none.
        options: How the model is asked; without a system prompt, with the server's, unless they
            omit it.

    """

    messages: tuple[MessageContent, ...]
    files: Sequence[FileContent] = ()
    tools: str | None = None
    options: TurnOptions = NO_OPTIONS


class UnstoredTurns:
    """Runs them, and knows how many there are."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        background: BackgroundTasks,
        settings: TurnSettings,
    ) -> None:
        """Take where calls are counted, the models, and the rules of turns."""
        self._store = store
        self._providers = providers
        self._background = background
        self._settings = settings
        self._active: set[TurnStream] = set()

    def __len__(self) -> int:
        """How many run."""
        return len(self._active)

    def new_turn(self, request: UnstoredRequest) -> Turn:
        """The turn of a request. Its ids are in no row, and it has no session."""
        return Turn(
            turn_id=turn_id(),
            session_id="",
            status=Status.RUNNING,
            attempt=1,
            model=request.options.model or self._providers.default,
            user_message_id=message_id(),
            message_id=message_id(),
            options=request.options,
        )

    @asynccontextmanager
    async def run(
        self, tenant: str, turn: Turn, request: UnstoredRequest
    ) -> AsyncIterator[TurnStream]:
        """Run a turn for as long as the context is open: a model whose reader leaves is stopped.

        Args:
            tenant: Whose turn it is.
            turn: Made by `new_turn`.
            request: What it takes in.

        """
        stream = TurnStream(turn, tenant)
        self._active.add(stream)
        # Of the tasks of turns: those that run when the server stops have their time too.
        task = self._background.spawn(TASKS, self._run(stream, request))
        # Also if the server stops before the task has begun, or while the calls are counted.
        task.add_done_callback(lambda _: self._end_interrupted(stream))
        try:
            yield stream
        finally:
            if not stream.has_ended:
                stream.stop(TurnCancelled("Nobody waits for this answer any more."))

    async def _run(self, stream: TurnStream, request: UnstoredRequest) -> None:
        calls = list[Call]()
        with telemetry.bound(turn_id=stream.turn.turn_id):
            try:
                outcome = await answer(
                    self._providers,
                    stream,
                    self._prompt(stream, request),
                    calls=calls,
                    seconds=self._settings.turn_timeout,
                )
            except asyncio.CancelledError:
                # The time that a server that stops has for it is over; its calls are counted.
                outcome = Outcome(_draining(), calls=tuple(calls))
            await self._end(stream, outcome)

    def _end_interrupted(self, stream: TurnStream) -> None:
        self._active.discard(stream)
        if not stream.has_ended:
            stream.end(Failure(_draining(), stream.text))

    async def _prompt(self, stream: TurnStream, request: UnstoredRequest) -> Prompt:
        turn, run = stream.turn, None
        started = StartedTurn(
            turn=turn,
            session_pk=_NO_SESSION,
            system_prompt=self._system_prompt(turn),
            context=(),
            messages=request.messages,
            tools=request.tools,
            started_at=now(),
        )
        if self._providers.capabilities(turn.model).is_agent:
            # A thread of its own: what an agent remembers of one caller is not another's.
            run = RunContext(
                tenant=stream.tenant,
                session_id=turn.turn_id,
                turn_id=turn.turn_id,
                attempt=turn.attempt,
                new_count=len(request.messages),
                parent_turn_id=None,
            )
        return context.turn_prompt(started, {file.file_id: file for file in request.files}, run)

    def _system_prompt(self, turn: Turn) -> str | None:
        options = turn.options
        if options.system_prompt is not None or options.omits_default_prompt:
            return options.system_prompt or None
        return self._settings.system_prompts.of(turn.model) or None

    async def _end(self, stream: TurnStream, outcome: Outcome) -> None:
        """Count the calls, then tell the reader: who has an answer finds it counted."""
        used, turn = outcome.completion.usage, stream.turn
        try:
            await self._store.write(
                usage.add,
                tenant=stream.tenant,
                session_pk=None,
                turn_id=None,
                made=counted(outcome),
                at=now(),
            )
        except ChatError as failure:
            # The answer is there, and would be made and paid for once more.
            logger.error("usage_not_counted", turn_id=turn.turn_id, code=failure.code)
        except Exception:
            logger.exception("usage_not_counted", turn_id=turn.turn_id)
            outcome = Outcome(outcome.error or InternalError(), calls=outcome.calls)
        logger.info(
            "unstored_turn_ended",
            turn_id=turn.turn_id,
            status=outcome.status.value,
            model=turn.model,
            error=outcome.error.code if outcome.error else None,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
        )
        stream.end(
            result_of(stream, outcome, "", is_stored=True),
            at=now(),
            counted=counted_usage(outcome),
        )


def _draining() -> Draining:
    return Draining("The server is shutting down.", retry_after=RETRY_SECONDS)
