"""The title calls in progress: one for each session whose title the model still owes."""

import asyncio
import random
from dataclasses import dataclass, replace

from chatkeep import context, telemetry, titles
from chatkeep.domain import (
    DEFAULT_TENANT,
    Call,
    CallKind,
    ChatError,
    ContextTooLong,
    ModelMisconfigured,
    now,
)
from chatkeep.feed import Feed
from chatkeep.providers import Providers
from chatkeep.store import Store, changes, usage

log = telemetry.logger("titling")

ATTEMPTS = 3
RETRY_SECONDS = 1
"""Pause before a title call is tried again; it doubles, and half of it is random."""

AT_ONCE, SMALL_AT_ONCE = 16, 1
"""Title calls under way; the embedded model has few places, and the replies need them."""

MAX_CALLS = 256
"""Title calls that are under way or wait for it, while the model that makes them is slow."""

RESUMED_AT_START = 1_000
"""Sessions without a model's title that are looked at when the server starts."""


@dataclass(frozen=True, slots=True)
class TitlingOptions:
    """Which model makes titles, and how many seconds one call may take."""

    model: str
    timeout: float


class Titling:
    """Makes titles beside the turns; nothing of it delays or fails one."""

    def __init__(
        self, store: Store, providers: Providers, feed: Feed, options: TitlingOptions
    ) -> None:
        """Take where titles are stored, who makes them, and whom to tell."""
        self._store = store
        self._feed = feed
        self._providers = providers
        self._options = options
        small = providers.is_small(options.model)
        self._free = asyncio.Semaphore(SMALL_AT_ONCE if small else AT_ONCE)
        self._calls: dict[int, asyncio.Task[str | None]] = {}
        self._resuming: asyncio.Task[None] | None = None

    def begin(
        self, tenant: str, session_pk: int, first_message: str
    ) -> asyncio.Task[str | None] | None:
        """Start a session's title call unless one is under way; its result is the new title.

        `None` while too many are under way: the session's next turn tries again.
        """
        call = self._calls.get(session_pk)
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                return None
            read = first_message[: context.TITLE_MESSAGE_CHARS]
            call = asyncio.create_task(self._title(tenant, session_pk, read))
            self._calls[session_pk] = call
            call.add_done_callback(lambda _: self._calls.pop(session_pk, None))
        return call

    async def wait(self, call: asyncio.Task[str | None], seconds: float) -> str | None:
        """Wait so long for a call; return the title if it made one."""
        done, _ = await asyncio.wait({call}, timeout=seconds)
        return call.result() if done and not call.cancelled() else None

    def resume(self) -> None:
        """Try again, one by one, for the sessions that an earlier process left without."""
        self._resuming = asyncio.create_task(self._resume())

    async def close(self) -> None:
        """Give up the calls under way: their sessions are tried again at the next start."""
        tasks: list[asyncio.Task[None] | asyncio.Task[str | None]] = list(self._calls.values())
        if self._resuming is not None:
            tasks.append(self._resuming)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resume(self) -> None:
        owed = await self._store.read(
            changes.untitled, tenant=DEFAULT_TENANT, limit=RESUMED_AT_START
        )
        for session in owed:
            call = self.begin(DEFAULT_TENANT, session.pk, session.first_message)
            if call is not None:
                await asyncio.wait({call})

    async def _title(self, tenant: str, session_pk: int, message: str) -> str | None:
        try:
            calls: list[Call] = []
            try:
                answer = await self._ask(message, calls)
            finally:
                if calls:
                    await asyncio.shield(self._count(tenant, session_pk, calls))
            if answer is None:
                return None
            small = self._providers.is_small(self._options.model)
            title = titles.from_model(answer, message, small_model=small)
            changed = await self._store.write(
                changes.settle_title, tenant=tenant, pk=session_pk, title=title
            )
        except ChatError as error:
            log.warning("title_not_stored", code=error.code)
            return None
        except Exception:
            log.exception("title_crashed")
            return None
        log.info("titled", source="model" if title else "provisional")
        if title is None or changed is None:
            return None
        self._feed.tell(tenant, "session.titled", {"session_id": changed, "title": title})
        return title

    async def _count(self, tenant: str, session_pk: int, calls: list[Call]) -> None:
        made = [replace(call, is_retry=number > 0) for number, call in enumerate(calls)]
        await self._store.write(
            usage.add, tenant=tenant, session_pk=session_pk, turn_id=None, made=made, at=now()
        )

    async def _ask(self, message: str, calls: list[Call]) -> str | None:
        """The model's answer; `None` when it gave none, so that it is asked again later."""
        model = self._options.model
        prompt = context.title_prompt(message, small_model=self._providers.is_small(model))
        for attempt in range(ATTEMPTS):
            if attempt:
                jitter = random.uniform(0.5, 1)  # noqa: S311  (jitter is no secret)
                await asyncio.sleep(RETRY_SECONDS * 2 ** (attempt - 1) * jitter)
            pieces: list[str] = []
            try:
                async with self._free, asyncio.timeout(self._options.timeout):
                    await self._providers.answer(
                        model, prompt, pieces.append, kind=CallKind.TITLE, calls=calls, retries=0
                    )
                return "".join(pieces)
            except (ModelMisconfigured, ContextTooLong):
                return None
            except (ChatError, TimeoutError):
                continue
        return None
