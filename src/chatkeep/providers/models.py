"""The models on offer, asked and asked again: patience, repeats, and what an answer must have."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from chatkeep import telemetry
from chatkeep.domain import (
    Call,
    CallKind,
    ChatError,
    Completion,
    InvalidRequest,
    ModelFailed,
    ModelMisconfigured,
    Prompt,
    Role,
    Status,
    Usage,
)
from chatkeep.providers import clients, tokens
from chatkeep.providers.clients import ProviderOptions
from chatkeep.providers.embedded import Address, Embedded
from chatkeep.providers.text import Cleaner, storable
from chatkeep.silence import Silence

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

    _Stream = AsyncGenerator[AIMessageChunk, None]

log = telemetry.logger("providers")

MAX_REASON_CHARS = 100
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20
"""A provider that asks for a longer pause than this is not waited for."""


class _ReplyTooLongError(Exception):
    """The reply has reached the limit; what there is of it counts."""


class Providers:
    """The models on offer."""

    def __init__(
        self, names: tuple[str, ...], options: ProviderOptions, *, hidden: tuple[str, ...] = ()
    ) -> None:
        """Take the models' names (`provider:name`), the default first.

        A hidden model can be asked by the server, but not by a request. Raises
        `ModelMisconfigured` when an embedded model's file is not there.
        """
        self.names = names
        self._known = {*names, *hidden}
        self._options = options
        self._models: dict[str, _Loaded] = {}
        self._loading = asyncio.Lock()
        self._embedded = {
            name: Embedded(name.removeprefix("local:"), options.embedded)
            for name in sorted(self._known)
            if name.startswith("local:")
        }

    @property
    def default(self) -> str:
        """The model that is used where nothing else is asked for."""
        return self.names[0]

    def check(self, name: str) -> None:
        """Raise `InvalidRequest` unless the model is on offer."""
        if name not in self.names:
            # The name of a model from a file is a path of this machine.
            offer = ", ".join(known for known in self.names if "/" not in known)
            detail = f"is not on offer; choose from: {offer}" if offer else "is not on offer"
            raise InvalidRequest(
                f"#/model: {detail}", errors=[{"pointer": "#/model", "detail": detail}]
            )

    def is_embedded(self, name: str) -> bool:
        """True if a model runs on this machine, in a process of this server."""
        return name in self._embedded

    def is_small(self, name: str) -> bool:
        """True for the built-in model: for demonstrations, too small to be trusted with words."""
        return name in self._embedded and self._embedded[name].built_in is not None

    @property
    def notice(self) -> str | None:
        """What a person should know of the default model, as one line of Markdown."""
        embedded = self._embedded.get(self.default)
        return embedded.built_in.notice if embedded and embedded.built_in else None

    @property
    def system_prompts(self) -> dict[str, str]:
        """The default system prompt of each model that has one of its own."""
        return {
            name: embedded.built_in.system_prompt
            for name, embedded in self._embedded.items()
            if embedded.built_in is not None
        }

    def opening(self, name: str, first: Role) -> tuple[Role, str] | None:
        """The line that a model is sent before a context whose first message has this role."""
        return clients.opening(name, first)

    async def warm_up(self) -> None:
        """Start the default model now if it is embedded, and import its client."""
        try:
            async with self._seat(self.default) as address:
                await self._loaded(self.default, address)
        except ChatError as error:
            log.error("model_not_ready", model=self.default, code=error.code, detail=error.detail)
        except Exception:
            log.exception("model_not_ready", model=self.default)

    async def close(self) -> None:
        """Close the connections, and stop the embedded models."""
        for loaded in self._models.values():
            await clients.close(loaded.model)
        for embedded in self._embedded.values():
            await embedded.close()

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        on_text: Callable[[str], None],
        *,
        kind: CallKind,
        calls: list[Call],
        retries: int | None = None,
    ) -> Completion:
        """Ask a model; pass on its text as it comes; return how it ended.

        `calls` gets an entry for each call that is made, whatever becomes of it.
        A call that fails before any text came is repeated, `retries` times (a setting by
        default), after a growing random pause or the one that the provider asks for.
        Raises the errors of `failures.named`.
        """
        from chatkeep.providers.failures import named  # brings LangChain along

        if name not in self._known:
            raise ModelMisconfigured("The session's model is no longer on offer.")
        repeats = self._options.retries if retries is None else retries
        seen = False

        def pass_on(text: str) -> None:
            nonlocal seen
            seen = True
            on_text(text)

        for attempt in range(repeats + 1):
            started, ending = time.monotonic(), _Ending()

            def count(status: Status, ending: _Ending = ending) -> None:
                written, usage = ending.bytes, ending.usage
                calls.append(
                    tokens.call(
                        kind, name, status, prompt=prompt, usage=usage, written_bytes=written
                    )
                )

            try:
                completion = await self._once(name, prompt, pass_on, ending)
                count(Status.COMPLETED)
                return completion
            except asyncio.CancelledError:
                count(Status.CANCELLED)
                raise
            except Exception as raised:
                count(Status.FAILED)
                failure = named(raised)
                delay = _delay(attempt, failure.retry_after)
                log.warning(
                    "model_call_failed",
                    model=name,
                    code=failure.error.code,
                    cause=type(raised).__name__,
                    attempt=attempt + 1,
                    seconds=round(time.monotonic() - started, 3),
                )
                last = attempt == repeats or seen or delay > LONGEST_DELAY_SECONDS
                if last or not failure.retryable:
                    raise failure.error from raised
            await asyncio.sleep(delay)
        raise ModelFailed

    async def _once(
        self, name: str, prompt: Prompt, on_text: Callable[[str], None], ending: "_Ending"
    ) -> Completion:
        cleaner = Cleaner(without_replacements=name in self._embedded)
        length, blank = 0, True

        def take(text: str) -> None:
            nonlocal length, blank
            length += len(text)
            blank = blank and not text.strip()
            ending.bytes += len(text.encode())
            if text:
                on_text(text)
            if length >= self._options.max_reply_chars:
                raise _ReplyTooLongError

        async with self._seat(name) as address:
            model = await self._loaded(name, address)
            asked = clients.messages(name, prompt)
            parameters = clients.parameters(name, prompt, self._sampling(name))
            stream = model.astream(asked, **parameters)
            seconds = self._options.timeout
            try:
                # What is left in the middle lets go of its connection.
                async with _patient(seconds) as silence, aclosing(cast("_Stream", stream)):
                    async for chunk in stream:
                        silence.heard()
                        take(cleaner.clean(chunk.text))
                        ending.read(chunk)
                take(cleaner.end())
            except _ReplyTooLongError:
                return Completion(ending.usage, "length")
        if blank:
            raise ModelFailed("The model's answer was empty.")
        if ending.finish_reason is None:
            raise ModelFailed("The model's answer was cut off.")
        return Completion(ending.usage, ending.finish_reason)

    def _sampling(self, name: str) -> Mapping[str, Any] | None:
        embedded = self._embedded.get(name)
        return embedded.built_in.sampling if embedded and embedded.built_in else None

    def _seat(self, name: str) -> AbstractAsyncContextManager[Address | None]:
        """Hold a place at a model that is embedded, for as long as the answer takes."""
        embedded = self._embedded.get(name)
        return nullcontext() if embedded is None else embedded.seat()

    async def _loaded(self, name: str, address: Address | None) -> "BaseChatModel":
        loaded = self._models.get(name)
        if loaded is not None and loaded.address == address:
            return loaded.model
        async with self._loading:
            loaded = self._models.get(name)
            if loaded is None or loaded.address != address:
                # Importing a provider's package takes a second or more: not on the event loop.
                model = await asyncio.to_thread(clients.load, name, self._options, address)
                loaded = self._models[name] = _Loaded(address, model)
            return loaded.model


@dataclass(frozen=True, slots=True)
class _Loaded:
    address: Address | None
    model: "BaseChatModel"


class _Ending:
    """What a stream says about itself, wherever its provider says it."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.bytes = 0
        self._tokens: list[dict[str, Any]] = []

    def read(self, chunk: "AIMessageChunk") -> None:
        """Take note of a chunk's token counts and of its reason to end."""
        if chunk.usage_metadata:
            self._tokens.append(dict(chunk.usage_metadata))
        metadata = chunk.response_metadata
        for key in ("finish_reason", "stop_reason", "done_reason", "status"):
            if metadata.get(key):
                self.finish_reason = storable(str(metadata[key]))[:MAX_REASON_CHARS]
                return

    @property
    def usage(self) -> Usage:
        """The tokens of all chunks: providers count each token in one chunk only."""
        read = sum(tokens["input_tokens"] for tokens in self._tokens)
        written = sum(tokens["output_tokens"] for tokens in self._tokens)
        return Usage(_counted(read), _counted(written))


def _counted(tokens: int) -> int | None:
    """A count that can be true: no prompt and no answer is empty, so a zero is no count."""
    return tokens if 0 < tokens < 2**63 else None


@asynccontextmanager
async def _patient(seconds: float) -> AsyncIterator[Silence]:
    """Raise `TimeoutError` when the silence is that long."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        silence = Silence(seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield silence
        finally:
            silence.stop()


def _delay(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next attempt: what the provider asks for, else exponential with jitter."""
    if retry_after is not None:
        return retry_after
    longest: float = min(FIRST_DELAY_SECONDS * 2**attempt, LONGEST_DELAY_SECONDS)
    return longest * random.uniform(0.5, 1)  # noqa: S311  (jitter is no secret)
