"""The doors of the engine: post a turn, find it, stop it, ask what its model was sent."""

import asyncio
import weakref
from dataclasses import replace

from chatkeep import telemetry, titles
from chatkeep.domain.errors import Draining, Overloaded, StoreUnavailable, TooLarge, TurnCancelled
from chatkeep.domain.events import Failure
from chatkeep.domain.model import (
    Caller,
    Completion,
    OnBusy,
    Receipt,
    Reply,
    SentMessage,
    SessionDefaults,
    Status,
    TurnRecord,
    TurnRequest,
)
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.sessions.service import Sessions
from chatkeep.store import Store, turn_creation, turn_records
from chatkeep.store.idempotency import DuplicateRequest
from chatkeep.titles.calls import Titling
from chatkeep.transfer.imports import Importing
from chatkeep.turns.lease import Lease
from chatkeep.turns.runner import EngineOptions, Running
from chatkeep.turns.stream import TurnStream, finished

log = telemetry.logger("engine")

BUSY_RETRY_SECONDS = 5

FIND_PAUSES_SECONDS = (0.05, 0.2, 0.5, 1.0)
"""Between looks for a turn that is about to be taken in hand, or has just been let go."""

CANCEL_SECONDS = 30
"""How long a cancelled turn may take to be stored as such."""


class Engine:
    """The one path of a turn."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        titling: Titling,
        feed: Notifications,
        options: EngineOptions,
    ) -> None:
        """Take what a turn needs; nothing runs before `start`."""
        self._store = store
        self._providers = providers
        self._titling = titling
        self._feed = feed
        self._options = options
        self._lease = Lease(store, seconds=options.lease_seconds)
        self._running = Running(store, providers, self._lease, feed, options)
        self._live = self._running.live
        self.sessions = Sessions(
            store,
            providers,
            self._live,
            feed,
            options.retention,
            options.retention_seconds,
        )
        self.importing = Importing(
            store,
            self.sessions,
            feed,
            max_record_bytes=options.max_import_record_bytes,
            max_message_chars=max(options.max_reply_chars, options.max_message_chars),
        )
        self._closing = False
        self._drain = asyncio.Lock()

    @property
    def defaults(self) -> SessionDefaults:
        """What turns use that neither they nor their sessions have set."""
        system_prompt = self._options.system_prompts.of(self._providers.default)
        return SessionDefaults(system_prompt or None, self._options.context_messages)

    @property
    def is_accepting(self) -> bool:
        """Whether turns can be posted."""
        return not self._closing

    async def start(self) -> None:
        """Take up the turns and the titles that an earlier process has left behind."""
        await self._lease.start(self._running.take_up, lambda: len(self._live) > 0)
        self._titling.resume()
        await self.sessions.start()

    def rest(self) -> None:
        """Take no turns: only what is kept is looked at."""
        self._closing = True

    async def close(self, drain_seconds: float) -> None:
        """Let running turns end, for so many seconds; the rest is taken up at the next start.

        A second call waits for the first.
        """
        self._closing = True
        async with self._drain:
            await asyncio.gather(
                self.importing.close(drain_seconds), self._running.close(drain_seconds)
            )
            await self._titling.close()
            await self.sessions.close()
            self._feed.close()
            await self._lease.close()

    async def post(self, caller: Caller, request: TurnRequest) -> tuple[TurnStream, bool]:
        """Accept a turn: when this returns, it is on disk and runs or waits.

        Also says whether the turn is one that the same request has made before. Raises
        `InvalidRequest` for a model that is not on offer, `TooLarge`, `Overloaded`, `Draining`,
        `StoreUnavailable`, and what `store.posts.accept` raises.
        """
        if len(request.message or "") > self._options.max_message_chars:
            raise TooLarge(
                f"The message is longer than {self._options.max_message_chars} characters."
            )
        if self._closing:
            raise Draining(retry_after=BUSY_RETRY_SECONDS)
        if len(self._live) >= self._options.max_running_turns:
            raise Overloaded(retry_after=BUSY_RETRY_SECONDS)
        if request.options.model is not None:
            self._providers.check(request.options.model)
        # Shielded: a caller who leaves between the commit and the start must not stop the turn.
        posted = await asyncio.shield(self._running.spawn(self._accept(caller, request)))
        if isinstance(posted, DuplicateRequest):
            return await self.find(caller, posted.turn_id), True
        return posted, False

    async def find(self, caller: Caller, turn_id: str) -> TurnStream:
        """A turn's log: the one in hand, or made of what is kept of a turn that has ended.

        Raises `TurnNotFound`, and `StoreUnavailable` for a turn that another process runs.
        """
        for pause in (*FIND_PAUSES_SECONDS, None):
            live = self._live.get(turn_id)
            if live is not None and live.tenant == caller.tenant:
                return live
            kept = await self._store.read(turn_records.find, tenant=caller.tenant, turn_id=turn_id)
            if kept.record.status.is_end:
                title = kept.title if kept.is_titled else None
                return finished(
                    kept.turn, caller.tenant, text=kept.reply, end=_ending(kept), title=title
                )
            if self._closing or pause is None:
                break
            await asyncio.sleep(pause)
        if self._closing:
            raise Draining(retry_after=BUSY_RETRY_SECONDS, turn_id=turn_id)
        raise StoreUnavailable(
            "No server is running this turn right now.",
            retry_after=BUSY_RETRY_SECONDS,
            turn_id=turn_id,
        )

    async def record(self, caller: Caller, turn_id: str) -> TurnRecord:
        """A turn as it is kept. Raises `TurnNotFound`."""
        kept = await self._store.read(turn_records.find, tenant=caller.tenant, turn_id=turn_id)
        return kept.record

    async def cancel(self, caller: Caller, turn_id: str) -> TurnRecord:
        """Stop a turn, keep its text so far, and return it. One that has ended stays as it is.

        Raises `TurnNotFound`.
        """
        reason = TurnCancelled()
        was = await self._store.write(
            turn_creation.cancel_waiting,
            tenant=caller.tenant,
            turn_id=turn_id,
            error_code=reason.code,
            error_detail=reason.detail,
            at=now(),
        )
        live = self._live.get(turn_id)
        if live is not None and was is Status.QUEUED:
            reason.extra |= {"turn_id": turn_id, "session_id": live.turn.session_id}
            live.end(Failure(reason, ""))
            live.settle_title(None)
            self._live.drop(live)
            told = {**reason.extra, "status": Status.CANCELLED.value}
            self._feed.tell(caller.tenant, "turn.ended", told)
        elif live is not None and was is Status.RUNNING:
            live.stop(reason)
            await live.ended(CANCEL_SECONDS)
        return await self.record(caller, turn_id)

    async def receipt(self, caller: Caller, turn_id: str) -> Receipt:
        """What a turn's model was sent, and what not. Raises as `store.records.receipt`."""
        found = await self._store.read(turn_records.receipt, tenant=caller.tenant, turn_id=turn_id)
        opening = self._providers.opening(found.model, found.messages[0].role)
        if opening is None:
            return found
        role, words = opening
        return replace(found, messages=(SentMessage(None, role, words), *found.messages))

    async def _accept(self, caller: Caller, request: TurnRequest) -> TurnStream | DuplicateRequest:
        accepted = await self._store.write(
            turn_creation.create_turn,
            tenant=caller.tenant,
            request=request,
            runner=self._running.runner,
            max_queued=self._options.max_queued_turns,
            make_title=titles.provisional_title,
            at=now(),
        )
        if isinstance(accepted, DuplicateRequest):
            return accepted
        live = self._live.open(accepted.turn, caller.tenant)
        if accepted.created is not None:
            self._feed.tell(caller.tenant, "session.created", accepted.created)
        if accepted.first_message is not None:
            call = self._titling.begin(caller.tenant, accepted.session_pk, accepted.first_message)
            if call is not None:
                _tell_title(call, live, awaited=accepted.created is not None)
        if accepted.begun is not None:
            self._running.begin(accepted.begun, caller.tenant)
        else:
            waits = {"turn_id": accepted.turn.turn_id, "session_id": accepted.turn.session_id}
            self._feed.tell(caller.tenant, "turn.queued", waits)
        if accepted.running is not None and request.on_busy is OnBusy.INTERRUPT:
            running = self._live.get(accepted.running)
            if running is not None:
                running.stop(TurnCancelled("A newer message interrupted this turn."))
        return live


def _tell_title(call: "asyncio.Task[str | None]", live: TurnStream, *, awaited: bool) -> None:
    """Let a turn's readers know the title; the call does not keep the turn in memory."""
    known = weakref.ref(live)

    def settle(done: "asyncio.Task[str | None]") -> None:
        log = known()
        if log is not None:
            failed = done.cancelled() or done.exception() is not None
            log.settle_title(None if failed else done.result())

    if awaited:
        live.await_title()
    call.add_done_callback(settle)


def _ending(kept: turn_records.StoredTurn) -> Reply | Failure:
    """How a turn ended, as it was told then."""
    if kept.failure is not None:
        return Failure(kept.failure, kept.reply)
    completion = Completion(kept.record.usage, kept.record.finish_reason)
    return Reply.to(kept.turn, text=kept.reply, title=kept.title, completion=completion)
