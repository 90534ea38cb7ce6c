"""What a turn is: accepted, run, ended, and taken up again after a crash. No HTTP, no SQL."""

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from chatkeep import context, telemetry, titles
from chatkeep.domain import (
    Caller,
    ChatError,
    Completion,
    Draining,
    InternalError,
    ModelTimedOut,
    Overloaded,
    Reply,
    Status,
    StoreUnavailable,
    TooLarge,
    TurnInterrupted,
    TurnOptions,
    now,
)
from chatkeep.providers import Providers
from chatkeep.store import Store, turns
from chatkeep.store.turns import Accepted, Begun, Ended, Outcome, Unfinished
from chatkeep.titling import Titling
from chatkeep.turns import LiveTurn, LiveTurns

log = telemetry.logger("engine")

T = TypeVar("T")

MAX_ATTEMPTS = 3
"""Times that a turn is run in all, when the process dies in the middle of it."""

BUSY_RETRY_SECONDS = 5
END_DELAYS_SECONDS = (0.1, 0.5, 1, 5)
END_LAST_DELAY_SECONDS = 30
"""Pauses between tries to store an end while the database fails; the last one repeats."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The rules of a turn; times are in seconds."""

    system_prompt: str
    context_messages: int
    turn_timeout: float
    title_wait: float
    max_message_chars: int
    max_queued_turns: int
    max_running_turns: int


class Engine:
    """The one path of a turn."""

    def __init__(
        self, store: Store, providers: Providers, titling: Titling, options: EngineOptions
    ) -> None:
        """Take what a turn needs; nothing runs before `start`."""
        self._store = store
        self._providers = providers
        self._titling = titling
        self._options = options
        self._live = LiveTurns()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._drain = asyncio.Lock()

    @property
    def is_accepting(self) -> bool:
        """Whether turns can be posted."""
        return not self._closing

    async def start(self) -> None:
        """Take up the turns and the titles that an earlier process has left behind."""
        for left in await self._store.read(turns.unfinished):
            await self._take_up(left)
        self._titling.resume()

    async def post(
        self, caller: Caller, *, session_id: str, message: str, options: TurnOptions
    ) -> LiveTurn:
        """Accept a message: when this returns, it is on disk and its turn runs or waits.

        Raises `InvalidRequest` for a model that is not on offer, `TooLarge`, `QueueFull`,
        `Overloaded`, `Draining` and `StoreUnavailable`.
        """
        if len(message) > self._options.max_message_chars:
            raise TooLarge(
                f"The message is longer than {self._options.max_message_chars} characters."
            )
        if self._closing:
            raise Draining(retry_after=BUSY_RETRY_SECONDS)
        if len(self._live) >= self._options.max_running_turns:
            raise Overloaded(retry_after=BUSY_RETRY_SECONDS)
        if options.model is not None:
            self._providers.check(options.model)
        # Shielded: a caller who leaves between the commit and the start must not stop the turn.
        return await asyncio.shield(self._spawn(self._accept(caller, session_id, message, options)))

    async def reply(self, live: LiveTurn, *, wait_for_title: bool) -> Reply:
        """Wait for a turn's reply, and if wanted, on a session's first, a little for its title.

        Raises the error that the turn ended with.
        """
        reply = await live.result()
        if live.title_call is None or not wait_for_title:
            return reply
        title = await self._titling.wait(live.title_call, self._options.title_wait)
        return replace(reply, title=title) if title else reply

    async def close(self, drain_seconds: float) -> None:
        """Let running turns end, for so many seconds; the rest is taken up at the next start.

        Whoever still waits then is told so. A second call waits for the first.
        """
        self._closing = True
        async with self._drain:
            running = [task for task in self._tasks if not task.done()]
            if running:
                log.info("draining", turns=len(self._live), seconds=drain_seconds)
                await asyncio.wait(running, timeout=drain_seconds)
            await self._titling.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for live in self._live:
                live.end(Draining("This turn is run at the next start.", turn_id=live.turn.turn_id))

    async def _accept(
        self, caller: Caller, session_id: str, message: str, options: TurnOptions
    ) -> LiveTurn:
        accepted: Accepted = await self._store.write(
            turns.accept,
            tenant=caller.tenant,
            session_id=session_id,
            message=message,
            options=options,
            default_model=self._providers.default,
            context_messages=self._options.context_messages,
            max_queued=self._options.max_queued_turns,
            make_title=titles.fallback,
            at=now(),
        )
        live = self._live.open(accepted.turn)
        if accepted.begun is not None:
            self._spawn(self._run(live, accepted.begun))
        if accepted.first_message is not None:
            title_call = self._titling.begin(
                caller.tenant, accepted.session_pk, accepted.first_message
            )
            live.title_call = title_call if accepted.is_first else None
        return live

    async def _run(self, live: LiveTurn, begun: Begun) -> None:
        """Ask the model, then end the turn: the same way whether it answered or failed."""
        turn = begun.turn
        prompt = context.turn_prompt(
            begun.message,
            context=begun.context,
            options=turn.options,
            session_system=begun.system_prompt,
            default_system=self._options.system_prompt,
        )
        completion, error = Completion(), None
        try:
            async with asyncio.timeout(self._options.turn_timeout):
                completion = await self._providers.answer(turn.model, prompt, live.append)
        except ChatError as failure:
            error = failure
        except TimeoutError:
            error = ModelTimedOut("The answer took longer than a turn may.")
        except Exception:
            log.exception("turn_crashed", turn_id=turn.turn_id)
            error = InternalError()
        try:
            await self._end(live, begun, completion, error)
        except Exception:
            # Whoever waits must hear of it, and the next start ends the turn.
            log.exception("turn_not_ended", turn_id=turn.turn_id)
            live.end(InternalError(turn_id=turn.turn_id, session_id=turn.session_id))
            self._live.drop(live)

    async def _end(
        self, live: LiveTurn, begun: Begun, completion: Completion, error: ChatError | None
    ) -> None:
        """Store the end, tell whoever waits, begin the next turn of the session."""
        turn = begun.turn
        outcome = Outcome(
            status=Status.FAILED if error else Status.COMPLETED,
            # White space alone is no answer, and some providers refuse to read it back.
            text=live.text if live.text.strip() else "",
            completion=completion,
            error_code=error.code if error else None,
            error_detail=error.detail if error else None,
        )
        ended = await self._store_end(live, turn.turn_id, outcome)
        if ended is None:
            live.end(error or InternalError("The turn ended elsewhere."))
            self._live.drop(live)
            return
        log.info(
            "turn_ended",
            turn_id=turn.turn_id,
            status=outcome.status.value,
            model=turn.model,
            error=outcome.error_code,
            input_tokens=completion.usage.input_tokens,
            output_tokens=completion.usage.output_tokens,
        )
        if ended.following is not None:
            self._begin(ended.following)
        if error is not None:
            error.extra |= {"turn_id": turn.turn_id, "session_id": turn.session_id}
            live.end(error)
        else:
            live.end(
                Reply(
                    response=outcome.text,
                    session_id=turn.session_id,
                    title=ended.title,
                    turn_id=turn.turn_id,
                    user_message_id=turn.user_message_id,
                    message_id=turn.message_id,
                    model=turn.model,
                    usage=completion.usage,
                    finish_reason=completion.finish_reason,
                )
            )
        self._live.drop(live)

    async def _store_end(self, live: LiveTurn, turn_id: str, outcome: Outcome) -> Ended | None:
        """Store an end, however long the database takes to work again; tell readers meanwhile."""
        for failures in itertools.count():
            try:
                return await self._store.write(
                    turns.end,
                    turn_id=turn_id,
                    outcome=outcome,
                    context_messages=self._options.context_messages,
                    at=now(),
                )
            except (StoreUnavailable, Overloaded) as failure:
                log.error("turn_end_not_stored", turn_id=turn_id, failures=failures + 1)
                if failures < len(END_DELAYS_SECONDS):
                    await asyncio.sleep(END_DELAYS_SECONDS[failures])
                else:
                    # Without advice to retry: the message is kept, and its end will be.
                    session_id = live.turn.session_id
                    live.end(
                        StoreUnavailable(failure.detail, turn_id=turn_id, session_id=session_id)
                    )
                    await asyncio.sleep(END_LAST_DELAY_SECONDS)
        return None

    async def _take_up(self, left: Unfinished) -> None:
        """Go on with a turn that a dead process has left: again, or not any more."""
        keep = self._options.context_messages
        if left.turn.status is Status.QUEUED:
            begun = await self._store.write(
                turns.begin_next, session_pk=left.session_pk, context_messages=keep, at=now()
            )
        elif left.turn.attempt < MAX_ATTEMPTS:
            begun = await self._store.write(
                turns.begin_again, turn_id=left.turn.turn_id, context_messages=keep
            )
        else:
            error = TurnInterrupted()
            outcome = Outcome(
                Status.INTERRUPTED,
                text="",
                completion=Completion(),
                error_code=error.code,
                error_detail=error.detail,
            )
            ended = await self._store.write(
                turns.end,
                turn_id=left.turn.turn_id,
                outcome=outcome,
                context_messages=keep,
                at=now(),
            )
            begun = ended.following if ended else None
        log.warning("turn_taken_up", turn_id=left.turn.turn_id, attempt=left.turn.attempt)
        if begun is not None:
            self._begin(begun)

    def _begin(self, begun: Begun) -> None:
        self._spawn(self._run(self._live.open(begun.turn), begun))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
