"""What callers do with turns: submit one, read its stream, cancel it, read its receipt."""

import asyncio
import functools
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from chatkeep.background import BackgroundTasks
from chatkeep.domain.blocks import segments
from chatkeep.domain.errors import (
    Draining,
    NotAllowed,
    Overloaded,
    TooLarge,
    TurnCancelled,
    TurnRef,
)
from chatkeep.domain.events import EventType, TurnQueued
from chatkeep.domain.model import (
    Caller,
    MessageContent,
    OnBusy,
    Receipt,
    Role,
    Scope,
    SentMessage,
    SessionDefaults,
    Status,
    Turn,
    TurnRecord,
    TurnRequest,
)
from chatkeep.domain.times import now
from chatkeep.notifications import Notifications
from chatkeep.providers import Providers
from chatkeep.store import turn_creation, turn_records
from chatkeep.store.database import Store
from chatkeep.store.idempotency import DuplicateRequest
from chatkeep.store.turn_creation import INTERRUPTED
from chatkeep.titles import provisional_title
from chatkeep.titles.calls import TitleCalls
from chatkeep.turns.finish import TurnFinisher
from chatkeep.turns.registry import TurnRegistry
from chatkeep.turns.remote_readers import RemoteReaders
from chatkeep.turns.remote_turns import RemoteTurns, result
from chatkeep.turns.runner import TASKS, TurnRunner, TurnSettings
from chatkeep.turns.stream import TurnStream, stored_stream
from chatkeep.turns.unstored import UnstoredRequest, UnstoredTurns

BUSY_RETRY_SECONDS = 5

CANCEL_SECONDS = 30
"""How long a cancelled turn may take to be stored as such."""


@dataclass(frozen=True, slots=True)
class SubmittedTurn:
    """The stream of a turn, and whether an earlier, identical request has made it."""

    stream: TurnStream
    is_replay: bool


class TurnService:
    """The one path of a turn into the server."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        titles: TitleCalls,
        registry: TurnRegistry,
        remote_turns: RemoteTurns,
        remote_readers: RemoteReaders,
        runner: TurnRunner,
        finisher: TurnFinisher,
        notifications: Notifications,
        background: BackgroundTasks,
        settings: TurnSettings,
    ) -> None:
        """Take the parts of the server that a turn needs."""
        self._store = store
        self._providers = providers
        self._titles = titles
        self._registry = registry
        self._remote_turns = remote_turns
        self._remote_readers = remote_readers
        self._runner = runner
        self._finisher = finisher
        self._notifications = notifications
        self._background = background
        self._settings = settings
        self._unstored = UnstoredTurns(store, providers, background, settings)
        self._is_accepting = True
        self.is_ready = True
        """Whether turns should be submitted here: not if the server stops soon."""

    @property
    def defaults(self) -> SessionDefaults:
        """What turns use that neither they nor their sessions have set."""
        system_prompt = self._settings.system_prompts.of(self._providers.default)
        return SessionDefaults(system_prompt or None, self._settings.context_messages)

    @property
    def is_accepting(self) -> bool:
        """Whether turns can be submitted."""
        return self._is_accepting

    def stop_accepting(self) -> None:
        """Refuse further turns with `Draining`; those that were accepted go on."""
        self._is_accepting = self.is_ready = False

    async def submit_turn(self, caller: Caller, request: TurnRequest) -> SubmittedTurn:
        """Accept a turn: when this returns, it is on disk, and runs or waits.

        Raises:
            InvalidRequest: The model is not on offer.
            TooLarge: The message is too long.
            Overloaded: Too many turns are active.
            Draining: The server is stopping.
            ChatError: As `store.turn_creation.create_turn`.

        """
        self._check(request.messages, request.options.model)
        # Shielded: a caller who leaves between the commit and the start must not stop the turn.
        task = self._background.spawn(TASKS, self._create(caller, request))
        stream = await asyncio.shield(task)
        if isinstance(stream, DuplicateRequest):
            stream = await self.find_stream(caller, stream.turn_id)
            return SubmittedTurn(stream, is_replay=True)
        return SubmittedTurn(stream, is_replay=False)

    @asynccontextmanager
    async def unstored(self, caller: Caller, request: UnstoredRequest) -> AsyncIterator[TurnStream]:
        """Run a turn of which nothing is stored but its calls, in the count of tokens.

        It runs while the context is open, and is stopped when that is left before its end. Its
        stream is found by nobody else, and ends as any other does.

        Raises:
            InvalidRequest: The model is not on offer.
            TooLarge: A message is too long.
            Overloaded: Too many turns are active.
            Draining: The server is stopping.
            NotAllowed: The caller may not use the model.
            UnsupportedContent: The model cannot do what the request demands.

        """
        self._check(request.messages, request.options.model)
        turn = self._unstored.new_turn(request)
        self._check_model(caller, request.messages, turn, request.tools is not None)
        async with self._unstored.run(caller.tenant, turn, request) as stream:
            yield stream

    def _check(self, messages: Sequence[MessageContent], model: str | None) -> None:
        """Check what does not depend on a session. Raises as `submit_turn`."""
        limit = self._settings.max_message_chars
        # What a model has written may be longer, and comes back where clients send all messages.
        if any(len(m.text) > limit and m.role is not Role.ASSISTANT for m in messages):
            raise TooLarge(f"The message is longer than {limit} characters.")
        if not self._is_accepting:
            raise Draining(retry_after=BUSY_RETRY_SECONDS)
        if len(self._registry) + len(self._unstored) >= self._settings.max_running_turns:
            raise Overloaded(retry_after=BUSY_RETRY_SECONDS)
        if model is not None:
            self._providers.check(model)

    async def find_stream(self, caller: Caller, turn_id: str) -> TurnStream:
        """The stream of a turn: the active one, or one made from the rows of a turn that has ended.

        One that another process runs, or nobody yet, is fed from the database.

        Raises:
            TurnNotFound: There is no such turn.
            Draining: The server is stopping.

        """
        stream = self._registry.get(turn_id)
        if stream is not None and stream.tenant == caller.tenant:
            return stream
        stored = await self._read(caller, turn_id)
        if stored.record.status.is_end:
            return stored_stream(
                stored.turn,
                caller.tenant,
                steps=stored.steps,
                reply=segments(stored.reply, stored.blocks),
                end=result(stored),
                ended_at=stored.ended_at,
                counted=stored.counted,
                title=stored.title if stored.is_titled else None,
            )
        if not self._is_accepting:
            raise Draining(retry_after=BUSY_RETRY_SECONDS, turn=TurnRef(turn_id))
        stream = self._registry.open(stored.turn, caller.tenant)
        if not self._remote_readers.is_running(turn_id):
            self._remote_turns.follow(stream)
        return stream

    async def read_turn(self, caller: Caller, turn_id: str) -> TurnRecord:
        """A turn as it is stored. Raises `TurnNotFound`."""
        return (await self._read(caller, turn_id)).record

    async def cancel_turn(self, caller: Caller, turn_id: str) -> TurnRecord:
        """Stop a turn, store its text so far, and return it. One that has ended is unchanged.

        Raises `TurnNotFound`.
        """
        reason = TurnCancelled()
        stream = self._registry.get(turn_id)
        if stream is not None and self._is_own(caller, stream):
            stream.stop(reason)
            await stream.wait_ended(CANCEL_SECONDS)
            record = await self.read_turn(caller, turn_id)
            if record.status.is_end or self._store.is_exclusive:
                return record
            # It was another process's already.
        status_before = await self._store.write_once(
            turn_creation.cancel,
            functools.partial(turn_creation.is_cancelled, turn_id=turn_id),
            tenant=caller.tenant,
            turn_id=turn_id,
            error_code=reason.code,
            error_detail=reason.detail,
            at=now(),
        )
        if status_before is Status.RUNNING:
            # Whoever runs it stops it.
            stream = await self.find_stream(caller, turn_id)
            await self._remote_readers.signal_others(turn_id)
            await stream.wait_ended(CANCEL_SECONDS)
        record = await self.read_turn(caller, turn_id)
        if status_before is Status.QUEUED:
            self._finisher.finish_queued(caller.tenant, turn_id, record.session_id, reason)
            await self._remote_readers.signal_others(turn_id)
        return record

    def _is_own(self, caller: Caller, stream: TurnStream) -> bool:
        """Whether this process runs the turn of a stream, and the caller may have it."""
        is_running = self._remote_readers.is_running(stream.turn.turn_id)
        return is_running and stream.tenant == caller.tenant

    async def read_receipt(self, caller: Caller, turn_id: str) -> Receipt:
        """What a turn's model was sent, and what not. Raises as `store.turn_records.receipt`."""
        receipt = await self._store.read(
            turn_records.receipt, tenant=caller.tenant, turn_id=turn_id
        )
        messages = tuple(
            replace(message, blocks=self._providers.sent_blocks(receipt.model, message.blocks))
            for message in receipt.messages
        )
        opening = self._providers.opening(receipt.model, messages[0].role)
        if opening is not None:
            messages = (SentMessage(None, opening.role, opening.text, None), *messages)
        return replace(receipt, messages=messages)

    async def _read(self, caller: Caller, turn_id: str) -> turn_records.StoredTurn:
        return await self._store.read(turn_records.find, tenant=caller.tenant, turn_id=turn_id)

    async def _create(self, caller: Caller, request: TurnRequest) -> TurnStream | DuplicateRequest:
        created = await self._store.write_once(
            turn_creation.create_turn,
            turn_creation.is_created,
            tenant=caller.tenant,
            request=request,
            ids=turn_creation.NewIds.of(request),
            runner=self._runner.runner,
            max_queued=self._settings.max_queued_turns,
            make_title=provisional_title,
            at=now(),
            check_model=functools.partial(self._check_model, caller, request.messages),
        )
        if isinstance(created, DuplicateRequest):
            return created
        turn = created.turn
        stream = self._registry.open(turn, caller.tenant)
        if created.new_session is not None:
            self._notifications.publish(
                caller.tenant, EventType.SESSION_CREATED, created.new_session
            )
        if created.changed_session is not None:
            self._notifications.publish(
                caller.tenant, EventType.SESSION_UPDATED, created.changed_session
            )
        if created.first_message is not None:
            call = self._titles.start(caller.tenant, created.session_pk, created.first_message)
            if call is not None:
                _announce_title(call, stream, awaited=created.is_first)
        self._run_or_queue(caller, created, stream)
        if created.running is not None and request.on_busy is OnBusy.INTERRUPT:
            running = self._registry.get(created.running)
            if running is not None and self._is_own(caller, running):
                running.stop(TurnCancelled(INTERRUPTED))
            else:
                self._background.spawn(TASKS, self._remote_readers.signal_others(created.running))
        return stream

    def _check_model(
        self, caller: Caller, messages: Sequence[MessageContent], turn: Turn, has_tools: bool
    ) -> None:
        """Raise an error if a caller may not use a turn's model, or it cannot do the turn."""
        # What a user's session or the server has set, the application has decided.
        models = None if caller.scope is Scope.USER else caller.models
        if models is not None and turn.model not in models:
            raise NotAllowed(
                "The key does not allow the turn's model.", needs=Scope.CHAT, pointer="#/model"
            )
        self._providers.check_demands(turn.model, turn.options, messages, has_tools=has_tools)

    def _run_or_queue(
        self, caller: Caller, created: turn_creation.CreatedTurn, stream: TurnStream
    ) -> None:
        """Run what was started with a new turn, which is that turn unless it waits."""
        turn = created.turn
        if created.started is not None:
            has_waited = created.started.turn.turn_id != turn.turn_id
            self._runner.start(created.started, caller.tenant, has_waited=has_waited)
        if self._remote_readers.is_running(turn.turn_id):
            return
        if not self._store.is_exclusive:
            # Whoever ends the turn before it starts it.
            self._remote_turns.follow(stream)
        queued = TurnQueued(turn.turn_id, turn.session_id)
        self._notifications.publish(caller.tenant, EventType.TURN_QUEUED, queued)


def _announce_title(call: "asyncio.Task[str | None]", stream: TurnStream, *, awaited: bool) -> None:
    """Send a turn's readers the title once it is made; the call does not keep the stream alive."""
    reference = weakref.ref(stream)

    def settle(done: "asyncio.Task[str | None]") -> None:
        stream = reference()
        if stream is not None:
            failed = done.cancelled() or done.exception() is not None
            stream.settle_title(None if failed else done.result())

    if awaited:
        stream.await_title()
    call.add_done_callback(settle)
