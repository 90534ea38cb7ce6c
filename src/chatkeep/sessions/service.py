"""What people do with whole sessions: change them, delete them for good, let them expire."""

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError, Draining, SessionNotFound, TurnCancelled
from chatkeep.domain.events import Failure
from chatkeep.domain.model import Caller, Session, SessionRecord, Status
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.store import Store, deletion, session_changes
from chatkeep.store.search import index
from chatkeep.turns.registry import TurnRegistry

log = telemetry.logger("sessions")

T = TypeVar("T")

SWEPT_ROWS = 200
"""Rows that one transaction deletes: some 10 ms, so that no turn waits for it."""

LOG_PAUSES_SECONDS = (0.05, 0.2, 0.5, 1, 2)
"""Between tries to empty the write-ahead log while somebody reads from it."""

MAX_MERGES = 100_000
"""Steps of merging the index at most: enough for 200 GB of it."""

SWEEP_AGAIN_SECONDS = 10
"""Until a sweep is tried again that failed, or that a reader was in the way of."""

EXPIRED_AT_ONCE = 100
"""Sessions that expire before the sweep that follows."""

DAY_MICROSECONDS = 24 * 3_600 * 1_000_000

Retention = Mapping[str | None, int]
"""Days without activity after which a tenant's sessions expire; `None` is every other tenant."""


class Sessions:
    """The doors to whole sessions."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        live: TurnRegistry,
        feed: Notifications,
        retention: Retention,
        retention_seconds: float,
    ) -> None:
        """Take what it works on, and how often sessions that have expired are looked for."""
        self._store = store
        self._providers = providers
        self._live = live
        self._feed = feed
        self._retention = retention
        self._retention_seconds = retention_seconds
        self._sweeping = asyncio.Lock()
        self._asked, self._swept = 0, 0
        self._is_clean = True
        self._later: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Go on with what an earlier process has begun to delete, and watch for what expires."""
        await self._store.write(deletion.give_up_imports)
        if await self._store.read(deletion.is_pending):
            self._spawn(self.sweep())
        if self._retention:
            self._spawn(self._expire())

    async def close(self) -> None:
        """Stop after the step that is under way: the next start goes on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def change(
        self,
        caller: Caller,
        session_id: str,
        values: session_changes.SessionChanges,
        *,
        expected: Collection[str] | None,
    ) -> SessionRecord:
        """Set what is given of a session.

        Raises as `store.changes.change`, and `InvalidRequest` for a model that is not on offer.
        """
        if (model := values.get("model")) is not None:
            self._providers.check(model)
        changed = await self._store.write(
            session_changes.change,
            tenant=caller.tenant,
            session_id=session_id,
            values=values,
            expected=expected,
            at=now(),
        )
        # As it is listed: a system prompt may be long, and the feed keeps many events.
        listed = {name: getattr(changed, name) for name in Session.__dataclass_fields__}
        self._feed.tell(caller.tenant, "session.updated", listed)
        return changed

    async def delete(self, caller: Caller, session_id: str) -> bool:
        """Delete a session with all that belongs to it, and cancel its turns.

        Returns whether no file holds any of it; if not, because another program reads from the
        database, that follows by itself. Raises `SessionNotFound`.
        """
        # Shielded: who goes away in the middle has asked for it nevertheless.
        task = self._spawn(self._delete(caller.tenant, session_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            words = (
                "The session is deleted. What is left of it on disk is removed at the next start."
            )
            raise Draining(words) from None

    async def sweep(self) -> bool:
        """Remove what is deleted from every file; whether that is done.

        Who comes while a sweep is under way shares the next.
        """
        self._asked += 1
        mine = self._asked
        async with self._sweeping:
            if self._swept < mine:
                upto = self._asked
                self._is_clean = False
                try:
                    self._is_clean = await self._sweep()
                finally:
                    # Also where the database failed: what was promised is not forgotten.
                    if not self._is_clean and self._later is None:
                        self._later = self._spawn(self._sweep_later())
                self._swept = upto
            return self._is_clean

    async def _delete(self, tenant: str, session_id: str) -> bool:
        await self._hide(tenant, session_id)
        return await self.sweep()

    async def _hide(self, tenant: str, session_id: str, before: int | None = None) -> None:
        removed = await self._store.write(
            deletion.soft_delete, tenant=tenant, session_id=session_id, at=now(), before=before
        )
        for turn_id in removed.turn_ids:
            reason = TurnCancelled("The session was deleted.", session_id=session_id)
            live = self._live.get(turn_id)
            if live is None:
                continue
            reason.extra["turn_id"] = turn_id
            if live.turn.status is Status.QUEUED:
                live.end(Failure(reason, ""))
                live.settle_title(None)
                self._live.drop(live)
            else:
                live.stop(reason)
        self._feed.tell(tenant, "session.deleted", {"session_id": session_id})
        log.info("session_deleted", turns=len(removed.turn_ids))

    async def clear(self) -> None:
        """Delete the rows of what is deleted, so that their ids can come in again."""
        while await self._store.write(deletion.purge_rows, limit=SWEPT_ROWS):
            pass

    async def _sweep_later(self) -> None:
        while not self._is_clean:
            await asyncio.sleep(SWEEP_AGAIN_SECONDS)
            try:
                await self.sweep()
            except ChatError as error:
                log.warning("not_swept", code=error.code)
        self._later = None

    async def _sweep(self) -> bool:
        await self.clear()
        for step in range(MAX_MERGES):
            if not await self._store.write(index.optimize_index, is_first=step == 0):
                break
        for pause in LOG_PAUSES_SECONDS:
            if await self._store.truncate_wal():
                break
            await asyncio.sleep(pause)
        else:
            # The marks stay, so that the next start goes on where this process does not.
            log.warning("log_not_emptied")
            return False
        await self._store.write(deletion.finish_purge)
        return True

    async def _expire(self) -> None:
        while True:
            try:
                for tenant in await self._store.read(deletion.tenant_ids):
                    await self._expire_of(tenant)
            except ChatError as error:
                log.warning("not_expired", code=error.code)
            await asyncio.sleep(self._retention_seconds)

    async def _expire_of(self, tenant: str) -> None:
        days = self._retention.get(tenant, self._retention.get(None))
        if days is None:
            return
        before = now() - days * DAY_MICROSECONDS
        while found := await self._store.read(
            deletion.expired, tenant=tenant, before=before, limit=EXPIRED_AT_ONCE
        ):
            for session_id in found:
                try:
                    await self._hide(tenant, session_id, before=before)
                except SessionNotFound:
                    continue  # deleted by somebody, or used again
            await self.sweep()
            log.info("sessions_expired", count=len(found))

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
