"""The one way in which a turn ends, whatever ends it: its row, then its stream, then the news."""

import asyncio
import functools
import itertools
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from chatkeep import telemetry
from chatkeep.domain.blocks import Blocks, expanded, written_blocks
from chatkeep.domain.errors import (
    ChatError,
    InternalError,
    Overloaded,
    StoreUnavailable,
    TurnCancelled,
    TurnNotFound,
    TurnRef,
)
from chatkeep.domain.events import EventType, Failure, TurnEnded, end_status
from chatkeep.domain.model import Call, Completion, Reply, Status, Usage
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.store import turn_records, turns, usage
from chatkeep.store.database import Store
from chatkeep.store.turns import Ended, RunnerConfig, StartedTurn
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_turns import RemoteTurns
from chatkeep.turns.stream import TurnStream

logger = telemetry.logger("turns")

STORE_DELAYS_SECONDS = (0.1, 0.5, 1, 5)
LAST_STORE_DELAY_SECONDS = 30
"""Pauses between attempts to store an end while the database fails; the last one repeats."""


class RowState(Enum):
    """What is to happen to a turn's row when the turn is finished."""

    OPEN = auto()
    """It says that the turn runs: `finish` stores the end."""
    CLOSED = auto()
    """It was ended by the transaction that cancelled the turn, or deleted its session."""
    TAKEN = auto()
    """It is another process's by now, or its session was deleted: the stream follows the row."""
    ELSEWHERE = auto()
    """It is not this process's to end: the turn is left to another process or the next start."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended. Without an `error` it is complete; the text is in its stream.

    Attributes:
        error: Why there is no complete reply.
        completion: What the provider said of the answer's end.
        calls: The calls of the model, which are counted with the turn.
        row: What is to happen to the turn's row.

    """

    error: ChatError | None = None
    completion: Completion = field(default_factory=Completion)
    calls: tuple[Call, ...] = ()
    row: RowState = RowState.OPEN

    @property
    def status(self) -> Status:
        """The status that the turn ends in."""
        return end_status(self.error)


class TurnFinisher:
    """Ends turns."""

    def __init__(
        self,
        store: Store,
        registry: TurnRegistry,
        remote_turns: RemoteTurns,
        notifications: Notifications,
    ) -> None:
        """Take where ends are stored, and who learns of them."""
        self._store = store
        self._registry = registry
        self._remote_turns = remote_turns
        self._notifications = notifications

    async def finish(
        self,
        stream: TurnStream,
        outcome: Outcome,
        runner: RunnerConfig | None = None,
        *,
        owner: str = "",
        attempt: int = 0,
    ) -> StartedTurn | None:
        """End an active turn, for whatever reason; return the turn that starts after it.

        The order is the promise: first the row (with the reply, the usage, and the next turn of
        the session, in one transaction), then the stream, then the notification. While the
        database fails the row is tried again, without end.

        The stream of a turn with `RowState.OPEN` stays in the registry: its title may follow.

        Args:
            stream: The turn's.
            outcome: How it ended.
            runner: Who runs the next turn; needed for `RowState.OPEN`, as is what follows.
            owner: Who has run this one.
            attempt: Which attempt of it ends.

        """
        ended = None
        if outcome.row is RowState.OPEN:
            if runner is None:
                raise ValueError("an open row needs its runner")
            ended = await self._store_end(stream, outcome, runner, owner, attempt)
        if outcome.row is RowState.TAKEN or (outcome.row is RowState.OPEN and ended is None):
            outcome = await self._outcome_of_lost_row(stream, outcome)
        if outcome.row is RowState.TAKEN:
            self._remote_turns.follow(stream)
            return None
        if ended is None:
            self._forget(stream)
        turn = stream.turn
        ref = TurnRef(turn.turn_id, turn.session_id)
        error = outcome.error and outcome.error.as_outcome_of(ref)
        if outcome.row is RowState.ELSEWHERE:
            stream.detach(error or InternalError().as_outcome_of(ref), streams=True)
            return None
        title = ended.title if ended is not None else ""
        stream.end(
            result_of(stream, outcome, title, is_stored=ended is not None),
            at=None if ended is None else ended.at,
            counted=counted_usage(outcome),
        )
        if ended is None:
            stream.settle_title(None)
        self._announce(stream.tenant, turn.turn_id, turn.session_id, outcome, model=turn.model)
        if outcome.row is RowState.CLOSED and outcome.calls:
            await self._count(stream, outcome)
        return ended.following if ended is not None else None

    def finish_queued(self, tenant: str, turn_id: str, session_id: str, error: ChatError) -> None:
        """End a turn that has waited, whose row was closed by the transaction that cancelled it.

        Args:
            tenant: Whose turn it was.
            turn_id: The turn.
            session_id: Its session.
            error: Why it was cancelled.

        """
        error = error.as_outcome_of(TurnRef(turn_id, session_id))
        outcome = Outcome(error, row=RowState.CLOSED)
        stream = self._registry.get(turn_id)
        if stream is not None:
            self._forget(stream)
            stream.end(Failure(error, ""))
            stream.settle_title(None)
        self._announce(tenant, turn_id, session_id, outcome, model=None)

    def _forget(self, stream: TurnStream) -> None:
        self._registry.remove(stream)
        self._remote_turns.release(stream.turn.turn_id)

    def _announce(
        self, tenant: str, turn_id: str, session_id: str, outcome: Outcome, *, model: str | None
    ) -> None:
        used = outcome.completion.usage
        logger.info(
            "turn_ended",
            turn_id=turn_id,
            status=outcome.status.value,
            model=model,
            error=outcome.error.code if outcome.error else None,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
        )
        ended = TurnEnded(turn_id, session_id, outcome.status)
        self._notifications.publish(tenant, EventType.TURN_ENDED, ended)

    async def _outcome_of_lost_row(self, stream: TurnStream, outcome: Outcome) -> Outcome:
        """What to make of a row that was not there to be ended, or not ours."""
        try:
            await self._store.read(
                turn_records.find, tenant=stream.tenant, turn_id=stream.turn.turn_id
            )
        except TurnNotFound:
            # The session was deleted, also where the model failed by itself just then.
            deleted = TurnCancelled("The session was deleted.")
            reason = stream.stop_reason or deleted
            return replace(outcome, error=reason, row=RowState.CLOSED)
        except ChatError as failure:
            logger.warning("turn_not_read", turn_id=stream.turn.turn_id, code=failure.code)
        return replace(outcome, row=RowState.TAKEN)

    async def _count(self, stream: TurnStream, outcome: Outcome) -> None:
        """Count the calls of a turn whose session is deleted: its tokens were used."""
        await self._store.write(
            usage.add,
            tenant=stream.tenant,
            session_pk=None,
            turn_id=None,
            made=counted(outcome),
            at=now(),
        )

    async def _store_end(
        self, stream: TurnStream, outcome: Outcome, runner: RunnerConfig, owner: str, attempt: int
    ) -> Ended | None:
        """Store an end, however long the database takes to recover; `None` if it is not ours.

        Clients that wait for the result get an error after a while; event streams go on.
        """
        turn = stream.turn
        stored = turns.TurnEnd(
            status=outcome.status,
            text=stream.text,
            completion=outcome.completion,
            blocks=_blocks(stream, outcome),
            steps=stream.steps,
            error_code=outcome.error.code if outcome.error else None,
            error_detail=outcome.error.detail if outcome.error else None,
            calls=counted(outcome),
        )
        is_done = functools.partial(
            turns.is_finished, turn_id=turn.turn_id, attempt=attempt, status=outcome.status
        )
        for failures in itertools.count():
            try:
                return await self._store.write_once(
                    turns.finish_turn,
                    is_done,
                    turn_id=turn.turn_id,
                    owner=owner,
                    attempt=attempt,
                    outcome=stored,
                    runner=runner,
                    at=now(),
                )
            except (StoreUnavailable, Overloaded) as failure:
                logger.error("turn_end_not_stored", turn_id=turn.turn_id, failures=failures + 1)
                if failures < len(STORE_DELAYS_SECONDS):
                    await asyncio.sleep(STORE_DELAYS_SECONDS[failures])
                else:
                    # Without advice to retry: the message is stored, and its end will be.
                    error = StoreUnavailable(failure.detail)
                    error.as_outcome_of(TurnRef(turn.turn_id, turn.session_id))
                    stream.detach(error, streams=False)
                    await asyncio.sleep(LAST_STORE_DELAY_SECONDS)
        return None


def result_of(
    stream: TurnStream, outcome: Outcome, title: str, *, is_stored: bool
) -> Reply | Failure:
    """What a turn's readers get as its end.

    Args:
        stream: The turn's.
        outcome: How it ended.
        title: That of its session.
        is_stored: False for a turn whose text is not to be shown: it was deleted.

    """
    text = stream.text if is_stored else ""
    if outcome.error is not None:
        return Failure(outcome.error, text)
    blocks = _blocks(stream, outcome)
    return Reply.to(
        stream.turn,
        text=text,
        blocks=expanded(text, blocks),
        title=title,
        completion=outcome.completion,
    )


def _blocks(stream: TurnStream, outcome: Outcome) -> Blocks | None:
    """What a turn's reply has beside its text.

    Mere reasoning is no reply, unless an agent has nothing more to say after its steps.
    """
    completion = outcome.completion
    if stream.is_plain and not completion.blocks:
        return None
    is_last = outcome.error is None and bool(stream.steps)
    if not stream.text and not completion.blocks and not is_last:
        return None
    return written_blocks(stream.segments, completion.blocks, completion.reasoning_extras)


def counted_usage(outcome: Outcome) -> Usage | None:
    """The tokens of a turn's calls as they are counted, where its provider has not said any."""
    if outcome.completion.usage.input_tokens is not None:
        return None
    return Usage(
        sum(call.input_tokens for call in outcome.calls),
        sum(call.output_tokens for call in outcome.calls),
    )


def counted(outcome: Outcome) -> tuple[Call, ...]:
    """A turn's calls as they are counted: one that was given up ended as the turn did."""
    return tuple(
        replace(
            call,
            status=outcome.status if call.status is Status.CANCELLED else call.status,
            is_retry=number > 0,
        )
        for number, call in enumerate(outcome.calls)
    )
