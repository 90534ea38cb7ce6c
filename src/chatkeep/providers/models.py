"""The models on offer, asked and asked again: patience, repeats, and what an answer must have."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from chatkeep import telemetry
from chatkeep.domain.errors import ChatError, InvalidRequest, ModelFailed, ModelMisconfigured
from chatkeep.domain.model import Call, CallKind, Completion, Prompt, Role, Status
from chatkeep.idle_timer import IdleTimer
from chatkeep.providers import protocol, tokens
from chatkeep.providers.answer import Answer, ReplyTooLongError
from chatkeep.providers.llama_process import Address, Embedded
from chatkeep.providers.protocol import ProviderOptions
from chatkeep.providers.text import Cleaner

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

    _Stream = AsyncGenerator[AIMessageChunk, None]

log = telemetry.logger("providers")

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 20
"""A provider that asks for a longer pause than this is not waited for."""

TICK_SECONDS = 1
"""How exactly silence is measured: a timer for each limit would cost more than the limits do."""

LAST_WORDS_SECONDS = 3
"""How long is waited behind a whole answer, for its usage and the end of its stream."""


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
        return protocol.opening(name, first)

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
            await protocol.close(loaded.model)
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
        Raises the errors of `failures.translate_error`.
        """
        from chatkeep.providers.failures import translate_error  # brings LangChain along

        if name not in self._known:
            raise ModelMisconfigured("This model is no longer on offer. Choose another one.")
        repeats = self._options.retries if retries is None else retries
        for attempt in range(repeats + 1):
            started, answer = time.monotonic(), self._answer(name, on_text)

            def count(status: Status, answer: Answer = answer) -> None:
                written, usage = answer.bytes, answer.usage
                calls.append(
                    tokens.call(
                        kind, name, status, prompt=prompt, usage=usage, written_bytes=written
                    )
                )

            try:
                completion = await self._once(name, prompt, answer)
                count(Status.COMPLETED)
                return completion
            except asyncio.CancelledError:
                count(Status.CANCELLED)
                raise
            except Exception as raised:
                count(Status.FAILED)
                failure = translate_error(
                    raised,
                    self._options.redactor,
                    protocol.access(name, self._options),
                    has_begun=answer.has_begun,
                )
                delay = _delay(attempt, failure.retry_after)
                log.warning(
                    "model_call_failed",
                    model=name,
                    code=failure.error.code,
                    cause=type(raised).__name__,
                    attempt=attempt + 1,
                    seconds=round(time.monotonic() - started, 3),
                )
                last = attempt == repeats or answer.has_text or delay > LONGEST_DELAY_SECONDS
                if last or not failure.retryable:
                    raise failure.error from raised
            await asyncio.sleep(delay)
        raise ModelFailed

    def _answer(self, name: str, on_text: Callable[[str], None]) -> Answer:
        cleaner = Cleaner(
            without_replacements=name in self._embedded, redactor=self._options.redactor
        )
        return Answer(on_text, cleaner, max_chars=self._options.max_reply_chars)

    async def _once(self, name: str, prompt: Prompt, answer: Answer) -> Completion:
        """Ask a model once. What came before a failure is passed on, too."""
        try:
            async with self._seat(name) as address:
                model = await self._loaded(name, address)
                asked = protocol.messages(name, prompt)
                parameters = protocol.parameters(name, prompt, self._sampling(name))
                await self._read(model.astream(asked, **parameters), answer)
            return answer.end()
        except ReplyTooLongError:
            return Completion(answer.usage, "length")
        except BaseException:
            answer.keep_rest()
            raise

    async def _read(self, stream: AsyncIterator["AIMessageChunk"], answer: Answer) -> None:
        """Read a stream to its end. Raises what it raises, and `TimeoutError` when it is silent."""
        options, was_whole = self._options, False
        try:
            # What is left in the middle lets go of its connection.
            async with (
                _patient(options.first_token_timeout) as silence,
                aclosing(cast("_Stream", stream)),
            ):
                async for chunk in stream:
                    had_begun = answer.has_begun
                    answer.read(chunk)
                    silence.heard()
                    if answer.is_whole and not was_whole:
                        was_whole = True
                        silence.allow(min(options.timeout, LAST_WORDS_SECONDS))
                    elif answer.has_begun and not had_begun:
                        silence.allow(options.timeout)
        except ReplyTooLongError:
            raise
        except Exception as error:
            if not answer.is_whole:
                raise
            log.info("answer_ended_untidily", cause=type(error).__name__)

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
                model = await asyncio.to_thread(protocol.load, name, self._options, address)
                loaded = self._models[name] = _Loaded(address, model)
            return loaded.model


@dataclass(frozen=True, slots=True)
class _Loaded:
    address: Address | None
    model: "BaseChatModel"


@asynccontextmanager
async def _patient(seconds: float) -> AsyncIterator[IdleTimer]:
    """Raise `TimeoutError` when the silence is that long."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        silence = IdleTimer(seconds, lambda: limit.reschedule(loop.time()), tick=TICK_SECONDS)
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
