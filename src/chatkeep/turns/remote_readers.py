"""Serves other processes that have readers of this one's turns, or that stop or delete them.

Text is written for turns that somebody follows, for all of them in one statement at a time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError, TurnCancelled
from chatkeep.leases import LeaseKeeper
from chatkeep.store import exchange
from chatkeep.store.database import Store
from chatkeep.store.exchange import Chunk, OwnedTurn
from chatkeep.store.leases import Orphan
from chatkeep.store.signals import Channel
from chatkeep.turns import remote_pieces
from chatkeep.turns.stream import TurnStream

logger = telemetry.logger("turns")

TASKS = "remote readers"

POLL_SECONDS = 1
"""How long a signal is waited for before the database is read without one."""

PACE_SECONDS = 0.01
"""Pause between two reads at least, however many signals arrive."""

PUBLISH_SECONDS = 0.04
"""Pause between writes of the text of followed turns."""

LOST_SECONDS = 3
"""After how long a turn that is this process's, but does not run, is started again: the answer to
the commit of its start was lost."""


class RemoteReaders:
    """Serves those who read, stop or delete elsewhere what runs here."""

    def __init__(self, store: Store, leases: LeaseKeeper, background: BackgroundTasks) -> None:
        """Take where turns are, and whose this process's are."""
        self._store = store
        self._leases = leases
        self._background = background
        # By the turn: its stream, and which attempt of it runs.
        self._running: dict[str, tuple[TurnStream, int]] = {}
        # How many characters of a followed turn were written.
        self._published: dict[str, int] = {}
        # Turns of this process that do not run, by their attempt: since when.
        # Turns of which something was written for followers, whether or not it has some now.
        self._followed: set[str] = set()
        self._lost: dict[tuple[str, int], float] = {}
        self._subscription = store.signals.subscribe(Channel.TURNS)
        self._has_followed = asyncio.Event()
        self._adopt: Callable[[Orphan], Awaitable[bool]] | None = None

    def start(self, adopt: Callable[[Orphan], Awaitable[bool]]) -> None:
        """Serve from now on, if there may be anybody else.

        Args:
            adopt: Starts a turn again that is this process's, but does not run.

        """
        self._adopt = adopt
        if not self._store.is_exclusive:
            self._background.spawn(TASKS, self._watch())
            self._background.spawn(TASKS, self._publish_all())

    async def close(self) -> None:
        """Serve nobody any more."""
        await self._background.cancel(TASKS)

    def is_running(self, turn_id: str, *, at_least: int = 0) -> bool:
        """Whether this process is running a turn, the attempt `at_least` or a later one."""
        _, attempt = self._running.get(turn_id, (None, -1))
        return attempt >= at_least

    def add(self, stream: TurnStream, *, has_waited: bool) -> None:
        """Serve the readers of a turn that runs here from now on.

        Args:
            stream: The turn's.
            has_waited: Whether somebody may follow it already.

        """
        self._running[stream.turn.turn_id] = stream, stream.attempt
        if has_waited:
            self._subscription.wake()

    async def remove(self, stream: TurnStream, attempt: int) -> None:
        """Serve the readers of an attempt no longer: it has ended, or another process has it."""
        turn_id = stream.turn.turn_id
        if self._running.get(turn_id) != (stream, attempt):
            return
        del self._running[turn_id]
        self._published.pop(turn_id, None)
        if turn_id not in self._followed:
            return
        self._followed.discard(turn_id)
        try:
            await self._store.exchange(exchange.signal_followers, turn_ids=[turn_id])
            await self._store.exchange(exchange.forget, turn_ids=[turn_id])
        except ChatError as error:
            logger.warning("followers_not_signalled", code=error.code)

    async def signal_others(self, *turn_ids: str) -> None:
        """Signal the processes that run or follow turns which this one has changed.

        A signal may be lost: they read the database by themselves too.
        """
        if self._store.is_exclusive or not turn_ids:
            return
        try:
            await self._store.exchange(exchange.signal_owners, turn_ids=turn_ids)
            await self._store.exchange(exchange.signal_followers, turn_ids=turn_ids)
        except ChatError as error:
            logger.warning("others_not_signalled", code=error.code)

    async def tidy(self) -> None:
        """Delete the text that dead processes have written for the followers of their turns."""
        if not self._store.is_exclusive:
            await self._store.exchange(exchange.forget_orphaned)

    async def _watch(self) -> None:
        while True:
            try:
                await self._update()
            except ChatError as error:
                logger.warning("remote_readers_not_read", code=error.code)
            except Exception:
                logger.exception("remote_readers_failed")
            await self._subscription.wait(POLL_SECONDS, at_least=PACE_SECONDS)

    async def _update(self) -> None:
        owner, running = self._leases.owner, dict(self._running)
        owned = await self._store.exchange(exchange.owned, owner=owner)
        if owner != self._leases.owner:
            return
        rows = {row.id: row for row in owned}
        newly_followed = []
        for turn_id, (stream, attempt) in running.items():
            row = rows.get(turn_id)
            if self._running.get(turn_id) != (stream, attempt):
                continue
            if row is None or row.attempt != attempt:
                stream.lose()
            elif row.stop is not None:
                stream.stop(TurnCancelled(row.stop))
            elif not row.is_followed:
                self._published.pop(turn_id, None)
            else:
                if turn_id not in self._published:
                    newly_followed.append(turn_id)
                self._published[turn_id] = row.published or 0
                self._followed.add(turn_id)
                self._has_followed.set()
        if newly_followed:
            # Their state was queued until now.
            await self._store.exchange(exchange.signal_followers, turn_ids=newly_followed)
        await self._adopt_lost(rows)

    async def _adopt_lost(self, rows: dict[str, OwnedTurn]) -> None:
        now = time.monotonic()
        lost = {(row.id, row.attempt): row for row in rows.values() if row.id not in self._running}
        self._lost = {key: self._lost.get(key, now) for key in lost}
        for key, since in list(self._lost.items()):
            if now - since >= LOST_SECONDS and self._adopt is not None:
                row, owner = lost[key], self._leases.owner
                logger.warning("turn_adopted", turn_id=row.id, attempt=row.attempt)
                del self._lost[key]
                await self._adopt(Orphan(row.id, row.tenant_id, row.session_pk, owner, row.attempt))

    async def _publish_all(self) -> None:
        while True:
            await self._has_followed.wait()
            try:
                await self._publish()
            except ChatError as error:
                logger.warning("text_not_published", code=error.code)
            except Exception:
                logger.exception("remote_readers_failed")
            if not self._published:
                self._has_followed.clear()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def _publish(self) -> None:
        """Write the new text of followed turns, and signal their followers."""
        text: list[Chunk] = []
        for turn_id, published in list(self._published.items()):
            if turn_id not in self._running:
                del self._published[turn_id]
                continue
            stream, _ = self._running[turn_id]
            attempt, length = stream.reached
            if length > published:
                text += (
                    remote_pieces.to_chunk(turn_id, attempt, piece)
                    for piece in stream.pieces_since(published)
                )
        if not text:
            return
        await self._store.exchange(exchange.publish, owner=self._leases.owner, text=text)
        for chunk in text:
            if chunk.turn_id in self._published:
                self._published[chunk.turn_id] = remote_pieces.to_piece(chunk).end
        turn_ids = list(dict.fromkeys(chunk.turn_id for chunk in text))
        await self._store.exchange(exchange.signal_followers, turn_ids=turn_ids)
