"""Title calls: one for each session whose title the model has not made yet."""

import asyncio
import functools
import random
from dataclasses import dataclass, replace

from chatkeep import telemetry
from chatkeep.background import BackgroundTasks
from chatkeep.domain.errors import ChatError, ContextTooLong, ModelMisconfigured
from chatkeep.domain.events import EventType, SessionTitled
from chatkeep.domain.model import Call, CallKind, Prompt
from chatkeep.domain.times import now
from chatkeep.leases import LeaseKeeper
from chatkeep.notifications import Notifications
from chatkeep.providers import Listener, Providers
from chatkeep.store import session_changes, usage
from chatkeep.store.database import Store
from chatkeep.titles.answers import title_from_answer
from chatkeep.titles.prompts import choice_prompt, title_prompt
from chatkeep.titles.words import READ_CHARS

logger = telemetry.logger("titles")

TASKS = "titles"

ATTEMPTS = 3
RETRY_SECONDS = 1
"""Pause before a title call is tried again; it doubles, and half of it is random."""

AT_ONCE, LOCAL_AT_ONCE = 16, 1
"""Title calls under way; an embedded model has few slots, and the replies need them."""

MAX_CALLS = 256
"""Title calls that are under way or wait for it, while the model that makes them is slow."""

RESUMED_AT_START = 1_000
"""Sessions without a model's title that are looked at when the server starts."""


@dataclass(frozen=True, slots=True)
class TitleSettings:
    """Which model makes titles, if any, and how many seconds one call may take."""

    model: str | None
    timeout: float


class TitleCalls:
    """Makes titles beside the turns; nothing of it delays or fails one."""

    def __init__(
        self,
        store: Store,
        providers: Providers,
        leases: LeaseKeeper,
        notifications: Notifications,
        background: BackgroundTasks,
        settings: TitleSettings,
    ) -> None:
        """Take the parts of the server that a title needs."""
        self._store = store
        self._providers = providers
        self._leases = leases
        self._notifications = notifications
        self._background = background
        self._settings = settings
        is_local = providers.capabilities(settings.model or "").is_local
        self._slots = asyncio.Semaphore(LOCAL_AT_ONCE if is_local else AT_ONCE)
        self._calls: dict[int, asyncio.Task[str | None]] = {}

    @property
    def owner(self) -> str:
        """Whose the titles are that are made here: the lease of this process."""
        return self._leases.owner

    def start(
        self, tenant: str, session_pk: int, first_message: str
    ) -> asyncio.Task[str | None] | None:
        """Start a session's title call unless one is under way; the task's result is the title.

        The title must be this process's to make. Returns `None` while too many are under way: the
        session's next turn tries again.
        """
        call = self._calls.get(session_pk)
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                self._background.spawn(TASKS, self._release(tenant, session_pk))
                return None
            text = first_message[:READ_CHARS]
            call = self._background.spawn(TASKS, self._title(tenant, session_pk, text))
            self._calls[session_pk] = call
            call.add_done_callback(lambda _: self._calls.pop(session_pk, None))
        return call

    def resume(self) -> None:
        """Try again, one by one, for the sessions that a dead process has left without a title."""
        self._background.spawn(TASKS, self._resume())

    async def close(self) -> None:
        """Cancel the calls under way: their sessions are tried again at the next start."""
        await self._background.cancel(TASKS)

    async def _resume(self) -> None:
        for session in await self._store.read(session_changes.untitled, limit=RESUMED_AT_START):
            owner = self._leases.owner
            if not await self._store.write(
                session_changes.claim_title, tenant=session.tenant, pk=session.pk, owner=owner
            ):
                continue
            call = self.start(session.tenant, session.pk, session.first_message)
            if call is not None:
                await asyncio.wait({call})

    async def _title(self, tenant: str, session_pk: int, message: str) -> str | None:
        """Make and store a session's title; return it if it is the model's."""
        try:
            prompt = self._prompt(message)
            title = None
            if prompt is not None:
                answer = await self._counted_answer(prompt, tenant, session_pk)
                if answer is None:
                    await self._release(tenant, session_pk)
                    return None
                title = title_from_answer(answer, message)
            is_settled = functools.partial(
                session_changes.is_settled, tenant=tenant, pk=session_pk, title=title
            )
            session_id = await self._store.write_once(
                session_changes.settle_title, is_settled, tenant=tenant, pk=session_pk, title=title
            )
        except ChatError as error:
            logger.warning("title_not_stored", code=error.code)
            return None
        except Exception:
            logger.exception("title_crashed")
            await self._release(tenant, session_pk)
            return None
        logger.info("titled", source="model" if title else "provisional")
        if title is None or session_id is None:
            return None
        titled = SessionTitled(session_id, title)
        self._notifications.publish(tenant, EventType.SESSION_TITLED, titled)
        return title

    async def _release(self, tenant: str, session_pk: int) -> None:
        """Let any process make a title that this one has not made."""
        await self._store.write(
            session_changes.release_title, tenant=tenant, pk=session_pk, owner=self._leases.owner
        )

    def _prompt(self, message: str) -> Prompt | None:
        """What the model is asked; `None` if it is small and the message has nothing to choose."""
        if self._settings.model is None:
            return None
        if self._providers.capabilities(self._settings.model).is_small:
            return choice_prompt(message)
        return title_prompt(message)

    async def _counted_answer(self, prompt: Prompt, tenant: str, session_pk: int) -> str | None:
        """The model's answer, with its calls added to the session's usage whatever happens."""
        calls: list[Call] = []
        try:
            return await self._answer(prompt, calls)
        finally:
            if calls:
                await asyncio.shield(self._count(tenant, session_pk, calls))

    async def _count(self, tenant: str, session_pk: int, calls: list[Call]) -> None:
        made = [replace(call, is_retry=number > 0) for number, call in enumerate(calls)]
        await self._store.write(
            usage.add, tenant=tenant, session_pk=session_pk, turn_id=None, made=made, at=now()
        )

    async def _answer(self, prompt: Prompt, calls: list[Call]) -> str | None:
        """The model's answer; `None` when it gave none, so that it is asked again later."""
        model = self._settings.model or ""
        for attempt in range(ATTEMPTS):
            if attempt:
                jitter = random.uniform(0.5, 1)  # noqa: S311  (jitter is no secret)
                await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1) * jitter)
            pieces: list[str] = []
            try:
                async with self._slots, asyncio.timeout(self._settings.timeout):
                    await self._providers.answer(
                        model,
                        prompt,
                        Listener(pieces.append),
                        kind=CallKind.TITLE,
                        calls=calls,
                        retries=0,
                    )
                return "".join(pieces)
            except (ModelMisconfigured, ContextTooLong):
                return None
            except (ChatError, TimeoutError):
                continue
        return None
