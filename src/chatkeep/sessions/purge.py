"""Removes what is deleted from every file: its rows, the search index, the write-ahead log."""

import asyncio

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError
from chatkeep.store import deletion, tenants
from chatkeep.store.database import Store
from chatkeep.store.search import index

logger = telemetry.logger("sessions")

TASKS = "sessions"
"""Deletions, purges and expiry among the background tasks."""

ROWS_PER_WRITE = 200
"""Rows that one transaction deletes: some 10 ms, so that no turn waits for it."""

WAL_DELAYS_SECONDS = (0.05, 0.2, 0.5, 1, 2)
"""Pauses between attempts to empty the write-ahead log while somebody reads from it."""

MAX_MERGES = 100_000
"""Steps of merging the index at most: enough for 200 GB of it."""

RETRY_SECONDS = 10
"""Pause before a purge that failed, or that a reader held up, is tried again."""


class Purge:
    """Runs one purge at a time."""

    def __init__(self, store: Store, background: BackgroundTasks) -> None:
        """Take where to remove, and where to go on in the background."""
        self._store = store
        self._background = background
        self._lock = asyncio.Lock()
        self._requested, self._done = 0, 0
        self._is_clean = True
        self._later: asyncio.Task[None] | None = None

    async def resume(self) -> None:
        """Go on with what an earlier process has begun to remove."""
        await self._store.write(deletion.give_up_imports)
        if await self._store.read(deletion.is_pending):
            self._background.spawn(TASKS, self.run())

    async def run(self) -> bool:
        """Purge, and return whether all is removed that this process can remove.

        Callers that come while a purge is under way share the next one. One that could not be
        completed is tried again in the background.
        """
        self._requested += 1
        mine = self._requested
        async with self._lock:
            if self._done < mine:
                upto = self._requested
                self._is_clean = False
                try:
                    self._is_clean = await self._run()
                finally:
                    # Also where the database failed: what was promised is not forgotten.
                    if not self._is_clean and self._later is None:
                        self._later = self._background.spawn(TASKS, self._retry())
                self._done = upto
            return self._is_clean

    async def purge_rows(self) -> None:
        """Delete the rows of what is deleted, so that their ids can be used again."""
        while await self._store.write(deletion.purge_rows, limit=ROWS_PER_WRITE):
            pass

    async def _retry(self) -> None:
        while not self._is_clean:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self.run()
            except ChatError as error:
                logger.warning("not_swept", code=error.code)
        self._later = None

    async def _run(self) -> bool:
        await self.purge_rows()
        for step in range(MAX_MERGES):
            if not await self._store.write(index.optimize_index, is_first=step == 0):
                break
        # Before the log is emptied, which holds their names too.
        await self._store.write(tenants.finish_erasure)
        if self._store.erases_files and not await self._erase():
            # The marks stay, so that the next start goes on where this process does not.
            logger.warning("log_not_emptied")
            return False
        await self._store.write(deletion.finish_purge)
        return True

    async def _erase(self) -> bool:
        """Remove from the files what is deleted. False if a reader holds it up for too long."""
        for delay in WAL_DELAYS_SECONDS:
            if await self._store.erase():
                return True
            await asyncio.sleep(delay)
        return False
