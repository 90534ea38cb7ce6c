"""The readers of turns that other processes run: their streams are fed from the database.

A stream that is fed so is an ordinary one: whoever reads it does not know. Whatever was missed on
the way, the turn's row and its reply say how it ended.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.blocks import segments
from chatkeep.domain.errors import ChatError, StoreUnavailable, TurnCancelled, TurnNotFound, TurnRef
from chatkeep.domain.events import Failure
from chatkeep.domain.model import Completion, Reply, Status, TitleSource
from chatkeep.leases import LeaseKeeper
from chatkeep.store import exchange, turn_records
from chatkeep.store.database import Store
from chatkeep.store.exchange import Chunk, TurnState
from chatkeep.store.signals import Channel
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_pieces import to_piece
from chatkeep.turns.stream import TurnStream

logger = telemetry.logger("turns")

TASKS = "remote turns"

POLL_SECONDS = 1
"""How long a signal is waited for before the database is read without one."""

PACE_SECONDS = 0.01
"""Pause between two reads at least, however many signals arrive."""

AT_ONCE = 200
"""Turns that one statement asks for."""

UNREAD_SECONDS = 60
"""How long a stream that nobody reads is fed."""


class _Followed:
    """A stream that is fed, and what is known of the turn."""

    __slots__ = ("owner", "read_at", "stream", "title_until")

    def __init__(self, stream: TurnStream) -> None:
        self.stream = stream
        # Who runs it; none yet, if it waits. Before the first read nothing is known.
        self.owner: str | None = ""
        self.read_at = time.monotonic()
        # Until when the title is waited for, once the turn has ended.
        self.title_until: float | None = None


class RemoteTurns:
    """Feeds the streams of turns that this process does not run."""

    def __init__(
        self,
        store: Store,
        registry: TurnRegistry,
        leases: LeaseKeeper,
        background: BackgroundTasks,
        *,
        title_wait: float,
    ) -> None:
        """Take where turns are, and how many seconds to wait for a title after the end."""
        self._store = store
        self._registry = registry
        self._leases = leases
        self._background = background
        self._title_wait = title_wait
        self._followed: dict[str, _Followed] = {}
        self._is_running = False
        self._followed_at = 0.0
        # Turns of which the database says that this process follows them.
        self._registered: set[str] = set()
        self._subscription = store.signals.subscribe(Channel.TURNS)

    def follow(self, stream: TurnStream) -> None:
        """Feed an active stream from now on, until the turn ends or is run by this process."""
        self._followed.setdefault(stream.turn.turn_id, _Followed(stream))
        if self._is_running:
            self._subscription.wake()
        else:
            self._is_running = True
            self._background.spawn(TASKS, self._run())

    def release(self, turn_id: str) -> None:
        """Stop feeding a turn's stream: this process runs the turn."""
        self._followed.pop(turn_id, None)

    def is_followed(self, turn_id: str) -> bool:
        """Whether a turn's stream is fed from elsewhere."""
        return turn_id in self._followed

    async def close(self) -> None:
        """Feed no more."""
        await self._background.cancel(TASKS)

    async def _run(self) -> None:
        try:
            while self._followed or self._registered:
                try:
                    for turn_ids in _batches(list(self._followed)):
                        followed = [self._followed.get(turn_id) for turn_id in turn_ids]
                        await self._update([each for each in followed if each is not None])
                    await self._unregister()
                except ChatError as error:
                    logger.warning("remote_turns_not_read", code=error.code)
                except Exception:
                    logger.exception("remote_turns_failed")
                await self._subscription.wait(POLL_SECONDS, at_least=PACE_SECONDS)
        finally:
            self._is_running = False

    async def _update(self, followed: Sequence[_Followed]) -> None:
        ids = [each.stream.turn.turn_id for each in followed]
        if not ids:
            return
        if not self._store.is_exclusive:
            wanted = [(each.stream.turn.turn_id, *each.stream.reached) for each in followed]
            for chunk in await self._store.exchange(exchange.chunks, wanted=wanted):
                self._feed(chunk)
        states = {row.id: row for row in await self._store.exchange(exchange.states, turn_ids=ids)}
        new = [
            turn_id
            for turn_id, each in zip(ids, followed, strict=True)
            if await self._has_moved(each, states.get(turn_id))
        ]
        if not self._store.is_exclusive:
            await self._register(ids, new)

    async def _has_moved(self, followed: _Followed, state: TurnState | None) -> bool:
        """Do what a turn's state demands; true if another process runs it since."""
        if self._followed.get(followed.stream.turn.turn_id) is not followed:
            return False  # run by this process by now
        if state is None or Status(state.status).is_end:
            await self._end(followed, state)
        elif self._is_unread(followed):
            self._drop(followed)
        elif state.owner != followed.owner:
            followed.owner = state.owner
            return True
        return False

    async def _register(self, turn_ids: Sequence[str], new: Sequence[str]) -> None:
        """Write which turns are followed; the owners of those in `new` do not know it yet."""
        now = time.monotonic()
        if new or now - self._followed_at > POLL_SECONDS:
            # All of them, and again: a crash of the database has forgotten it.
            self._followed_at = now
            followed = [turn_id for turn_id in turn_ids if turn_id in self._followed]
            # Before it is written: it is deleted too if nobody says whether it was.
            self._registered.update(followed)
            await self._store.exchange(
                exchange.follow, turn_ids=followed, follower=self._leases.owner
            )
        if new:
            await self._store.exchange(exchange.signal_owners, turn_ids=new)

    async def _unregister(self) -> None:
        """Delete what was written of turns that have ended, or are run by this process."""
        if ended := self._registered - set(self._followed):
            follower = self._leases.owner
            await self._store.exchange(exchange.unfollow, turn_ids=ended, follower=follower)
            self._registered -= ended

    def _feed(self, chunk: Chunk) -> None:
        followed = self._followed.get(chunk.turn_id)
        if followed is None:
            return
        stream = followed.stream
        if chunk.attempt > stream.attempt or stream.turn.status is Status.QUEUED:
            running = replace(stream.turn, status=Status.RUNNING, attempt=chunk.attempt)
            stream.set_running(running)
        if chunk.attempt == stream.attempt:
            stream.add_piece(to_piece(chunk))

    async def _end(self, followed: _Followed, state: TurnState | None) -> None:
        """End a stream as the turn's row says that the turn ended."""
        stream, turn = followed.stream, followed.stream.turn
        try:
            stored = await self._store.read(
                turn_records.find, tenant=stream.tenant, turn_id=turn.turn_id
            )
        except TurnNotFound:
            stream.settle_title(None)
            stream.end(_deleted(stream))
            self._close(followed)
            return
        if stored.turn.attempt > stream.attempt or turn.status is Status.QUEUED:
            stream.set_running(stored.turn)
        stream.add_rest(stored.steps, segments(stored.reply, stored.blocks))
        if stored.is_titled:
            stream.settle_title(stored.title)
        elif _expects_title(state) and stored.record.status is Status.COMPLETED:
            now = time.monotonic()
            followed.title_until = followed.title_until or now + self._title_wait
            if now < followed.title_until:
                stream.await_title()
        if not stream.has_ended:
            stream.end(result(stored), at=stored.ended_at, counted=stored.counted)
        if stream.is_closed or time.monotonic() >= (followed.title_until or 0):
            stream.settle_title(None)
            self._close(followed)

    def _close(self, followed: _Followed) -> None:
        self._followed.pop(followed.stream.turn.turn_id, None)
        self._registry.remove(followed.stream)

    def _is_unread(self, followed: _Followed) -> bool:
        now = time.monotonic()
        if followed.stream.is_read:
            followed.read_at = now
        return now - followed.read_at > UNREAD_SECONDS

    def _drop(self, followed: _Followed) -> None:
        """Feed a stream no more that nobody reads; who comes back gets another."""
        turn = followed.stream.turn
        self._close(followed)
        error = StoreUnavailable("Nobody was reading this turn.", retry_after=POLL_SECONDS)
        followed.stream.detach(
            error.as_outcome_of(TurnRef(turn.turn_id, turn.session_id)), streams=True
        )


def result(stored: turn_records.StoredTurn) -> Reply | Failure:
    """How a turn ended, as its stream said then."""
    if stored.failure is not None:
        return Failure(stored.failure, stored.reply)
    completion = Completion(stored.record.usage, stored.record.finish_reason)
    return Reply.to(
        stored.turn,
        text=stored.reply,
        blocks=stored.blocks,
        title=stored.title,
        completion=completion,
    )


def _deleted(stream: TurnStream) -> Failure:
    turn = TurnRef(stream.turn.turn_id, stream.turn.session_id)
    return Failure(TurnCancelled("The session was deleted.").as_outcome_of(turn), "")


def _expects_title(state: TurnState | None) -> bool:
    """Whether a model's title may still come for a session whose first turn this is."""
    return (
        state is not None
        and state.seq == 1
        and state.title_pending
        and state.title_source == TitleSource.PROVISIONAL.value
    )


def _batches(turn_ids: Sequence[str]) -> list[Sequence[str]]:
    return [turn_ids[start : start + AT_ONCE] for start in range(0, len(turn_ids), AT_ONCE)]
